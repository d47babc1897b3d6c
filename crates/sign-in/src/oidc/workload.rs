//! Identity tokens of workloads (GitHub Actions, GitLab CI, Kubernetes): an issuer that nobody signs in at, only its keys
//! count. Whose token is let in is what trusts say; that a token is used once is for the caller to see to.

use std::{fmt, sync::Arc, time::Duration};

use ipnet::IpNet;
use openidconnect::{
    AsyncHttpClient as _, DiscoveryError, HttpRequest, IssuerUrl, JsonWebKeySet, JsonWebKeySetUrl,
    core::CoreJsonWebKeySet,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::Mutex;
use usher_identity::workload::ClaimRules;
use usher_types::{Sha256, UnixTime, UserId};

use super::{AddressRefused, HttpError, TOLERANCE, TokenError, check_url, http::Http, jws::Parts};
use crate::VerifiedLogin;

/// How long what an issuer publishes is believed.
const KEYS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long an issuer is left alone that did not answer, or whose keys were just read.
const PAUSE: Duration = Duration::from_secs(30);
/// A token that is good for longer is not one for a single job.
const LONGEST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_TEXT: usize = 255;

/// Why a workload's token is worth nothing.
#[derive(Debug, Error)]
pub enum WorkloadError {
    /// The issuer's addresses must not be asked.
    #[error("an address of the issuer is refused")]
    Address(#[source] AddressRefused),
    /// No client can be made.
    #[error("the client cannot be made")]
    Client(#[source] reqwest::Error),
    /// What the issuer publishes is not usable.
    #[error("what the issuer publishes is not usable")]
    Document,
    /// The issuer does not answer.
    #[error("the issuer does not answer")]
    Unavailable(#[source] Option<HttpError>),
    /// The token is not good.
    #[error("the workload's token is refused")]
    Token(#[source] TokenError),
}

/// Why a good token fits a trust not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Mismatch {
    /// It was made for somebody else.
    #[error("its claim `aud` is another one, or not the only one")]
    Audience,
    /// A claim is missing, no text, or another one.
    #[error("its claim `{0}` is another one")]
    Claim(String),
}

/// What a trust asks of a token, and whom it makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustTerms {
    /// The service user.
    pub user_id: UserId,
    /// For whom the token must have been made, and for nobody else.
    pub audience: String,
    /// What it has to say.
    pub rules: ClaimRules,
}

/// A token whose issuer, signature and times hold. Only this module makes it.
pub struct WorkloadToken {
    id: Sha256,
    issued_at: UnixTime,
    expires_at: UnixTime,
    claims: Map<String, Value>,
}

impl fmt::Debug for WorkloadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadToken").field("subject", &self.subject()).finish_non_exhaustive()
    }
}

impl WorkloadToken {
    /// Names this very token, whoever shows it: its `jti`, or what was signed. The caller uses it up once.
    #[must_use]
    pub fn id(&self) -> Sha256 {
        self.id
    }

    /// When it is worth nothing any more.
    #[must_use]
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Who the workload is, in the issuer's words.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text("sub").unwrap_or_default()
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// The login of the trust's service user, when the token says all that the trust asks.
    ///
    /// # Errors
    /// [`Mismatch`] for the first thing that does not fit.
    pub fn admit(&self, trust: &TrustTerms) -> Result<VerifiedLogin, Mismatch> {
        let audience = match self.claims.get("aud") {
            Some(Value::Array(list)) => match list.as_slice() {
                [only] => only.as_str(),
                _ => None,
            },
            other => other.and_then(Value::as_str),
        };
        // SECURITY: whoever else a token was made for could bring it here.
        if audience != Some(&trust.audience) {
            return Err(Mismatch::Audience);
        }
        if let Some(claim) = trust.rules.broken_by(|claim| self.text(claim)) {
            return Err(Mismatch::Claim(claim.to_owned()));
        }
        Ok(VerifiedLogin::new(trust.user_id, self.issued_at, Vec::new(), None))
    }
}

/// As much of the discovery document as counts. Issuers of workloads have no authorization endpoint.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: JsonWebKeySetUrl,
}

#[derive(Debug, Default)]
struct Published {
    keys: Option<Arc<CoreJsonWebKeySet>>,
    read_at: Option<UnixTime>,
    failed_at: Option<UnixTime>,
}

/// An issuer of workloads' tokens, and its keys as they were read last.
#[derive(Debug)]
pub struct Issuer {
    issuer: IssuerUrl,
    http: Http,
    published: Mutex<Published>,
}

impl Issuer {
    /// An issuer that nothing was asked yet. `tls` says whom to trust.
    ///
    /// # Errors
    /// [`WorkloadError::Address`], [`WorkloadError::Document`] and [`WorkloadError::Client`].
    pub fn new(
        issuer: &str,
        private_networks: &[IpNet],
        tls: rustls::ClientConfig,
    ) -> Result<Self, WorkloadError> {
        let issuer = IssuerUrl::new(issuer.to_owned()).map_err(|_error| WorkloadError::Document)?;
        if issuer.url().query().is_some() {
            return Err(WorkloadError::Document);
        }
        check_url(issuer.url(), private_networks).map_err(WorkloadError::Address)?;
        let http = Http::new(tls, private_networks.into()).map_err(WorkloadError::Client)?;
        Ok(Self { issuer, http, published: Mutex::default() })
    }

