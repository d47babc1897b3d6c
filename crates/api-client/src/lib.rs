//! Typed client of the Usher broker: proofs of possession, pinning, retries.
//!
//! A [`Client`] proves on every request that it holds its key (DPoP, RFC 9449), believes only a broker with the pinned
//! root (or, without a pin, with a certificate of a root that the platform trusts), and repeats a request whose answer
//! was lost under the same name, so that the broker does nothing twice. It keeps nothing on disk and reads no
//! environment.
//!
//! ```
//! use usher_api_client::{BrokerAddress, Client, ClientConfig};
//! use usher_identity::PrivateKey;
//! use usher_types::UnixTime;
//!
//! fn now() -> UnixTime {
//!     UnixTime::from_secs(1_800_000_000) // A program reads its clock here.
//! }
//!
//! let address: BrokerAddress =
//!     "https://broker.example:8443#47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU".parse()?;
//! let key = PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng));
//! let client = Client::new(ClientConfig::new(address.url, key, now).with_pins(address.pin))?;
//! // client.me().await?
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod client;
mod config;
mod endpoints;
mod error;
mod github;
mod tls;

pub use client::Client;
pub use config::{AddressError, BrokerAddress, ClientConfig};
pub use error::{CallError, ClientError};
pub use github::{GitHubError, github_token};
pub use http::Method;
