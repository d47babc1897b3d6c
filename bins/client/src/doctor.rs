//! `usher doctor`: looks at every part between this client and its broker, and says which one is wrong and what to do.
//! Changes nothing.

use std::time::Duration;

use serde::Serialize;
use usher_api::v1::Me;
use usher_types::UnixTime;

use crate::{
    api::Api,
    cli::Context,
    clock,
    config::{self, Team},
    exit::{Exit, Failure},
    files, output, spawn,
    ssh_agent::{process, teams},
    ssh_config,
};

/// How one check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Failed,
    Ok,
    Warning,
}

/// Half of what a proof may be off.
const TOLERANCE: Duration = Duration::from_secs(30);

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    checks: Vec<Check>,
}

impl Report {
    fn add(&mut self, name: &'static str, result: Result<String, Failure>, otherwise: Verdict) {
        let check = match result {
            Ok(detail) => Check { name, verdict: Verdict::Ok, detail, next: None },
            Err(failure) => {
                Check { name, verdict: otherwise, detail: failure.to_string(), next: failure.next }
            }
        };
        self.checks.push(check);
    }
}

/// Runs every check that makes sense.
///
/// # Errors
/// When one of them failed.
pub fn run(context: &Context) -> Result<(), Failure> {
    let mut report = Report { checks: Vec::new() };
    report.add("ssh", ssh_version(context), Verdict::Failed);
    report.add("ssh configuration", ssh_config_first(context), Verdict::Warning);
    report.add("sockets", sockets(context), Verdict::Failed);
    match context.team().and_then(|slug| Ok((context.config.team(Some(slug.as_str()))?.1.clone(), slug))) {
        Ok((team, slug)) => {
            report.add("team", Ok(format!("`{slug}` at {}", team.url)), Verdict::Failed);
            report.add("device key", device_key(context, &team), Verdict::Failed);
            report.add("broker", broker(context, &team), Verdict::Failed);
            report.add("clock", clock_offset(context, &team), Verdict::Failed);
            report.add("session", session(context), Verdict::Warning);
        }
        Err(failure) => report.add("team", Err(failure), Verdict::Failed),
    }
    let failed = report.checks.iter().filter(|check| check.verdict == Verdict::Failed).count();
    output::show(context.format, &report, text)?;
    if failed == 0 { Ok(()) } else { Err(Failure::new(Exit::Other, format!("{failed} check(s) failed"))) }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for check in &report.checks {
        let mark = match check.verdict {
            Verdict::Failed => "FAIL",
            Verdict::Ok => "ok",
            Verdict::Warning => "warn",
        };
        text.push_str(&format!("{mark:<6}{:<20}{}\n", check.name, check.detail));
        if let Some(next) = &check.next {
            text.push_str(&format!("      next: {next}\n"));
        }
    }
    text
}

/// `OpenSSH_9.2p1 Debian-2, ...`: session binding came with 8.9.
fn ssh_version(context: &Context) -> Result<String, Failure> {
    let output = spawn::ssh(&context.environment)?
        .arg("-V")
        .output()
        .map_err(|error| Failure::io("cannot start ssh", &error))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let version = said.strip_prefix("OpenSSH_").and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let (major, minor) = digits.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match version {
        Some(version) if version >= (8, 9) => Ok(said),
        Some(_) => {
            Err(Failure::other(format!("{said} does not bind sessions; parallel connections will fail"))
                .next("install OpenSSH 8.9 or later"))
        }
        None => Err(Failure::other(format!("`{said}` is not OpenSSH")).next("install OpenSSH 8.9 or later")),
    }
}

fn ssh_config_first(context: &Context) -> Result<String, Failure> {
    let environment = &context.environment;
    if !environment.ssh_config().exists() {
        return Err(
            Failure::other("plain `ssh` does not know your servers").next("run `usher ssh-config install`")
        );
    }
    if !ssh_config::is_first(environment)? {
        return Err(Failure::other("the Include line is not the first of ~/.ssh/config; earlier lines win")
            .next("run `usher ssh-config install`"));
    }
    let wanted = ssh_config::render(environment, &context.config)?;
    let found = files::read(&environment.ssh_config())?.unwrap_or_default();
    if !found.starts_with(wanted.as_bytes()) {
        return Err(Failure::other("the ssh configuration is of another version or place of usher")
            .next("run `usher ssh-config install`"));
    }
    Ok("installed and first".to_owned())
}

fn sockets(context: &Context) -> Result<String, Failure> {
    let runtime = &context.environment.runtime;
    match process::running(runtime)? {
        Some(_) => {
            files::private_directory(runtime)?;
            Ok(format!("background process serves `{}`", runtime.display()))
        }
        None => Ok("no background process; `usher login` starts it".to_owned()),
    }
}

fn device_key(context: &Context, team: &Team) -> Result<String, Failure> {
    let key = config::device_public_key(&context.environment.config, team)?;
    Ok(format!("only you can read it; thumbprint {}", key.thumbprint()))
}

/// Reaches the broker under the pin.
fn broker(context: &Context, team: &Team) -> Result<String, Failure> {
    let client = teams::client(&context.environment.config, team)?;
    let found = runtime()?.block_on(client.team()).map_err(|error| teams::failure(&error))?;
    let trust =
        if team.pin.is_some() { "has the pinned root" } else { "has a root that this machine trusts" };
    Ok(format!("version {} of team `{}` answers and {trust}", found.version, found.team))
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot start", &error))
}

/// Compares this clock with the broker's: proofs may be a minute off, certificates little more.
fn clock_offset(context: &Context, team: &Team) -> Result<String, Failure> {
    let client = teams::client(&context.environment.config, team)?;
    let date = runtime()?.block_on(client.date()).map_err(|error| teams::failure(&error))?;
    let unreadable = || Failure::new(Exit::Network, "the broker's answer has no readable date");
    let broker = date.as_deref().and_then(http_date).ok_or_else(unreadable)?;
    let now = clock::now();
    let (offset, word) =
        if now < broker { (broker.since(now), "behind") } else { (now.since(broker), "ahead") };
    let text = format!("about {} s {word} the broker's", offset.as_secs());
    if offset < TOLERANCE {
        return Ok(text);
    }
    Err(Failure::other(format!("{text}; proofs that are a minute off are refused"))
        .next("set this machine's clock, for example with an NTP service"))
}

/// `Tue, 24 Nov 2026 09:45:35 GMT` (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<UnixTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split(' ').collect();
    let [_weekday, day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    format!("{year}-{month:02}-{day}T{time}Z").parse().ok()
}

fn session(context: &Context) -> Result<String, Failure> {
    let me: Me = Api::open(context, &context.team()?)?.get("/v1/me").map_err(|failure| {
        if failure.code == Some(usher_api::ErrorCode::InvalidProof) {
            return failure.next("set this machine's clock: proofs must be at most a minute off");
        }
        failure
    })?;
    Ok(format!("`{}` on device `{}` until {}", me.user.user_name, me.device.name, me.session.expires_at))
}

#[cfg(test)]
mod tests {
    use super::http_date;

    #[test]
    fn reads_the_date_of_an_answer() {
        let date = http_date("Tue, 24 Nov 2026 09:45:35 GMT").unwrap();
        assert_eq!(date.to_string(), "2026-11-24T09:45:35.000Z");
        for wrong in [
            "",
            "Tue, 24 Nov 2026 09:45:35",
            "Tuesday, 24-Nov-26 09:45:35 GMT",
            "Tue, 44 Foo 2026 09:45:35 GMT",
        ] {
            assert!(http_date(wrong).is_none(), "{wrong}");
        }
    }
}
