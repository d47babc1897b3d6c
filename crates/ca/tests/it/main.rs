//! Behaviour of the crate through its public API. Needs the default features, and the programs of
//! OpenSSH, OpenSSL and MIT Kerberos, which the tests name when one is missing.
#![cfg(feature = "issue")]
#![expect(clippy::disallowed_methods, reason = "some tests run other programs, one goes by the real clock")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail like tests"
)]

mod agreement;
mod example;
mod forge;
mod host;
mod implementors;
mod inspect;
mod issue;
mod key;
mod openssh;
mod props;
mod source;
mod spki;
mod verify;
mod x509;
