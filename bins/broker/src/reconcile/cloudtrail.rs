//! Reads log files of CloudTrail, as it puts them into its bucket: `{"Records": [...]}`, mostly compressed with gzip, in
//! directories of accounts, regions and days. What is no signature of the team's keys is passed over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use serde_json::value::RawValue;
use usher_audit::{Day, KeyId};
use usher_types::UnixTime;

use super::{DAY, Period, ReconcileError};

/// CloudTrail writes a file every few minutes; nothing near this size.
const LONGEST: u64 = 512 * 1024 * 1024;
/// Events a little outside of the period belong to what was asked for at its ends.
pub(super) const SLACK: Duration = Duration::from_secs(600);
/// A file is written after its events, at times hours after.
const LATE: Duration = DAY;

/// A signature that KMS made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) at: UnixTime,
    pub(super) request: String,
    /// ARN of the role or user.
    pub(super) caller: String,
    pub(super) address: String,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    event_source: Option<String>,
    event_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_time: UnixTime,
    #[serde(rename = "eventID")]
    event_id: String,
    /// Only when it failed: throttled, denied. Nothing was signed then.
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default, rename = "requestID")]
    request_id: Option<String>,
    #[serde(default, rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    #[serde(default)]
    user_identity: Identity,
    #[serde(default)]
    resources: Option<Vec<Resource>>,
    #[serde(default)]
    request_parameters: Option<Parameters>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    #[serde(default)]
    arn: Option<String>,
    #[serde(default)]
    invoked_by: Option<String>,
    #[serde(default)]
    session_context: Option<SessionContext>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionContext {
    #[serde(default)]
    session_issuer: Option<Issuer>,
}

#[derive(Deserialize)]
struct Issuer {
    #[serde(default)]
    arn: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "ARN", default)]
    arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    key_id: Option<String>,
}

/// The signatures of the keys that `arns` names, each once, oldest first.
pub(super) fn read(
    paths: &[PathBuf],
    period: Period,
    arns: &BTreeMap<String, KeyId>,
) -> Result<BTreeMap<KeyId, Vec<Signed>>, ReconcileError> {
    let mut found = Found { period, arns, seen: BTreeSet::new(), signed: BTreeMap::new() };
    for path in paths {
        found.walk(path)?;
    }
    for signed in found.signed.values_mut() {
        signed.sort_by_key(|signed| signed.at);
    }
    Ok(found.signed)
}

struct Found<'a> {
    period: Period,
    arns: &'a BTreeMap<String, KeyId>,
    /// CloudTrail may tell of an event twice.
    seen: BTreeSet<String>,
    signed: BTreeMap<KeyId, Vec<Signed>>,
}

impl Found<'_> {
    fn walk(&mut self, path: &Path) -> Result<(), ReconcileError> {
        let failed = |source| ReconcileError::File { path: path.to_owned(), source };
        if !path.metadata().map_err(failed)?.is_dir() {
            return self.file(path);
        }
        // Digests lie beside the logs and have the same names.
        if path.file_name().is_some_and(|name| name == "CloudTrail-Digest") {
            return Ok(());
        }
        for entry in path.read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_log = name.ends_with(".json") || name.ends_with(".json.gz");
            if entry.file_type().map_err(failed)?.is_dir() || (is_log && self.may_hold(&name)) {
                self.walk(&path)?;
            }
        }
        Ok(())
    }

    /// `ACCOUNT_CloudTrail_REGION_20261124T0005Z_RANDOM.json.gz`: the time is that of the delivery.
    fn may_hold(&self, name: &str) -> bool {
        let day = name.split('_').find_map(|part| {
            let (day, _minute) =
                part.split_once('T').filter(|(day, minute)| day.len() == 8 && minute.ends_with('Z'))?;
            format!("{}-{}-{}", day.get(..4)?, day.get(4..6)?, day.get(6..)?).parse::<Day>().ok()
        });
        let last = Day::of(self.period.last.begin().saturating_add(DAY).saturating_add(LATE));
        day.is_none_or(|day| self.period.first <= day && day <= last)
    }

    fn file(&mut self, path: &Path) -> Result<(), ReconcileError> {
        let failed = |source| ReconcileError::File { path: path.to_owned(), source };
        let text = contents(path).map_err(failed)?;
        let bad = |source| ReconcileError::Form { path: path.to_owned(), source };
        let log: Log<'_> = serde_json::from_str(&text).map_err(bad)?;
        for record in log.records {
            let head: Head = serde_json::from_str(record.get()).map_err(bad)?;
            let is_signature = head.event_source.as_deref() == Some("kms.amazonaws.com")
                && head.event_name.as_deref() == Some("Sign");
            if is_signature {
                self.take(serde_json::from_str(record.get()).map_err(bad)?);
            }
        }
        Ok(())
    }

    fn take(&mut self, event: Event) {
        let begin = self.period.first.begin().saturating_sub(SLACK);
        let end = self.period.last.begin().saturating_add(DAY).saturating_add(SLACK);
        let named = event.resources.into_iter().flatten().filter_map(|resource| resource.arn);
        let asked = event.request_parameters.and_then(|parameters| parameters.key_id);
        let key = named.chain(asked).find_map(|arn| self.arns.get(&arn));
        let Some(key) = key.filter(|_| event.error_code.is_none()) else { return };
        if event.event_time < begin || end < event.event_time || !self.seen.insert(event.event_id.clone()) {
            return;
        }
        let Identity { arn, invoked_by, session_context } = event.user_identity;
        let role = session_context.and_then(|session| session.session_issuer).and_then(|issuer| issuer.arn);
        self.signed.entry(key.clone()).or_default().push(Signed {
            at: event.event_time,
            request: event.request_id.unwrap_or(event.event_id),
            caller: role.or(arn).or(invoked_by).unwrap_or_default(),
            address: event.source_ip_address.unwrap_or_default(),
        });
    }
}

