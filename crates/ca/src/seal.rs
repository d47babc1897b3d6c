//! Second half of issuing: from a signature to a [`Certificate`], after everything has been checked once more.

use std::{fmt, time::Duration};

use data_encoding::BASE64;
use ssh_key::{
    certificate::OptionsMap,
    public::{Ed25519PublicKey, KeyData},
};
use thiserror::Error;
use usher_types::{KeyId, Principal, Sha256, ValidityWindow};

use crate::{
    BadSignature, CaPublicKey, CheckedKey, HostToBeSigned, Serial, SignError, Signature, SubjectKey,
    ToBeSigned,
    prepare::{CERTIFICATE_TYPE, Options, Profile, Unsigned, seconds},
    wire::Writer,
};

/// A signed certificate that says exactly what its authorization allowed. The only way to one is through
/// [`prepare`](crate::prepare).
///
/// ```compile_fail,E0451
/// # use usher_ca::Certificate;
/// let forged = Certificate { blob: Vec::new() };
/// ```
///
/// ```compile_fail,E0382
/// # use usher_ca::{Signature, ToBeSigned};
/// fn twice(prepared: ToBeSigned, signature: Signature) {
///     let first = prepared.seal(signature);
///     let second = prepared.seal(signature);
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    blob: Vec<u8>,
    key_id: KeyId,
    principal: Principal,
    serial: Serial,
    subject: SubjectKey,
    window: ValidityWindow,
}

/// A signed certificate of a host, good for exactly the names that its authorization allowed.
#[derive(Clone, PartialEq, Eq)]
pub struct HostCertificate {
    blob: Vec<u8>,
    serial: Serial,
    subject: SubjectKey,
}

/// Why a signature did not make a certificate.
#[derive(Debug, Error)]
pub enum SealError {
    /// What was encoded does not say what the authorization said.
    #[error("the certificate's {field} is not what was authorized")]
    Field {
        /// Which part.
        field: &'static str,
    },
    /// The signature is not the certificate authority's over these bytes.
    #[error("the signing key returned a wrong signature")]
    Signature(#[source] BadSignature),
    /// The key did not sign.
    #[error("the certificate could not be signed")]
    Sign(#[source] SignError),
    /// What was encoded cannot be read back.
    #[error("the certificate cannot be read back")]
    Unreadable,
    /// The key that was to sign is not the one the certificate names.
    #[error("the certificate was prepared for another signing key")]
    WrongKey,
}

impl ToBeSigned {
    /// Completes the certificate with a signature made elsewhere, which is verified first.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(self, signature: Signature) -> Result<Certificate, SealError> {
        self.unsigned.verify(&signature)?;
        self.complete(&signature)
    }

    /// Signs and completes the certificate with a key of this process. The signature is not verified again:
    /// [`CheckedKey`] has shown once that it signs correctly, and these are the bytes it signs.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_with(self, key: &CheckedKey) -> Result<Certificate, SealError> {
        let signature = self.unsigned.sign(key)?;
        self.complete(&signature)
    }

    fn complete(self, signature: &Signature) -> Result<Certificate, SealError> {
        let Self { unsigned, key_id, principal, window } = self;
        let (blob, Profile { serial, subject, .. }) = unsigned.complete(signature)?;
        Ok(Certificate { blob, key_id, principal, serial, subject, window })
    }
}

impl HostToBeSigned {
    /// Completes the certificate with a signature made elsewhere, which is verified first.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(self, signature: Signature) -> Result<HostCertificate, SealError> {
        self.0.verify(&signature)?;
        self.complete(&signature)
    }

    /// Signs and completes the certificate with a key of this process; see [`ToBeSigned::sign_with`].
    ///
    /// # Errors
    /// [`SealError`].
    pub fn sign_with(self, key: &CheckedKey) -> Result<HostCertificate, SealError> {
        let signature = self.0.sign(key)?;
        self.complete(&signature)
    }

    fn complete(self, signature: &Signature) -> Result<HostCertificate, SealError> {
        let (blob, Profile { serial, subject, .. }) = self.0.complete(signature)?;
        Ok(HostCertificate { blob, serial, subject })
    }
}

