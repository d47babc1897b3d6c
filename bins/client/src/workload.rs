//! Signing in without a person: a job of a CI system, or a service, exchanges what it has (an API key, or an identity token
//! of its platform) for a short session of a service user. The credential goes to the broker and nowhere else; the session
//! and its key are in the background process, like everybody's.
//!
//! Each credential has a background process of its own: a job never gets the session of a person, or of another job, who
//! works under the same account.

use usher_api::v1::{ExchangeGrantType, SubjectTokenType, TokenExchange};
use usher_telemetry::Chain;
use usher_types::{DeviceName, Secret, SecretToken, Sha256, TeamSlug, TokenKind, UserName};

use crate::{
    cli::Context,
    clock,
    exit::{Exit, Failure},
    files, login,
    ssh_agent::{
        control::{Answer, Request, SignedIn, unexpected},
        process,
    },
};

/// A session that ends sooner than this is not begun anything with.
const LEFT: std::time::Duration = std::time::Duration::from_secs(30);
const LOCK: &str = "exchange.lock";

/// What a program signs in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// An API key, which names its service user.
    ApiKey(Secret<String>),
    /// A job of GitHub Actions that may ask for identity tokens.
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        request_token: Secret<String>,
        /// As whom.
        service_user: UserName,
    },
    /// An identity token that is there already: of GitLab CI, Kubernetes, or anybody.
    Token {
        /// The token.
        token: Secret<String>,
        /// As whom.
        service_user: UserName,
    },
}

impl Credential {
    /// Tells one credential from another, without saying anything of it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = match self {
            Self::ApiKey(key) => Sha256::of_parts(&[b"api-key\0", key.expose().as_bytes()]),
            Self::GitHub { url, request_token, service_user } => Sha256::of_parts(&[
                b"github\0",
                url.as_bytes(),
                b"\0",
                service_user.as_str().as_bytes(),
                b"\0",
                request_token.expose().as_bytes(),
            ]),
            Self::Token { token, service_user } => Sha256::of_parts(&[
                b"token\0",
                service_user.as_str().as_bytes(),
                b"\0",
                token.expose().as_bytes(),
            ]),
        };
        digest.to_string().chars().take(12).collect()
    }

    fn exchange(&self, context: &Context, team: &TeamSlug) -> Result<TokenExchange, Failure> {
        let (subject_token_type, subject_token, service_user) = match self {
            Self::ApiKey(key) => {
                // Here, so that half a key is not sent anywhere.
                let key = SecretToken::parse(TokenKind::ApiKey, key.expose())
                    .map_err(|error| Failure::usage(format!("the API key cannot be used: {error}")))?;
                (SubjectTokenType::ApiKey, key.reveal().to_string(), None)
            }
            Self::GitHub { url, request_token, service_user } => {
                let (_, settings) = context.config.team(Some(team.as_str()))?;
                let audience = settings.url.origin().ascii_serialization();
                let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let tokio = tokio.map_err(|error| Failure::io("cannot start", &error))?;
                let token = tokio
                    .block_on(usher_api_client::github_token(url, request_token, &audience, clock::now))
                    .map_err(|error| Failure::new(Exit::Network, Chain(&error).to_string()))?;
                (SubjectTokenType::Jwt, token.expose().clone(), Some(service_user.clone()))
            }
            Self::Token { token, service_user } => {
                (SubjectTokenType::Jwt, token.expose().trim().to_owned(), Some(service_user.clone()))
            }
        };
        Ok(TokenExchange {
            grant_type: ExchangeGrantType::TokenExchange,
            subject_token_type,
            subject_token,
            service_user,
            device_name: device_name()?,
            session_seconds: None,
        })
    }
}

fn device_name() -> Result<DeviceName, Failure> {
    login::host_name().parse().map_err(|error| Failure::usage(format!("{error}")))
}

/// The session of a program, begun now when there is none that is good for a while; `None` when there is nothing to sign in
/// with.
///
/// # Errors
/// When the broker does not take it.
pub fn session(context: &Context, team: &TeamSlug) -> Result<Option<SignedIn>, Failure> {
    let Some(credential) = &context.environment.credential else { return Ok(None) };
    let runtime = &context.environment.runtime;
    let current = || {
        let found = crate::ssh::session(runtime, team)?;
        let good = |found: &SignedIn| clock::now().saturating_add(LEFT) < found.session.expires_at;
        Ok::<_, Failure>(found.filter(good))
    };
    if let Some(found) = current()? {
        return Ok(Some(found));
    }
    let mut agent = process::ensure(&context.environment)?;
    // Of many commands at once one signs in.
    let _turn = files::lock(&runtime.join(LOCK))?;
    if let Some(found) = current()? {
        return Ok(Some(found));
    }
    let exchange = credential.exchange(context, team)?;
    match agent.ask(&Request::Exchange { team: team.clone(), exchange }) {
        Ok(Answer::SignedIn(signed_in)) => Ok(Some(*signed_in)),
        Ok(_) => Err(unexpected()),
        Err(failure) => Err(failure.context("the broker did not accept what this program signs in with")),
    }
}
