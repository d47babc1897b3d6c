//! Where the broker is, how it is recognised, and as whom it is called.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use thiserror::Error;
use url::Url;
use usher_identity::PrivateKey;
use usher_types::{SecretToken, Sha256, UnixTime};

/// What people paste: `https://broker.example:8443#<pin>`, the pin being optional.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddress {
    /// Scheme, host and port.
    pub url: Url,
    /// SHA-256 of the public key (SPKI) of the team's TLS root.
    pub pin: Option<Sha256>,
}

/// Why a text is no broker address.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AddressError {
    /// Not a URL with a host.
    #[error("expected a url such as `https://broker.example:8443`")]
    Form,
    /// A path, a query or a user name.
    #[error("a broker's url has neither path nor query nor user name")]
    Parts,
    /// The part behind `#` is not a pin.
    #[error("the part behind `#` must be the broker's pin, 43 characters of base64url")]
    Pin,
    /// Not HTTPS.
    #[error("a broker's url begins with `https://`")]
    Scheme,
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url: Url = text.trim().parse().map_err(|_error| AddressError::Form)?;
        let pin = url.fragment().map(str::parse).transpose().map_err(|_error| AddressError::Pin)?;
        url.set_fragment(None);
        check(&url)?;
        Ok(Self { url, pin })
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base(&self.url))?;
        match &self.pin {
            Some(pin) => write!(f, "#{pin}"),
            None => Ok(()),
        }
    }
}

/// `https`, a host, and nothing behind the port.
pub(crate) fn check(url: &Url) -> Result<(), AddressError> {
    if url.scheme() != "https" {
        return Err(AddressError::Scheme);
    }
    if !url.has_host() {
        return Err(AddressError::Form);
    }
    let plain = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if plain { Ok(()) } else { Err(AddressError::Parts) }
}

/// `https://host:port`, without the port when it is 443, as in the proof's `htu`.
pub(crate) fn base(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Everything that a [`Client`](crate::Client) needs. Start from [`ClientConfig::new`].
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// The broker: `https://host:port`.
    pub url: Url,
    /// SHA-256 of the SPKI of each of the team's TLS roots, any of which may be presented; without any, only the
    /// platform's trusted roots count.
    pub pins: Vec<Sha256>,
    /// The key of this device or agent.
    pub key: Arc<PrivateKey>,
    /// The session, once there is one. Agents have none.
    pub token: Option<SecretToken>,
    /// How long a call may take, all retries included. A long poll may take its waiting time more.
    pub timeout: Duration,
    /// The program's clock.
    pub clock: fn() -> UnixTime,
}

impl ClientConfig {
    /// A configuration without pin and session, and with a time-out of ten seconds.
    #[must_use]
    pub fn new(url: Url, key: impl Into<Arc<PrivateKey>>, clock: fn() -> UnixTime) -> Self {
        Self { url, pins: Vec::new(), key: key.into(), token: None, timeout: Duration::from_secs(10), clock }
    }

    /// Sets the pins; one may be all there is.
    #[must_use]
    pub fn with_pins(mut self, pins: impl IntoIterator<Item = Sha256>) -> Self {
        self.pins = pins.into_iter().collect();
        self
    }

    /// Sets the session token.
    #[must_use]
    pub fn with_token(mut self, token: Option<SecretToken>) -> Self {
        self.token = token;
        self
    }

    /// Sets the time-out.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}