impl Unsigned {
    fn verify(&self, signature: &Signature) -> Result<(), SealError> {
        self.authority.verify(&self.bytes, signature).map_err(SealError::Signature)
    }

    fn sign(&self, key: &CheckedKey) -> Result<Signature, SealError> {
        if *key.authority() != self.authority {
            return Err(SealError::WrongKey);
        }
        key.sign_now(&self.bytes).map_err(SealError::Sign)
    }

    fn complete(self, signature: &Signature) -> Result<(Vec<u8>, Profile), SealError> {
        let Self { authority, bytes, profile } = self;
        let mut writer = Writer::append_to(bytes);
        writer.nested(|writer| signature.write(writer));
        let blob = writer.finish();
        check(&blob, &profile, &authority)?;
        Ok((blob, profile))
    }
}

/// Reads the certificate with a decoder that is not ours and compares each field with the authorization's.
fn check(blob: &[u8], profile: &Profile, authority: &CaPublicKey) -> Result<(), SealError> {
    let read = ssh_key::Certificate::from_bytes(blob).map_err(|_error| SealError::Unreadable)?;
    let subject = KeyData::Ed25519(Ed25519PublicKey(*profile.subject.as_bytes()));
    let checks = [
        ("type", read.cert_type().is_user() == profile.is_user()),
        ("nonce", read.nonce() == profile.nonce),
        ("subject key", *read.public_key() == subject),
        ("serial", read.serial() == profile.serial.get()),
        ("key id", read.key_id() == profile.key_id),
        ("principals", !profile.principals.is_empty() && read.valid_principals() == profile.principals),
        ("start of validity", read.valid_after() == seconds(profile.period.valid_after())),
        ("end of validity", read.valid_before() == seconds(profile.period.valid_before())),
        ("critical options", same(read.critical_options(), &profile.critical_options)),
        ("extensions", same(read.extensions(), &profile.extensions)),
        ("signature key", authority.is(read.signature_key())),
    ];
    match checks.into_iter().find(|(_, equal)| !equal) {
        Some((field, _)) => Err(SealError::Field { field }),
        None => Ok(()),
    }
}

fn same(read: &OptionsMap, wanted: &Options) -> bool {
    read.len() == wanted.len()
        && read.iter().zip(wanted).all(|(read, wanted)| *read.0 == *wanted.0 && *read.1 == wanted.1)
}

impl Certificate {
    /// `ssh-ed25519-cert-v01@openssh.com AAAA...`, one line without a comment.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        to_openssh(&self.blob)
    }

    /// The certificate in SSH's binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.blob
    }

    /// SHA-256 of [`Certificate::as_bytes`], for the audit log.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.blob)
    }

    /// What sshd writes to its log.
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// The one principal.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The key that the certificate is for.
    #[must_use]
    pub fn subject(&self) -> &SubjectKey {
        &self.subject
    }

    /// When it is valid.
    #[must_use]
    pub fn window(&self) -> ValidityWindow {
        self.window
    }
}

impl HostCertificate {
    /// The longest life of a host's certificate.
    pub const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// `ssh-ed25519-cert-v01@openssh.com AAAA...`, one line without a comment: what `HostCertificate` of sshd points to.
    #[must_use]
    pub fn to_openssh(&self) -> String {
        to_openssh(&self.blob)
    }

    /// The certificate in SSH's binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.blob
    }

    /// SHA-256 of [`HostCertificate::as_bytes`].
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.blob)
    }

    /// The serial.
    #[must_use]
    pub fn serial(&self) -> Serial {
        self.serial
    }

    /// The key that the certificate is for.
    #[must_use]
    pub fn subject(&self) -> &SubjectKey {
        &self.subject
    }
}

fn to_openssh(blob: &[u8]) -> String {
    let mut text = String::with_capacity(blob.len().saturating_mul(2));
    text.push_str(CERTIFICATE_TYPE);
    text.push(' ');
    BASE64.encode_append(blob, &mut text);
    text
}

impl fmt::Debug for HostCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCertificate").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("serial", &self.serial)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}
