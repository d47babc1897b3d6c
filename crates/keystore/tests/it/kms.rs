//! Keys in AWS KMS, made, loaded, signing and failing; against moto with authentication on.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use aws_sdk_kms::types::KeyUsageType;
use tempfile::TempDir;
use usher_ca::{SignError, Signer as _};
use usher_keystore::{
    Algorithm, Custody, GenerateError, KeyLabel, Keystore, KmsSignatures, LoadError, Purpose, SealKey,
    SignMessageError, SigningKey,
    kms::{Kms, KmsError, KmsSettings},
};
use usher_testkit::kms::{Identity, Moto, REGION, Stub};

/// A broker's keystore, and the KMS behind it.
struct Lab {
    directory: TempDir,
    stub: Stub,
    settings: KmsSettings,
}

impl Lab {
    fn new() -> Self {
        let moto = Moto::shared();
        let stub = Stub::start(moto);
        let directory = tempfile::tempdir().unwrap();
        SealKey::create(&directory.path().join("seal.key")).unwrap();
        let settings = KmsSettings {
            region: REGION.to_owned(),
            endpoint_url: Some(stub.url()),
            credentials_file: Some(moto.broker().credentials_file(directory.path())),
            alias_prefix: "usher".to_owned(),
            team: "acme".to_owned(),
            principal: Some(moto.broker().arn.clone()),
            wrapping_key: Some(moto.wrapping_key().to_owned()),
            requests_per_second: NonZeroU32::new(10_000).unwrap(),
            concurrency: NonZeroUsize::new(32).unwrap(),
        };
        Self { directory, stub, settings }
    }

    fn called_by(mut self, identity: &Identity) -> Self {
        self.settings.credentials_file = Some(identity.credentials_file(self.directory.path()));
        self
    }

    async fn keystore(&self) -> Keystore {
        let seal = SealKey::load(&self.directory.path().join("seal.key")).unwrap();
        Keystore::new(seal).with_kms(Kms::new(self.settings.clone()).await)
    }

    async fn key(&self) -> Arc<SigningKey> {
        let made = self.keystore().await.generate(&state(), Algorithm::Ed25519, Custody::AwsKms).await;
        made.unwrap().key
    }
}

fn state() -> KeyLabel {
    KeyLabel::new("team/state/1", Purpose::State)
}

fn kms_error(result: Result<[u8; 64], SignMessageError>) -> KmsError {
    match result.unwrap_err() {
        SignMessageError::Kms(error) => error,
        other => panic!("{other:?}"),
    }
}

/// An administrator's view, on moto itself.
async fn admin() -> aws_sdk_kms::Client {
    let moto = Moto::shared();
    let directory = tempfile::tempdir().unwrap();
    let file = moto.broker().credentials_file(directory.path());
    #[expect(deprecated, reason = "see the crate")]
    let files = {
        use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
        ProfileFiles::builder().with_file(ProfileFileKind::Credentials, file).build()
    };
    let credentials =
        aws_config::profile::ProfileFileCredentialsProvider::builder().profile_files(files).build();
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new(REGION))
        .endpoint_url(moto.url())
        .credentials_provider(credentials)
        .load()
        .await;
    // The file is read at the first call.
    let client = aws_sdk_kms::Client::new(&config);
    client.describe_key().key_id(moto.wrapping_key()).send().await.unwrap();
    client
}

#[tokio::test]
async fn keys_of_both_algorithms_are_made_in_kms_and_found_again() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let label = KeyLabel::new(format!("prj_{}/x509-ca/1", algorithm.as_str()), Purpose::X509Ca);
        let made = keystore.generate(&label, algorithm, Custody::AwsKms).await.unwrap();
        assert_eq!((made.custody, made.key.custody()), (Custody::AwsKms, Custody::AwsKms));
        assert_eq!(made.key.algorithm(), algorithm);
        assert!(made.key.software().is_none(), "the private half is not here");
        let arn = std::str::from_utf8(&made.material).unwrap();
        assert!(arn.starts_with(&format!("arn:aws:kms:{REGION}:")), "{arn}");

        let other = lab.keystore().await;
        let loaded = other.load(&label, Custody::AwsKms, &made.material).await.unwrap();
        assert_eq!(loaded.public_key_bytes(), made.key.public_key_bytes());
        let signature = loaded.sign(b"to be signed").await.unwrap();
        made.key.public_key().verify(b"to be signed", &signature).unwrap();
        assert!(made.key.public_key().verify(b"something else", &signature).is_err());
        assert_eq!(loaded.sign_message(b"to be signed").await.unwrap().len(), 64);
        let counted = KmsSignatures { id: label.id().to_owned(), sent: 2, made: 2 };
        assert_eq!(other.kms_signatures(), [counted], "every call is counted where it is made");
    }
}

