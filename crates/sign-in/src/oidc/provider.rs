//! One provider: what it publishes, the way to it and back.

use std::{fmt, sync::Arc, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use ipnet::IpNet;
use openidconnect::{
    AdditionalProviderMetadata, AuthType, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode,
    ClientId, ClientSecret, CsrfToken, DiscoveryError, IssuerUrl, JsonWebKeySet, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, ProviderMetadata, RedirectUrl,
    RequestTokenError, Scope,
    core::{
        CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClient, CoreClientAuthMethod, CoreGrantType,
        CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm,
        CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType,
    },
};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use tokio::sync::Mutex;
use url::Url;
use usher_types::UnixTime;
use zeroize::Zeroizing;

use super::{
    AddressRefused, HttpError, LogoutToken, ProviderIdentity, TokenError, address::check_page, check_url,
    http::Http, id_token, jws::Parts, logout,
};

/// How long what a provider publishes is believed.
const METADATA_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// How long a provider is left alone that did not answer, or whose keys were just read.
const PAUSE: Duration = Duration::from_secs(30);

/// What a provider publishes beside what the library knows.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct More {
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// Which claim is the external id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalIdFrom {
    /// Entra's, the same for every client.
    Oid,
    /// OpenID Connect's own.
    Sub,
}

/// What the broker knows about a provider.
#[derive(Clone)]
pub struct ProviderSettings {
    /// Its issuer identifier.
    pub issuer: String,
    /// The broker's name there.
    pub client_id: String,
    /// The broker's secret there; none for a public client.
    pub client_secret: Option<Zeroizing<String>>,
    /// Where the browser comes back to.
    pub redirect_uri: String,
    /// To ask for beside `openid`.
    pub scopes: Vec<String>,
    /// Authentication contexts to ask for.
    pub acr_values: Vec<String>,
    /// Which claim is the external id.
    pub external_id: ExternalIdFrom,
    /// Which claim lists groups.
    pub groups_claim: Option<String>,
    /// Private networks in which the provider may be.
    pub private_networks: Vec<IpNet>,
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why nobody signed in.
#[derive(Debug, Error)]
pub enum ProviderError {
    /// What the connector says about the provider is not usable.
    #[error("the connector's issuer or redirect address is no good address")]
    Settings,
    /// No client can be made.
    #[error("the client cannot be made")]
    Client(#[source] reqwest::Error),
    /// The provider's addresses must not be asked.
    #[error("an address of the provider is refused")]
    Address(#[source] AddressRefused),
    /// The provider said so.
    #[error("the provider refused")]
    Denied {
        /// Its code.
        error: String,
        /// Its words.
        description: Option<String>,
    },
    /// The answer is another provider's, or says nobody's (RFC 9207).
    #[error("the answer comes from another issuer")]
    Issuer,
    /// What the provider publishes is not usable.
    #[error("what the provider publishes is not usable")]
    Metadata(#[source] Box<DiscoveryError<HttpError>>),
    /// The browser brought another state than it was given.
    #[error("the answer belongs to another sign-in")]
    State,
    /// The token is worth nothing.
    #[error("the provider's token is refused")]
    Token(#[source] TokenError),
    /// The code is worth nothing at the provider.
    #[error("the provider does not take the code: {0}")]
    Code(String),
    /// The provider does not answer.
    #[error("the provider does not answer")]
    Unavailable(#[source] Option<HttpError>),
}

/// What the browser has to keep until it is back; secret, so the caller seals it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    state: String,
    nonce: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending([secret])")
    }
}

impl Pending {
    /// The state that the provider gives back.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }
}

/// A sign-in on its way.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser.
    pub url: Url,
    /// What it has to keep.
    pub pending: Pending,
}

impl Begun {
    /// Asks for a new proof of who somebody is, though the provider may know the browser (OpenID Connect Core 1.0 section
    /// 3.1.2.1). One that does not listen is found out: its token says when the proof was given.
    pub fn ask_again(&mut self) {
        self.url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
    }
}

/// What the browser brings back from the provider.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Callback {
    /// The code.
    pub code: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// Who says so (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// The same for people.
    pub error_description: Option<String>,
}

#[derive(Debug, Default)]
struct Published {
    metadata: Option<Arc<Metadata>>,
    read_at: Option<UnixTime>,
    keys_read_at: Option<UnixTime>,
    failed_at: Option<UnixTime>,
}

/// A provider and what it published.
#[derive(Debug)]
pub struct Provider {
    settings: ProviderSettings,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    http: Http,
    published: Mutex<Published>,
}

impl Provider {
    /// A provider that nothing was asked yet. `tls` says whom to trust.
    ///
    /// # Errors
    /// [`ProviderError::Settings`], [`ProviderError::Address`] and [`ProviderError::Client`].
    pub fn new(settings: ProviderSettings, tls: rustls::ClientConfig) -> Result<Self, ProviderError> {
        let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(|_error| ProviderError::Settings)?;
        if issuer.url().query().is_some() {
            return Err(ProviderError::Settings);
        }
        check_url(issuer.url(), &settings.private_networks).map_err(ProviderError::Address)?;
        let redirect =
            RedirectUrl::new(settings.redirect_uri.clone()).map_err(|_error| ProviderError::Settings)?;
        let http = Http::new(tls, settings.private_networks.clone().into()).map_err(ProviderError::Client)?;
        Ok(Self { settings, issuer, redirect, http, published: Mutex::default() })
    }

