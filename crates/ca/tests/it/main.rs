//! Behaviour of the crate through its public API. Needs the default features, and `ssh-keygen` for the module `openssh`.
#![cfg(feature = "issue")]
#![expect(clippy::disallowed_methods, reason = "some tests run other programs, one goes by the real clock")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail like tests"
)]

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
