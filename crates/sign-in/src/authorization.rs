//! The authorization request (RFC 6749 section 4.1.1 with PKCE, RFC 7636, and `dpop_jkt`, RFC 9449 section 10) of the
//! one client there is: `usher-cli`, on its own loopback (RFC 8252 section 7.3).

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::{Host, Url};
use usher_types::{DeviceName, HostName, Sha256, Thumbprint};

/// The only client.
pub const CLIENT_ID: &str = "usher-cli";

const MAX_STATE: usize = 256;
/// An Ansible run over a few hundred hosts; goes through the address line of a browser.
const MAX_SERVERS: usize = 500;
const MAX_SERVERS_LENGTH: usize = 6000;
const MAX_REDIRECT_URI: usize = 256;

/// Where the browser goes with the code: `http://127.0.0.1:<port>/<path>` or `http://[::1]:<port>/<path>`, nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectUri(String);

/// Text that is not a redirect URI that the browser may be sent to.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the redirect URI must be http://127.0.0.1:PORT/PATH or http://[::1]:PORT/PATH")]
pub struct RedirectUriError;

impl RedirectUri {
    /// Exactly as the client gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI with these parameters.
    #[must_use]
    pub fn with_parameters(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(format!("{}?", self.0));
        for (name, value) in parameters {
            query.append_pair(name, value);
        }
        // The serializer puts `&` behind what was there.
        query.finish().replacen("?&", "?", 1)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RedirectUri {
    type Err = RedirectUriError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_REDIRECT_URI {
            return Err(RedirectUriError);
        }
        let url = Url::parse(text).map_err(|_error| RedirectUriError)?;
        let loopback = match url.host() {
            Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
            Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
            Some(Host::Domain(_)) | None => false,
        };
        let plain = url.scheme() == "http"
            && url.port().is_some_and(|port| port != 0)
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        // The canonical form only: `http://127.1:80`, `HTTP://`, tabs and backslashes all mean something to some parser.
        if loopback && plain && url.as_str() == text {
            Ok(Self(text.to_owned()))
        } else {
            Err(RedirectUriError)
        }
    }
}

impl TryFrom<String> for RedirectUri {
    type Error = RedirectUriError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RedirectUri> for String {
    fn from(uri: RedirectUri) -> Self {
        uri.0
    }
}

/// The query of `GET /authorize` as it came.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AuthorizationParameters {
    /// Must be `code`.
    #[serde(default)]
    pub response_type: String,
    /// Must be [`CLIENT_ID`].
    #[serde(default)]
    pub client_id: String,
    /// Where to go with the code.
    #[serde(default)]
    pub redirect_uri: String,
    /// SHA-256 of the verifier.
    #[serde(default)]
    pub code_challenge: String,
    /// Must be `S256`.
    #[serde(default)]
    pub code_challenge_method: String,
    /// Comes back with the code.
    #[serde(default)]
    pub state: String,
    /// Thumbprint of the device's key.
    #[serde(default)]
    pub dpop_jkt: String,
    /// What the owner calls the device.
    #[serde(default)]
    pub device_name: String,
    /// Servers that the sign-in is for, commas between their names.
    #[serde(default)]
    pub servers: String,
    /// `login` when an earlier sign-in of the browser must not do.
    #[serde(default)]
    pub prompt: String,
}

/// A request to sign in, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationRequest {
    /// Where to go with the code.
    pub redirect_uri: RedirectUri,
    /// SHA-256 of the verifier.
    pub code_challenge: Sha256,
    /// Comes back with the code.
    pub state: String,
    /// Thumbprint of the device's key.
    pub dpop_jkt: Thumbprint,
    /// What the owner calls the device; shown on the page.
    pub device_name: DeviceName,
    /// Servers, by name, that the sign-in is for; shown on the page. None for a sign-in as such.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub servers: BTreeSet<HostName>,
    /// Whether an earlier sign-in of the browser must not do.
    #[serde(default)]
    pub fresh: bool,
}

/// Why a request to sign in is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AuthorizationRequestError {
    /// Not the client that there is. Must not be answered by a redirect.
    #[error("unknown client")]
    ClientId,
    /// Where the browser must not be sent. Must not be answered by a redirect.
    #[error("bad redirect URI")]
    RedirectUri(#[source] RedirectUriError),
    /// Anything else; goes back to the client (RFC 6749 section 4.1.2.1).
    #[error("bad parameter `{parameter}`")]
    Parameter {
        /// Where to tell it.
        redirect_uri: RedirectUri,
        /// To be given back.
        state: String,
        /// `invalid_request` or `unsupported_response_type`.
        code: &'static str,
        /// Which parameter.
        parameter: &'static str,
    },
}

impl AuthorizationRequest {
    /// Checks what came.
    ///
    /// # Errors
    /// [`AuthorizationRequestError`].
    pub fn parse(parameters: &AuthorizationParameters) -> Result<Self, AuthorizationRequestError> {
        if parameters.client_id != CLIENT_ID {
            return Err(AuthorizationRequestError::ClientId);
        }
        let redirect_uri: RedirectUri =
            parameters.redirect_uri.parse().map_err(AuthorizationRequestError::RedirectUri)?;
        let usable = |c: char| c.is_ascii_graphic();
        let state_good =
            (1..=MAX_STATE).contains(&parameters.state.len()) && parameters.state.chars().all(usable);
        let refuse = |parameter, code| AuthorizationRequestError::Parameter {
            redirect_uri: redirect_uri.clone(),
            state: if state_good { parameters.state.clone() } else { String::new() },
            code,
            parameter,
        };
        if parameters.response_type != "code" {
            return Err(refuse("response_type", "unsupported_response_type"));
        }
        if !state_good {
            return Err(refuse("state", "invalid_request"));
        }
        if parameters.code_challenge_method != "S256" {
            return Err(refuse("code_challenge_method", "invalid_request"));
        }
        let code_challenge = parameters
            .code_challenge
            .parse()
            .map_err(|_error| refuse("code_challenge", "invalid_request"))?;
        let dpop_jkt = parameters.dpop_jkt.parse().map_err(|_error| refuse("dpop_jkt", "invalid_request"))?;
        let device_name =
            parameters.device_name.parse().map_err(|_error| refuse("device_name", "invalid_request"))?;
        let servers =
            parse_servers(&parameters.servers).ok_or_else(|| refuse("servers", "invalid_request"))?;
        let fresh = match parameters.prompt.as_str() {
            "" => false,
            "login" => true,
            _ => return Err(refuse("prompt", "invalid_request")),
        };
        let state = parameters.state.clone();
        Ok(Self { redirect_uri, code_challenge, state, dpop_jkt, device_name, servers, fresh })
    }
}

fn parse_servers(text: &str) -> Option<BTreeSet<HostName>> {
    if text.is_empty() {
        return Some(BTreeSet::new());
    }
    if text.len() > MAX_SERVERS_LENGTH {
        return None;
    }
    let servers: BTreeSet<HostName> = text.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
    (servers.len() <= MAX_SERVERS).then_some(servers)
}
