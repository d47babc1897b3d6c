//! AWS KMS: makes keys, has them sign, wraps secrets. Every call waits its turn, has two seconds, is repeated with
//! growing pauses when that makes sense, and is not made at all while the service does not answer.
//!
//! Never signs here instead: what KMS does not sign stays unsigned.

mod breaker;
mod call;
mod error;
mod key;
mod policy;
mod turns;

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
};

#[expect(deprecated, reason = "their new place is a crate of its own that nothing else here needs")]
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::{BehaviorVersion, Region, profile::ProfileFileCredentialsProvider, retry::RetryConfig};
use aws_sdk_kms::{
    Client,
    primitives::Blob,
    types::{KeySpec, KeyUsageType, Tag},
};
use tokio::time::{Duration, Instant, sleep};
use zeroize::Zeroizing;

pub use self::error::KmsError;
pub(crate) use self::key::{Calls, KmsKey};
use self::{breaker::Breaker, turns::Turns};
use crate::{Algorithm, KeyLabel};

/// So long a new key may be unknown.
const SETTLING: Duration = Duration::from_secs(10);
const SETTLING_PAUSE: Duration = Duration::from_millis(200);

/// How the service is reached and used.
#[derive(Clone, Debug)]
pub struct KmsSettings {
    /// Where the keys are: `eu-central-1`.
    pub region: String,
    /// Another address than the region's own.
    pub endpoint_url: Option<String>,
    /// A file in the form of `~/.aws/credentials`; the machine's own credentials when absent.
    pub credentials_file: Option<PathBuf>,
    /// First part of the keys' aliases: `alias/PREFIX/TEAM/...`.
    pub alias_prefix: String,
    /// Whose keys these are.
    pub team: String,
    /// ARN of the IAM role or user that the broker runs as: a new key's policy lets it sign, and nobody else.
    pub principal: Option<String>,
    /// The symmetric key for custody `aws-kms-wrapped`.
    pub wrapping_key: Option<String>,
    /// Calls per second, all projects together.
    pub requests_per_second: NonZeroU32,
    /// Calls at one time.
    pub concurrency: NonZeroUsize,
}

/// The service, as one team uses it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    settings: KmsSettings,
    turns: Turns,
    breaker: Breaker,
}

