//! Signed statements of how far the log has come, kept where the log's keeper cannot change them.
//!
//! Checkpoints are a chain themselves: each has the next number and names the one before. A key other than the CA's
//! signs them; this module makes the input and checks the signature, signing is the key's keeper's business.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_types::{Sha256, Thumbprint, UnixTime};

use crate::{EncodeError, Head, record};

const DOMAIN: &[u8] = b"usher-audit-checkpoint-v1\0";
const VERSION: u32 = 1;

/// Longest checkpoint that is looked at.
pub const MAX_CHECKPOINT_LENGTH: usize = 1024 * 1024;

/// How far the log has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// 1 for the first.
    pub number: u64,
    /// When it was made.
    pub issued_at: UnixTime,
    /// SHA-256 of the bytes of the checkpoint before; none for the first.
    pub previous: Option<Sha256>,
    /// Heads of all writers with rows since the checkpoint before, sorted by writer.
    pub heads: Vec<Head>,
}

/// Field order is the order in the signed bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    v: u32,
    number: u64,
    issued_at: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Sha256>,
    heads: Vec<Head>,
}

/// Why a checkpoint is refused.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// Not in its exact form, or of a version that this program does not know.
    #[error("the checkpoint is malformed")]
    Form,
    /// Not signed by any of the keys.
    #[error("the checkpoint's signature is wrong")]
    Signature,
}

impl Checkpoint {
    /// The bytes to sign (see [`checkpoint_sign_input`]) and to keep.
    ///
    /// # Errors
    /// [`EncodeError`] when JSON cannot express it.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let wire = Wire {
            v: VERSION,
            number: self.number,
            issued_at: self.issued_at,
            previous: self.previous,
            heads: self.heads.clone(),
        };
        record::to_json(&wire)
    }

    /// Reads exactly what [`Checkpoint::encode`] wrote. Says nothing about who signed it.
    ///
    /// # Errors
    /// [`CheckpointError::Form`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CheckpointError> {
        if bytes.len() > MAX_CHECKPOINT_LENGTH {
            return Err(CheckpointError::Form);
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|_error| CheckpointError::Form)?;
        let Wire { v, number, issued_at, previous, heads } = wire;
        let sorted = heads.is_sorted_by(|a, b| a.writer < b.writer);
        let checkpoint = Self { number, issued_at, previous, heads };
        let exact = checkpoint.encode().is_ok_and(|again| again == bytes);
        if v == VERSION && sorted && exact { Ok(checkpoint) } else { Err(CheckpointError::Form) }
    }
}

/// What the checkpoint key signs: `usher-audit-checkpoint-v1\0` and the checkpoint's bytes.
#[must_use]
pub fn checkpoint_sign_input(bytes: &[u8]) -> Vec<u8> {
    [DOMAIN, bytes].concat()
}

/// The RFC 7638 thumbprint of a checkpoint key (uncompressed SEC1 point): how `checkpoint_key.announce` names it.
#[must_use]
pub fn thumbprint(key: &[u8; 65]) -> Thumbprint {
    let (_form, point) = key.split_at(1);
    let (x, y) = point.split_at(32);
    let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
    Sha256::of(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes())
}

/// A checkpoint's bytes and the signature over [`checkpoint_sign_input`] of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What [`Checkpoint::encode`] made.
    pub bytes: Vec<u8>,
    /// P-256 with SHA-256: r and s, 32 bytes each.
    pub signature: [u8; 64],
}

impl SignedCheckpoint {
    /// The checkpoint, if one of `keys` (uncompressed SEC1 points) signed it.
    ///
    /// # Errors
    /// [`CheckpointError`] when none did, or the bytes are no checkpoint.
    pub fn verify(&self, keys: &[[u8; 65]]) -> Result<Checkpoint, CheckpointError> {
        let signature =
            Signature::from_slice(&self.signature).map_err(|_error| CheckpointError::Signature)?;
        let input = checkpoint_sign_input(&self.bytes);
        let signed = keys
            .iter()
            .filter_map(|key| VerifyingKey::from_sec1_bytes(key).ok())
            .any(|key| key.verify(&input, &signature).is_ok());
        if signed { Checkpoint::decode(&self.bytes) } else { Err(CheckpointError::Signature) }
    }

    /// Names it in the next checkpoint and in `log.start`.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.bytes)
    }
}