#[tokio::test]
async fn a_key_carries_tags_an_alias_and_a_policy_of_its_own() {
    let lab = Lab::new();
    let label = KeyLabel::new("prj_tagged/ssh-user-ca/1", Purpose::SshUserCa);
    let made = lab.keystore().await.generate(&label, Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    let arn = std::str::from_utf8(&made.material).unwrap();
    let admin = admin().await;
    let shown =
        admin.describe_key().key_id("alias/usher/acme/prj_tagged/ssh-user-ca/1").send().await.unwrap();
    let shown = shown.key_metadata().unwrap();
    assert_eq!(shown.arn(), Some(arn));
    assert_eq!(shown.key_usage(), Some(&KeyUsageType::SignVerify));
    // What the broker's own policy does not let it see, the answers to its requests do not hide from the test.
    let seen = lab.stub.served();
    assert_eq!(seen.tags["usher:team"], "acme");
    assert_eq!(seen.tags["usher:project"], "prj_tagged");
    assert_eq!(seen.tags["usher:purpose"], "ssh-user-ca");
    assert_eq!(seen.tags["usher:key"], "prj_tagged/ssh-user-ca/1");
    assert!(seen.policy.contains(&lab.settings.principal.unwrap()));

    // A second one of that name, as after a team was made again.
    let lab = Lab::new();
    let again = lab.keystore().await.generate(&label, Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    assert_ne!(again.material, made.material);
}

#[tokio::test]
async fn a_wrapped_key_opens_under_its_own_label_only() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    let label = KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::SshUserCa);
    let made = keystore.generate(&label, Algorithm::Ed25519, Custody::AwsKmsWrapped).await.unwrap();
    let secret = made.key.software().unwrap().to_secret_bytes().unwrap();
    assert!(!made.material.windows(32).any(|window| window == &secret[1..33]));

    let other = lab.keystore().await;
    let loaded = other.load(&label, Custody::AwsKmsWrapped, &made.material).await.unwrap();
    assert_eq!(loaded.public_key_bytes(), made.key.public_key_bytes());
    assert!(loaded.checked().is_some(), "signs here");
    let requests = lab.stub.served().requests;
    other.load(&label, Custody::AwsKmsWrapped, &made.material).await.unwrap();
    assert_eq!(lab.stub.served().requests, requests, "decrypted once");

    // The encryption context names team, project, purpose and key: KMS refuses any other.
    for label in [
        KeyLabel::new("prj_2/ssh-user-ca/1", Purpose::SshUserCa),
        KeyLabel::new("prj_1/ssh-user-ca/2", Purpose::SshUserCa),
        KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::X509Ca),
    ] {
        let error = other.load(&label, Custody::AwsKmsWrapped, &made.material).await.unwrap_err();
        assert!(matches!(error, LoadError::Kms { source: KmsError::Refused { .. }, .. }), "{error:?}");
    }
    let mut other_team = lab.settings.clone();
    other_team.team = "globex".to_owned();
    let seal = SealKey::load(&lab.directory.path().join("seal.key")).unwrap();
    let other = Keystore::new(seal).with_kms(Kms::new(other_team).await);
    assert!(other.load(&label, Custody::AwsKmsWrapped, &made.material).await.is_err());
    // And nothing else opens it.
    assert!(other.load(&label, Custody::Software, &made.material).await.is_err());
}