    /// Begins a sign-in with 96 random bytes.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider does not answer.
    pub async fn begin(&self, random: &[u8; 96], now: UnixTime) -> Result<Begun, ProviderError> {
        let metadata = self.metadata(now).await?;
        let (state, rest) = random.split_at(32);
        let (nonce, verifier) = rest.split_at(32);
        let pending = Pending {
            state: BASE64URL_NOPAD.encode(state),
            nonce: BASE64URL_NOPAD.encode(nonce).into(),
            verifier: BASE64URL_NOPAD.encode(verifier).into(),
        };
        let challenge = PkceCodeVerifier::new(pending.verifier.to_string());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&challenge);
        let (given_state, given_nonce) = (pending.state.clone(), pending.nonce.to_string());
        let client_id = ClientId::new(self.settings.client_id.clone());
        let client = CoreClient::from_provider_metadata(Metadata::clone(&metadata), client_id, None)
            .set_redirect_uri(self.redirect.clone());
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || CsrfToken::new(given_state),
                move || Nonce::new(given_nonce),
            )
            .set_pkce_challenge(challenge);
        for scope in &self.settings.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        for acr in &self.settings.acr_values {
            request = request.add_auth_context_value(AuthenticationContextClass::new(acr.clone()));
        }
        // Providers that know the parameter put these into the token; the others leave it alone.
        request = request.add_extra_param(
            "claims",
            r#"{"id_token":{"acr":null,"amr":null,"auth_time":{"essential":true},"sid":null}}"#,
        );
        let (url, _state, _nonce) = request.url();
        check_page(&url).map_err(ProviderError::Address)?;
        Ok(Begun { url, pending })
    }