    /// Checks what is the same for every trust: who says so, by which signature, and when.
    ///
    /// # Errors
    /// [`WorkloadError`].
    pub async fn verify(&self, token: &str, now: UnixTime) -> Result<WorkloadToken, WorkloadError> {
        let parts = Parts::of(token).map_err(WorkloadError::Token)?;
        // Before the network is asked: tokens of others cost nothing.
        if parts.text("iss") != Some(self.issuer.as_str()) {
            return Err(WorkloadError::Token(TokenError::Claim("iss")));
        }
        let keys = self.keys_for(&parts, now).await?;
        verify(parts, &self.issuer, &keys, now).map_err(WorkloadError::Token)
    }

    /// The keys; read again after an hour, and now and then for a token of a key that is not among them.
    async fn keys_for(
        &self,
        parts: &Parts<'_>,
        now: UnixTime,
    ) -> Result<Arc<CoreJsonWebKeySet>, WorkloadError> {
        let mut published = self.published.lock().await;
        if let Some(keys) = &published.keys
            && within(published.read_at, KEYS_LIFETIME, now)
            && parts.has_key(keys)
        {
            return Ok(Arc::clone(keys));
        }
        if within(published.failed_at, PAUSE, now) {
            return Err(WorkloadError::Unavailable(None));
        }
        if within(published.read_at, PAUSE, now) {
            return Err(WorkloadError::Token(TokenError::Key));
        }
        match self.read().await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                *published = Published { keys: Some(Arc::clone(&keys)), read_at: Some(now), failed_at: None };
                Ok(keys)
            }
            Err(error) => {
                published.failed_at = Some(now);
                Err(error)
            }
        }
    }

    async fn read(&self) -> Result<CoreJsonWebKeySet, WorkloadError> {
        let address =
            self.issuer.join(".well-known/openid-configuration").map_err(|_error| WorkloadError::Document)?;
        let mut request = HttpRequest::new(Vec::new());
        *request.uri_mut() = address.as_str().parse().map_err(|_error| WorkloadError::Document)?;
        let answer = self.http.call(request).await.map_err(unavailable)?;
        if answer.status().is_server_error() {
            return Err(WorkloadError::Unavailable(None));
        }
        let document: Option<Document> =
            answer.status().is_success().then(|| serde_json::from_slice(answer.body()).ok()).flatten();
        let document = document.filter(|document| document.issuer == self.issuer.as_str());
        let document = document.ok_or(WorkloadError::Document)?;
        JsonWebKeySet::fetch_async(&document.jwks_uri, &self.http).await.map_err(|error| match error {
            DiscoveryError::Request(error) => unavailable(error),
            DiscoveryError::Response(status, ..) if status.is_server_error() => {
                WorkloadError::Unavailable(None)
            }
            _ => WorkloadError::Document,
        })
    }
}

fn unavailable(error: HttpError) -> WorkloadError {
    match error {
        HttpError::Address(refused) => WorkloadError::Address(refused),
        HttpError::Request(_) | HttpError::TooLong => WorkloadError::Unavailable(Some(error)),
    }
}

fn within(since: Option<UnixTime>, lifetime: Duration, now: UnixTime) -> bool {
    since.is_some_and(|since| now < since.saturating_add(lifetime) && since <= now)
}

fn verify(
    parts: Parts<'_>,
    issuer: &IssuerUrl,
    keys: &CoreJsonWebKeySet,
    now: UnixTime,
) -> Result<WorkloadToken, TokenError> {
    parts.verify(keys)?;
    // Not a logout token, not an access token.
    let typ = parts.header.typ.as_deref().map(str::to_ascii_lowercase);
    if !matches!(typ.as_deref(), None | Some("jwt")) {
        return Err(TokenError::Claim("typ"));
    }
    let time = |claim| Ok::<_, TokenError>(parts.seconds(claim)?.map(UnixTime::from_secs));
    let issued_at = time("iat")?.ok_or(TokenError::Claim("iat"))?;
    let ends = time("exp")?.ok_or(TokenError::Claim("exp"))?;
    let begins = time("nbf")?.unwrap_or(issued_at);
    let soon = now.saturating_add(TOLERANCE);
    let expires_at = ends.saturating_add(TOLERANCE);
    let in_time = issued_at <= soon && begins <= soon && now < expires_at;
    if !in_time || ends > issued_at.saturating_add(LONGEST_LIFETIME) {
        return Err(TokenError::Time);
    }
    if !parts.text("sub").is_some_and(|subject| (1..=MAX_TEXT).contains(&subject.len())) {
        return Err(TokenError::Claim("sub"));
    }
    let of_issuer = issuer.as_str().as_bytes();
    let id = match parts.payload.get("jti") {
        Some(jti) => {
            let jti = jti.as_str().filter(|jti| (1..=MAX_TEXT).contains(&jti.len()));
            let jti = jti.ok_or(TokenError::Claim("jti"))?;
            Sha256::of_parts(&[b"usher-workload\0", of_issuer, b"\0", jti.as_bytes()])
        }
        // Not the signature: another good one can be made of it without the key.
        None => Sha256::of_parts(&[b"usher-workload-token\0", of_issuer, b"\0", parts.signed().as_bytes()]),
    };
    Ok(WorkloadToken { id, issued_at: issued_at.min(now), expires_at, claims: parts.payload })
}
