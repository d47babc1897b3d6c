//! Verifies `session-bind@openssh.com`: that the host on the other side really holds the key it is said to hold, in this
//! very session. Every host key type of stock OpenSSH is verified (Ed25519, ECDSA, RSA with SHA-2); DSA, SHA-1 and
//! security-key types are refused.

use aws_lc_rs::signature::{self, VerificationAlgorithm};
use ssh_encoding::{Decode as _, Reader as _};
use thiserror::Error;

use super::protocol::SessionBind;

/// A socket connection's session, proved by the host's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundSession {
    host_key: Vec<u8>,
    host_blob: Vec<u8>,
    session_id: Vec<u8>,
}

/// Why a session is not bound.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BindError {
    /// The agent is never forwarded.
    #[error("the agent is being forwarded, which Usher never allows")]
    Forwarding,
    /// The host key cannot be read.
    #[error("malformed host key")]
    HostKey,
    /// The host's signature over the session id is wrong.
    #[error("the host's signature does not match")]
    Signature,
    /// A key or signature type that Usher does not verify.
    #[error("unsupported host key type")]
    Unsupported,
}

impl BoundSession {
    /// Verifies the binding.
    ///
    /// # Errors
    /// [`BindError`] unless the host key signed the session id.
    pub fn verify(bind: &SessionBind) -> Result<Self, BindError> {
        if bind.is_forwarding {
            return Err(BindError::Forwarding);
        }
        if bind.session_id.is_empty() {
            return Err(BindError::Signature);
        }
        let host_key = plain_key(&bind.host_key)?;
        verify(&host_key, &bind.session_id, &bind.signature)?;
        Ok(Self { host_key, host_blob: bind.host_key.clone(), session_id: bind.session_id.clone() })
    }

    /// The host's key in SSH encoding; of a host certificate, the key inside it.
    #[must_use]
    pub fn host_key(&self) -> &[u8] {
        &self.host_key
    }

    /// Exactly what the host showed, key or certificate.
    #[must_use]
    pub fn host_blob(&self) -> &[u8] {
        &self.host_blob
    }

    /// The session id that was signed.
    #[must_use]
    pub fn session_id(&self) -> &[u8] {
        &self.session_id
    }
}

/// The key itself, when the host showed a certificate.
fn plain_key(blob: &[u8]) -> Result<Vec<u8>, BindError> {
    let algorithm = String::decode(&mut &*blob).map_err(|_error| BindError::HostKey)?;
    if !algorithm.ends_with("-cert-v01@openssh.com") {
        return Ok(blob.to_vec());
    }
    let certificate = ssh_key::Certificate::from_bytes(blob).map_err(|_error| BindError::HostKey)?;
    let key = ssh_key::PublicKey::new(certificate.public_key().clone(), "");
    key.to_bytes().map_err(|_error| BindError::HostKey)
}

/// Verifies an SSH signature (RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709) by a plain host key.
fn verify(key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), BindError> {
    let (algorithm, raw) = parse_signature(signature).map_err(|_error| BindError::Signature)?;
    let reader = &mut &*key;
    let kind = String::decode(reader).map_err(|_error| BindError::HostKey)?;
    match (kind.as_str(), algorithm.as_str()) {
        ("ssh-ed25519", "ssh-ed25519") => {
            let point = last_string(reader)?;
            check(&signature::ED25519, &point, message, &raw)
        }
        ("ssh-rsa", "rsa-sha2-256") => {
            check(&signature::RSA_PKCS1_2048_8192_SHA256, &rsa_public_key(reader)?, message, &raw)
        }
        ("ssh-rsa", "rsa-sha2-512") => {
            check(&signature::RSA_PKCS1_2048_8192_SHA512, &rsa_public_key(reader)?, message, &raw)
        }
        (kind, algorithm) if kind == algorithm => {
            let (verifier, width): (&dyn VerificationAlgorithm, usize) = match kind {
                "ecdsa-sha2-nistp256" => (&signature::ECDSA_P256_SHA256_FIXED, 32),
                "ecdsa-sha2-nistp384" => (&signature::ECDSA_P384_SHA384_FIXED, 48),
                "ecdsa-sha2-nistp521" => (&signature::ECDSA_P521_SHA512_FIXED, 66),
                _ => return Err(BindError::Unsupported),
            };
            let curve = String::decode(reader).map_err(|_error| BindError::HostKey)?;
            if kind.strip_prefix("ecdsa-sha2-") != Some(curve.as_str()) {
                return Err(BindError::HostKey);
            }
            let point = last_string(reader)?;
            check(verifier, &point, message, &fixed_width(&raw, width)?)
        }
        _ => Err(BindError::Unsupported),
    }
}

fn check(
    verifier: &dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    raw: &[u8],
) -> Result<(), BindError> {
    verifier.verify_sig(key, message, raw).map_err(|_error| BindError::Signature)
}

fn parse_signature(mut signature: &[u8]) -> ssh_encoding::Result<(String, Vec<u8>)> {
    let reader = &mut signature;
    let algorithm = String::decode(reader)?;
    let raw = Vec::decode(reader)?;
    reader.ensure_finished()?;
    Ok((algorithm, raw))
}

fn last_string(reader: &mut &[u8]) -> Result<Vec<u8>, BindError> {
    let bytes = Vec::decode(reader).map_err(|_error| BindError::HostKey)?;
    reader.ensure_finished().map_err(|_error| BindError::HostKey)?;
    Ok(bytes)
}

/// Two `mpint`s as two fields of the curve's width.
fn fixed_width(mut raw: &[u8], width: usize) -> Result<Vec<u8>, BindError> {
    let reader = &mut raw;
    let mut fixed = Vec::with_capacity(width * 2);
    for _ in 0..2 {
        let number: Vec<u8> = Vec::decode(reader).map_err(|_error| BindError::Signature)?;
        let digits: Vec<u8> = number.into_iter().skip_while(|byte| *byte == 0).collect();
        let padding = width.checked_sub(digits.len()).ok_or(BindError::Signature)?;
        fixed.extend(std::iter::repeat_n(0, padding));
        fixed.extend(digits);
    }
    reader.ensure_finished().map_err(|_error| BindError::Signature)?;
    Ok(fixed)
}

/// RFC 8017 `RSAPublicKey` from the two `mpint`s of an SSH key: the numbers have the same form in DER.
fn rsa_public_key(reader: &mut &[u8]) -> Result<Vec<u8>, BindError> {
    let exponent: Vec<u8> = Vec::decode(reader).map_err(|_error| BindError::HostKey)?;
    let modulus = last_string(reader)?;
    let mut body = der(0x02, &modulus)?;
    body.extend(der(0x02, &exponent)?);
    der(0x30, &body)
}

fn der(tag: u8, content: &[u8]) -> Result<Vec<u8>, BindError> {
    let length = u16::try_from(content.len()).map_err(|_error| BindError::HostKey)?;
    let [high, low] = length.to_be_bytes();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(low),
        0x80..=0xff => out.extend([0x81, low]),
        _ => out.extend([0x82, high, low]),
    }
    out.extend_from_slice(content);
    Ok(out)
}