    /// Ends a sign-in: the code becomes tokens, the ID token becomes an identity. The caller has used up the state.
    ///
    /// # Errors
    /// [`ProviderError`] for the first check that fails.
    pub async fn finish(
        &self,
        callback: &Callback,
        pending: &Pending,
        now: UnixTime,
    ) -> Result<ProviderIdentity, ProviderError> {
        let state = callback.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(pending.state.as_bytes())) {
            return Err(ProviderError::State);
        }
        let metadata = self.metadata(now).await?;
        match &callback.iss {
            Some(issuer) if *issuer == self.settings.issuer => {}
            None if !metadata.additional_metadata().authorization_response_iss_parameter_supported => {}
            Some(_) | None => return Err(ProviderError::Issuer),
        }
        let code = match (&callback.error, &callback.code) {
            (None, Some(code)) => code,
            (Some(error), _) => {
                let (error, description) = (error.clone(), callback.error_description.clone());
                return Err(ProviderError::Denied { error, description });
            }
            (None, None) => return Err(ProviderError::Code("there is none".to_owned())),
        };
        let (id_token, access_token) = self.exchange(&metadata, code, pending).await?;
        let parts = Parts::of(&id_token).map_err(ProviderError::Token)?;
        let keys = self.keys_for(&parts, &metadata, now).await?;
        id_token::verify(&id_token, &access_token, &pending.nonce, &self.settings, &self.issuer, &keys, now)
            .map_err(ProviderError::Token)
    }

    /// Verifies a logout token.
    ///
    /// # Errors
    /// [`ProviderError`] for the first check that fails.
    pub async fn logout_token(&self, token: &str, now: UnixTime) -> Result<LogoutToken, ProviderError> {
        let parts = Parts::of(token).map_err(ProviderError::Token)?;
        let metadata = self.metadata(now).await?;
        let keys = self.keys_for(&parts, &metadata, now).await?;
        logout::verify(&parts, &self.settings, &keys, now).map_err(ProviderError::Token)
    }

    async fn exchange(
        &self,
        metadata: &Metadata,
        code: &str,
        pending: &Pending,
    ) -> Result<(String, openidconnect::AccessToken), ProviderError> {
        let secret = self.settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.to_string()));
        let client_id = ClientId::new(self.settings.client_id.clone());
        let mut client = CoreClient::from_provider_metadata(metadata.clone(), client_id, secret)
            .set_redirect_uri(self.redirect.clone());
        let methods = metadata.token_endpoint_auth_methods_supported();
        let only_post = methods.is_some_and(|methods| {
            !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
                && methods.contains(&CoreClientAuthMethod::ClientSecretPost)
        });
        if only_post {
            client = client.set_auth_type(AuthType::RequestBody);
        }
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_error| ProviderError::Settings)?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.to_string()));
        let answer = request.request_async(&self.http).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(response) => {
                ProviderError::Code(response.error().to_string().chars().take(64).collect())
            }
            RequestTokenError::Request(error) => ProviderError::Unavailable(Some(error)),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                ProviderError::Code("the answer is not one".to_owned())
            }
        })?;
        let id_token = answer.extra_fields().id_token();
        let id_token = id_token.ok_or(ProviderError::Token(TokenError::Shape))?.to_string();
        Ok((id_token, answer.access_token().clone()))
    }

    /// What the provider publishes; read again after an hour. One reads, the others wait for it.
    async fn metadata(&self, now: UnixTime) -> Result<Arc<Metadata>, ProviderError> {
        let mut published = self.published.lock().await;
        if let Some(metadata) = &published.metadata
            && within(published.read_at, METADATA_LIFETIME, now)
        {
            return Ok(Arc::clone(metadata));
        }
        if within(published.failed_at, PAUSE, now) {
            return Err(ProviderError::Unavailable(None));
        }
        match Metadata::discover_async(self.issuer.clone(), &self.http).await {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                *published = Published {
                    metadata: Some(Arc::clone(&metadata)),
                    read_at: Some(now),
                    keys_read_at: None,
                    failed_at: None,
                };
                Ok(metadata)
            }
            Err(DiscoveryError::Request(HttpError::Address(refused))) => Err(ProviderError::Address(refused)),
            Err(error) => {
                published.failed_at = Some(now);
                Err(unavailable(error))
            }
        }
    }

    /// The provider's keys. A token of a key that is not among them has them read again, now and then.
    async fn keys_for(
        &self,
        parts: &Parts<'_>,
        metadata: &Metadata,
        now: UnixTime,
    ) -> Result<CoreJsonWebKeySet, ProviderError> {
        if parts.has_key(metadata.jwks()) {
            return Ok(metadata.jwks().clone());
        }
        let mut published = self.published.lock().await;
        // Another request may have read them meanwhile.
        let current = published.metadata.as_ref().map(|metadata| metadata.jwks().clone());
        if let Some(keys) = current.filter(|keys| parts.has_key(keys)) {
            return Ok(keys);
        }
        if within(published.keys_read_at, PAUSE, now) {
            return Err(ProviderError::Token(TokenError::Key));
        }
        published.keys_read_at = Some(now);
        let keys = JsonWebKeySet::fetch_async(metadata.jwks_uri(), &self.http).await.map_err(unavailable)?;
        let renewed = metadata.clone().set_jwks(keys.clone());
        published.metadata = Some(Arc::new(renewed));
        Ok(keys)
    }
}

fn within(since: Option<UnixTime>, lifetime: Duration, now: UnixTime) -> bool {
    since.is_some_and(|since| now < since.saturating_add(lifetime) && since <= now)
}

fn unavailable(error: DiscoveryError<HttpError>) -> ProviderError {
    match error {
        DiscoveryError::Request(error) => ProviderError::Unavailable(Some(error)),
        DiscoveryError::Response(status, ..) if status.is_server_error() => ProviderError::Unavailable(None),
        other => ProviderError::Metadata(Box::new(other)),
    }
}