/// Threat 2, in KMS too.
#[tokio::test]
async fn a_ca_key_in_kms_signs_certificates_only() {
    let lab = Lab::new();
    let label = KeyLabel::new("prj_1/ssh-user-ca/1", Purpose::SshUserCa);
    let key = lab.keystore().await.generate(&label, Algorithm::Ed25519, Custody::AwsKms).await.unwrap().key;
    let before = lab.stub.served();
    assert_eq!(key.sign_message(b"anything").await.unwrap_err(), SignMessageError::CertificatesOnly);
    assert!(matches!(key.sign(b"anything").await, Err(SignError::Refused(_))));
    assert_eq!(lab.stub.served(), before, "KMS was not even asked");
    let certificate = [&b"\0\0\0\x20ssh-ed25519-cert-v01@openssh.com"[..], b"..."].concat();
    key.public_key().verify(&certificate, &key.sign(&certificate).await.unwrap()).unwrap();
}

#[tokio::test]
async fn a_wrong_signature_is_never_released() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    for algorithm in [Algorithm::EcdsaP256, Algorithm::Ed25519] {
        let label = KeyLabel::new(format!("team/{}/1", algorithm.as_str()), Purpose::State);
        let key = keystore.generate(&label, algorithm, Custody::AwsKms).await.unwrap().key;
        lab.stub.lie(true);
        assert_eq!(kms_error(key.sign_message(b"head").await), KmsError::WrongSignature);
        assert!(matches!(key.sign(b"head").await, Err(SignError::Refused(_))));
        let again = keystore.generate(&label, algorithm, Custody::AwsKms).await.unwrap_err();
        let GenerateError::Useless { arn, source } = again else { panic!("{again:?}") };
        assert!(arn.starts_with("arn:aws:kms:"), "{arn}");
        assert_eq!(source, KmsError::WrongSignature);
        lab.stub.lie(false);
        key.sign_message(b"head").await.unwrap();
    }
}

#[tokio::test]
async fn a_disabled_key_and_one_that_waits_for_its_deletion_are_told_apart_from_an_outage() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    let made = keystore.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    let arn = std::str::from_utf8(&made.material).unwrap();
    for bad in ["Disabled", "PendingDeletion"] {
        lab.stub.set_key_state(arn, bad);
        let before = lab.stub.served().requests;
        assert_eq!(kms_error(made.key.sign_message(b"head").await), KmsError::Disabled);
        assert_eq!(lab.stub.served().requests, before + 1, "not repeated");
        assert!(matches!(made.key.sign(b"head").await, Err(SignError::Refused(_))));
    }
    // Others go on: it is one key's trouble.
    lab.key().await.sign_message(b"head").await.unwrap();
    lab.stub.set_key_state(arn, "Enabled");
    made.key.sign_message(b"head").await.unwrap();
}