impl Kms {
    /// Gets ready; nothing is called yet.
    pub async fn new(settings: KmsSettings) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            // Repeating is done here, where every try waits its turn.
            .retry_config(RetryConfig::disabled());
        if let Some(url) = &settings.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(file) = &settings.credentials_file {
            #[expect(deprecated, reason = "see above")]
            let files = ProfileFiles::builder().with_file(ProfileFileKind::Credentials, file).build();
            loader = loader
                .credentials_provider(ProfileFileCredentialsProvider::builder().profile_files(files).build());
        }
        let client = Client::new(&Box::pin(loader.load()).await);
        let turns = Turns::new(settings.requests_per_second, settings.concurrency);
        Self(Arc::new(Inner { client, settings, turns, breaker: Breaker::default() }))
    }

    /// Makes a signing key with its own policy, tags and alias, and tries it out.
    pub(crate) async fn create_key(
        &self,
        label: &KeyLabel,
        algorithm: Algorithm,
    ) -> Result<KmsKey, CreateKeyError> {
        let settings = &self.0.settings;
        let principal = settings.principal.as_deref().ok_or(KmsError::NoPrincipal)?;
        let policy = policy::of_key(principal, algorithm).ok_or(KmsError::NoPrincipal)?;
        let tags = self.tags(label)?;
        let made = self
            .call(share(label), || {
                self.0
                    .client
                    .create_key()
                    .key_spec(match algorithm {
                        Algorithm::EcdsaP256 => KeySpec::EccNistP256,
                        Algorithm::Ed25519 => KeySpec::EccNistEdwards25519,
                    })
                    .key_usage(KeyUsageType::SignVerify)
                    .description(format!("Usher team {}: {}", settings.team, label.id()))
                    .policy(policy.as_str())
                    // The check is whether the caller may change the policy later. The broker must not; the account's
                    // administrators may, the policy says so.
                    .bypass_policy_lockout_safety_check(true)
                    .set_tags(Some(tags.clone()))
                    .send()
            })
            .await
            .map_err(|error| match error {
                // Every region has P-256; what it does not know about such a key is something else.
                KmsError::Refused { code } if algorithm == Algorithm::Ed25519 && is_unknown(&code) => {
                    KmsError::NotOffered(algorithm)
                }
                error => error,
            })?;
        let metadata = made.key_metadata().ok_or(KmsError::BadAnswer)?;
        let arn = metadata.arn().ok_or(KmsError::BadAnswer)?.to_owned();
        let tried = async {
            settled(|| self.name(label, metadata.key_id(), &arn)).await?;
            let key = settled(|| self.open_key(label, arn.as_bytes())).await?;
            if key.algorithm() != algorithm {
                return Err(KmsError::BadAnswer);
            }
            // The key's policy and the broker's own rights show only now.
            settled(|| key.sign(b"usher-key-check-v1\0")).await?;
            Ok(key)
        };
        tried.await.map_err(|source| CreateKeyError::Useless { arn: arn.clone(), source })
    }

    /// A key that was made by [`Kms::create_key`], by what was stored of it.
    pub(crate) async fn open_key(&self, label: &KeyLabel, material: &[u8]) -> Result<KmsKey, KmsError> {
        let arn = std::str::from_utf8(material).map_err(|_error| KmsError::BadAnswer)?;
        let shown = self.call(share(label), || self.0.client.get_public_key().key_id(arn).send()).await?;
        let spki = shown.public_key().ok_or(KmsError::BadAnswer)?;
        KmsKey::new(self.clone(), arn, share(label), spki.as_ref())
    }

    /// Encrypts a secret that only this label opens.
    pub(crate) async fn wrap(&self, label: &KeyLabel, secret: &[u8]) -> Result<Vec<u8>, KmsError> {
        let wrapping_key = self.wrapping_key()?;
        let answer = self
            .call(share(label), || {
                self.0
                    .client
                    .encrypt()
                    .key_id(wrapping_key)
                    .set_encryption_context(Some(self.context(label).into_iter().collect()))
                    .plaintext(Blob::new(secret))
                    .send()
            })
            .await?;
        let ciphertext = answer.ciphertext_blob.ok_or(KmsError::BadAnswer)?;
        Ok(ciphertext.into_inner())
    }

    /// Decrypts what [`Kms::wrap`] made for the same label.
    pub(crate) async fn unwrap(
        &self,
        label: &KeyLabel,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let wrapping_key = self.wrapping_key()?;
        let answer = self
            .call(share(label), || {
                self.0
                    .client
                    .decrypt()
                    .key_id(wrapping_key)
                    .set_encryption_context(Some(self.context(label).into_iter().collect()))
                    .ciphertext_blob(Blob::new(wrapped))
                    .send()
            })
            .await?;
        let plain = answer.plaintext.ok_or(KmsError::BadAnswer)?;
        Ok(Zeroizing::new(plain.into_inner()))
    }

    fn wrapping_key(&self) -> Result<&str, KmsError> {
        self.0.settings.wrapping_key.as_deref().ok_or(KmsError::NoWrappingKey)
    }

    /// What a wrapped secret is bound to, and what a key is tagged with.
    fn context(&self, label: &KeyLabel) -> [(String, String); 4] {
        let entry = |name: &str, value: &str| (format!("usher:{name}"), value.to_owned());
        [
            entry("team", &self.0.settings.team),
            entry("project", share(label)),
            entry("purpose", label.purpose().as_str()),
            entry("key", label.id()),
        ]
    }

    fn tags(&self, label: &KeyLabel) -> Result<Vec<Tag>, KmsError> {
        let tag = |(key, value)| Tag::builder().tag_key(key).tag_value(value).build();
        self.context(label)
            .into_iter()
            .map(tag)
            .collect::<Result<_, _>>()
            .map_err(|_error| KmsError::BadAnswer)
    }

    /// The alias is for people, and taken when a team of this name was here before: then it gets the key's id too.
    async fn name(&self, label: &KeyLabel, key_id: &str, arn: &str) -> Result<(), KmsError> {
        let KmsSettings { alias_prefix, team, .. } = &self.0.settings;
        let alias = format!("alias/{alias_prefix}/{team}/{}", label.id());
        let create = |alias: String| {
            self.call(share(label), move || {
                self.0.client.create_alias().alias_name(alias.as_str()).target_key_id(arn).send()
            })
        };
        match create(alias.clone()).await {
            Err(KmsError::Exists) => create(format!("{alias}-{key_id}")).await,
            done => done,
        }
        .map(drop)
    }
}

/// Why there is no new key.
pub(crate) enum CreateKeyError {
    /// None was made.
    Kms(KmsError),
    /// One was made that is not good for anything.
    Useless { arn: String, source: KmsError },
}

impl From<KmsError> for CreateKeyError {
    fn from(error: KmsError) -> Self {
        Self::Kms(error)
    }
}

/// A new key is not known everywhere in KMS at once.
async fn settled<T, F: Future<Output = Result<T, KmsError>>>(
    operation: impl Fn() -> F,
) -> Result<T, KmsError> {
    let deadline = Instant::now() + SETTLING;
    loop {
        match operation().await {
            Err(KmsError::Missing) if Instant::now() < deadline => sleep(SETTLING_PAUSE).await,
            done => return done,
        }
    }
}

/// How AWS says that it does not know a value.
fn is_unknown(code: &str) -> bool {
    matches!(code, "UnsupportedOperationException" | "ValidationException")
}

/// Who shares the service fairly: each project, and the team's own keys together.
fn share(label: &KeyLabel) -> &str {
    label.id().split('/').next().unwrap_or_default()
}
