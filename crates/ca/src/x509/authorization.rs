//! The ports through which somebody else says "yes". In the product the implementors are a grant of the policy crate and
//! the proof of the enrollment crate that a server's own agent asks; embedders bring their own.

use usher_types::{Period, ValidityWindow};

use crate::x509::{ClientIdentity, ServerIdentity, UserPrincipalName};

/// Proof that a person may have one client certificate, and everything that it will say.
///
/// Like [`Authorization`](crate::Authorization): a private constructor where the decision was made, and no `Clone`.
pub trait ClientAuthorization {
    /// Who, and where to.
    fn identity(&self) -> ClientIdentity;

    /// When the certificate is valid; must contain the time of signing.
    fn window(&self) -> ValidityWindow;

    /// The account in a Windows or Kerberos domain that the certificate logs in to, as a smart card does; `None` for a
    /// certificate that only a TLS server looks at.
    fn smart_card(&self) -> Option<UserPrincipalName> {
        None
    }
}

/// Proof that a server may have one certificate for its own listener.
pub trait ServerAuthorization {
    /// Which server.
    fn identity(&self) -> ServerIdentity;

    /// When the certificate is valid; at most [`SERVER_MAX`](crate::x509::SERVER_MAX), and must contain the time of
    /// signing.
    fn period(&self) -> Period;
}