#[tokio::test]
async fn who_is_denied_gets_no_key_and_no_signature() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    let made = keystore.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    let wrapped = KeyLabel::new("prj_1/x509-ca/1", Purpose::X509Ca);
    let wrapped_key = keystore.generate(&wrapped, Algorithm::EcdsaP256, Custody::AwsKmsWrapped);
    let wrapped_key = wrapped_key.await.unwrap();

    let lab = lab.called_by(Moto::shared().stranger());
    let keystore = lab.keystore().await;
    let denied = |error: &KmsError| matches!(error, KmsError::Denied { .. });
    for custody in [Custody::AwsKms, Custody::AwsKmsWrapped] {
        let error = keystore.generate(&state(), Algorithm::EcdsaP256, custody).await.unwrap_err();
        assert!(matches!(&error, GenerateError::Kms(source) if denied(source)), "{error:?}");
    }
    for (label, made) in [(state(), &made), (wrapped, &wrapped_key)] {
        let error = keystore.load(&label, made.custody, &made.material).await.unwrap_err();
        assert!(matches!(&error, LoadError::Kms { source, .. } if denied(source)), "{error:?}");
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn a_forged_secret_is_denied() {
    let lab = Lab::new();
    let file = lab.settings.credentials_file.clone().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let (first, secret) = text.rsplit_once("= ").unwrap();
    std::fs::write(&file, format!("{first}= {}", secret.to_uppercase())).unwrap();
    let error = lab.keystore().await.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await;
    assert!(matches!(error, Err(GenerateError::Kms(KmsError::Denied { .. }))), "{error:?}");
}

/// Slow but in time is only slow; without an answer the call ends by itself, is repeated, and then nobody is asked for a
/// while.
#[tokio::test]
async fn a_slow_kms_is_waited_for_and_a_silent_one_is_not_asked_for_long() {
    let lab = Lab::new();
    let key = lab.key().await;
    lab.stub.delay(Duration::from_millis(300));
    key.sign_message(b"head").await.unwrap();
    lab.stub.delay(Duration::ZERO);

    lab.stub.hang(true);
    let both = tokio::join!(key.sign_message(b"head"), key.sign_message(b"head"));
    for error in [kms_error(both.0), kms_error(both.1)] {
        assert!(matches!(error, KmsError::TimedOut | KmsError::CircuitOpen), "{error:?}");
        assert!(error.is_temporary());
    }
    let asked = lab.stub.served().requests;
    assert_eq!(kms_error(key.sign_message(b"head").await), KmsError::CircuitOpen);
    assert!(matches!(key.sign(b"head").await, Err(SignError::Unavailable(_))));
    assert_eq!(lab.stub.served().requests, asked, "KMS is left alone");

    // One probe finds out that it is back.
    lab.stub.hang(false);
    recovers(&key).await;
}

#[tokio::test]
async fn a_broken_kms_opens_the_circuit_and_one_probe_closes_it() {
    let lab = Lab::new();
    let key = lab.key().await;
    lab.stub.break_down(true);
    let unavailable = kms_error(key.sign_message(b"head").await);
    assert_eq!(unavailable, KmsError::Unavailable { code: "KMSInternalException".to_owned() });
    loop {
        match kms_error(key.sign_message(b"head").await) {
            KmsError::CircuitOpen => break,
            KmsError::Unavailable { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    lab.stub.break_down(false);
    recovers(&key).await;
}

async fn recovers(key: &SigningKey) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(error) = key.sign_message(b"head").await {
        assert!(matches!(error, SignMessageError::Kms(KmsError::CircuitOpen)), "{error:?}");
        assert!(tokio::time::Instant::now() < deadline, "never recovers");
        tokio::task::yield_now().await;
    }
}

/// AWS knows a new key everywhere only after a while.
#[tokio::test]
async fn a_new_key_that_is_not_found_at_once_is_waited_for() {
    let lab = Lab::new();
    lab.stub.forget(3);
    lab.key().await.sign_message(b"head").await.unwrap();
    // An old one is gone when it is gone.
    let made = lab.keystore().await.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    lab.stub.forget(1);
    assert_eq!(kms_error(made.key.sign_message(b"head").await), KmsError::Missing);
    made.key.sign_message(b"head").await.unwrap();
}

#[tokio::test]
async fn a_refused_request_does_not_count_as_one_that_may_have_been_executed() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    let made = keystore.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    let count = || keystore.kms_signatures().remove(0);
    let before = count();
    assert_eq!(before.sent, before.made);
    lab.stub.set_key_state(std::str::from_utf8(&made.material).unwrap(), "Disabled");
    made.key.sign_message(b"head").await.unwrap_err();
    assert_eq!(count(), before);
    lab.stub.break_down(true);
    made.key.sign_message(b"head").await.unwrap_err();
    assert!(count().sent > before.sent && count().made == before.made, "nobody knows");
}

/// Nothing listens there any more.
#[tokio::test]
async fn without_kms_no_key_signs_or_loads() {
    let lab = Lab::new();
    let keystore = lab.keystore().await;
    let made = keystore.generate(&state(), Algorithm::Ed25519, Custody::AwsKms).await.unwrap();
    let Lab { directory, stub, settings } = lab;
    drop(stub);
    let error = kms_error(made.key.sign_message(b"head").await);
    assert!(matches!(error, KmsError::Unavailable { .. } | KmsError::CircuitOpen), "{error:?}");
    let seal = SealKey::load(&directory.path().join("seal.key")).unwrap();
    let fresh = Keystore::new(seal).with_kms(Kms::new(settings).await);
    let error = fresh.load(&state(), Custody::AwsKms, &made.material).await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    let error = fresh.generate(&state(), Algorithm::Ed25519, Custody::AwsKms).await.unwrap_err();
    assert!(matches!(error, GenerateError::Kms(_)), "{error:?}");
}

/// Five hundred requests at once against a quota: all are signed, and each project gets its part although one asks for
/// nearly everything.
#[tokio::test]
async fn five_hundred_requests_at_once_meet_the_quota_and_starve_nobody() {
    const QUOTA: u32 = 200;
    let mut lab = Lab::new();
    lab.settings.requests_per_second = NonZeroU32::new(QUOTA).unwrap();
    let keystore = lab.keystore().await;
    let mut keys = Vec::new();
    for project in 0..5 {
        let label = KeyLabel::new(format!("prj_{project}/x509-ca/1"), Purpose::X509Ca);
        let made = keystore.generate(&label, Algorithm::Ed25519, Custody::AwsKms).await.unwrap();
        keys.push((made.key, String::from_utf8(made.material).unwrap()));
    }
    lab.stub.throttle(Some(QUOTA));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    // 460 of the first project, ten of each of the others, who come last.
    let projects =
        std::iter::repeat_n(0, 460).chain((1..5).flat_map(|project| std::iter::repeat_n(project, 10)));
    let tasks: Vec<_> = projects
        .map(|project| {
            let (key, order) = (Arc::clone(&keys[project].0), Arc::clone(&order));
            tokio::spawn(async move {
                key.sign_message(b"to be signed").await.unwrap();
                order.lock().unwrap().push(project);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 500);
    // Every small project is done long before the big one: it never has more than its turn.
    let last = |project| order.iter().rposition(|done| *done == project).unwrap();
    for project in 1..5 {
        assert!(last(project) < 300, "project {project} was done at {}", last(project));
    }
}

/// Another user of the same account may have eaten the quota: fewer are let through than the broker would send.
#[tokio::test]
async fn throttled_requests_are_repeated_until_they_are_signed() {
    let lab = Lab::new();
    let key = lab.key().await;
    lab.stub.throttle(Some(20));
    let tasks: Vec<_> = (0..60)
        .map(|_| {
            let key = Arc::clone(&key);
            tokio::spawn(async move { key.sign_message(b"to be signed").await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert!(lab.stub.served().throttled > 0);
}

#[tokio::test]
async fn a_quota_of_nothing_ends_in_a_typed_error() {
    let lab = Lab::new();
    let key = lab.key().await;
    lab.stub.throttle(Some(0));
    // Which of the two depends on what the last of the time was spent with: asking, or waiting for a turn to ask.
    let error = kms_error(key.sign_message(b"head").await);
    assert!(matches!(error, KmsError::Busy | KmsError::Throttled), "{error:?}");
    lab.stub.throttle(None);
    key.sign_message(b"head").await.unwrap();
}

#[tokio::test]
async fn a_message_longer_than_kms_takes_is_not_sent() {
    let lab = Lab::new();
    let key = lab.key().await;
    key.sign_message(&[7; 4096]).await.unwrap();
    let asked = lab.stub.served().requests;
    assert_eq!(kms_error(key.sign_message(&[7; 4097]).await), KmsError::TooLong);
    assert_eq!(lab.stub.served().requests, asked);
}

#[tokio::test]
async fn a_key_is_loaded_once_however_many_ask_for_it() {
    let lab = Lab::new();
    let made = lab.keystore().await.generate(&state(), Algorithm::EcdsaP256, Custody::AwsKms).await.unwrap();
    let keystore = Arc::new(lab.keystore().await);
    let before = lab.stub.served().requests;
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (keystore, material) = (Arc::clone(&keystore), made.material.clone());
            tokio::spawn(async move { keystore.load(&state(), Custody::AwsKms, &material).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(lab.stub.served().requests, before + 1);
}

#[tokio::test]
async fn keys_are_not_made_without_knowing_who_signs_with_them() {
    let mut lab = Lab::new();
    lab.settings.principal = None;
    lab.settings.wrapping_key = None;
    let keystore = lab.keystore().await;
    for (custody, expected) in
        [(Custody::AwsKms, KmsError::NoPrincipal), (Custody::AwsKmsWrapped, KmsError::NoWrappingKey)]
    {
        let error = keystore.generate(&state(), Algorithm::EcdsaP256, custody).await.unwrap_err();
        assert_eq!(error, GenerateError::Kms(expected));
    }
    assert_eq!(lab.stub.served().requests, 0);
}