fn contents(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = BufReader::new(File::open(path)?);
    let is_compressed = path.extension().is_some_and(|extension| extension == "gz");
    let mut reader: Box<dyn Read> =
        if is_compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    reader.by_ref().take(LONGEST).read_to_string(&mut text)?;
    if reader.read(&mut [0])? > 0 {
        return Err(io::Error::other("the file is too large"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const ARN: &str = "arn:aws:kms:eu-central-1:123456789012:key/1";

    /// As AWS documents it, with the caller of an assumed role.
    const SIGN: &str = r#"{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"A:b",
        "arn":"arn:aws:sts::123456789012:assumed-role/usher-broker/i-1","accountId":"123456789012",
        "sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::123456789012:role/usher-broker"}}},
        "eventTime":"2026-11-23T22:36:44Z","eventSource":"kms.amazonaws.com","eventName":"Sign",
        "sourceIPAddress":"192.0.2.0","requestParameters":{"messageType":"RAW","keyId":"KEY",
        "signingAlgorithm":"ED25519_SHA_512"},"responseElements":null,"requestID":"r-1","eventID":"e-1",
        "readOnly":true,"resources":[{"accountId":"123456789012","type":"AWS::KMS::Key","ARN":"KEY"}],
        "eventType":"AwsApiCall","managementEvent":true,"eventCategory":"Management"}"#;

    fn found(directory: &Path) -> Vec<Signed> {
        let arns = BTreeMap::from([(ARN.to_owned(), "prj_1/ssh-user-ca/1".parse().unwrap())]);
        let period = Period::day("2026-11-23".parse().unwrap());
        read(&[directory.to_owned()], period, &arns).unwrap().into_values().flatten().collect()
    }

    #[test]
    fn compressed_files_are_found_where_cloudtrail_puts_them() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("AWSLogs/123456789012/CloudTrail/eu-central-1/2026/11/24");
        fs::create_dir_all(&place).unwrap();
        let log = format!(r#"{{"Records":[{}]}}"#, SIGN.replace("KEY", ARN));
        let mut file = GzEncoder::new(Vec::new(), Compression::fast());
        file.write_all(log.as_bytes()).unwrap();
        let file = file.finish().unwrap();
        let name = |time: &str| place.join(format!("123456789012_CloudTrail_eu-central-1_{time}_Ab.json.gz"));
        // Of another month, and of the digests: neither is even opened.
        fs::write(name("20260901T0005Z"), "nonsense").unwrap();
        let digests = directory.path().join("AWSLogs/123456789012/CloudTrail-Digest");
        fs::create_dir_all(&digests).unwrap();
        fs::write(digests.join("digest.json.gz"), "nonsense").unwrap();
        fs::write(name("20261124T0005Z"), &file).unwrap();
        fs::write(name("20261124T0010Z"), &file).unwrap();

        let [signed] = found(directory.path()).try_into().unwrap();
        assert_eq!(signed.caller, "arn:aws:iam::123456789012:role/usher-broker");
        assert_eq!((signed.request.as_str(), signed.address.as_str()), ("r-1", "192.0.2.0"));
        fs::write(name("20261124T0015Z"), "nonsense").unwrap();
        let period = Period::day("2026-11-23".parse().unwrap());
        assert!(
            read(&[directory.path().to_owned()], period, &BTreeMap::new()).is_err(),
            "a damaged file is no gap"
        );
    }

    #[test]
    fn other_days_other_keys_and_failures_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let good = SIGN.replace("KEY", ARN);
        let day = good.replace("2026-11-23T22", "2026-11-21T22").replace("e-1", "e-2");
        let failed = good
            .replace(r#""readOnly""#, r#""errorCode":"ThrottlingException","readOnly""#)
            .replace("e-1", "e-3");
        let other = SIGN.replace("KEY", "arn:aws:kms:eu-central-1:123456789012:key/2").replace("e-1", "e-4");
        fs::write(
            directory.path().join("log.json"),
            format!(r#"{{"Records":[{day},{failed},{other},{{"eventName":"ConsoleLogin"}}]}}"#),
        )
        .unwrap();
        assert_eq!(found(directory.path()), []);
    }
}
