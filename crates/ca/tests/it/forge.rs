//! Certificates that the crate refuses to make, signed all the same: written byte by byte, after
//! draft-miller-ssh-cert section 2.

use usher_ca::{CaPublicKey, LocalKey as _, PortableEd25519};
use usher_testkit::{NOW, fixture, rng};

use crate::example::subject;

#[derive(Clone)]
pub(crate) struct Forged {
    pub(crate) serial: u64,
    pub(crate) kind: u32,
    pub(crate) key_id: Vec<u8>,
    pub(crate) principals: Vec<Vec<u8>>,
    pub(crate) valid_after: u64,
    pub(crate) valid_before: u64,
    /// Names and encoded values: an outer string's content.
    pub(crate) critical_options: Vec<(&'static str, Vec<u8>)>,
    pub(crate) extensions: Vec<(&'static str, Vec<u8>)>,
    pub(crate) subject: [u8; 32],
    /// Instead of the authority's own.
    pub(crate) signature_key: Option<Vec<u8>>,
}

impl Forged {
    /// Nothing wrong with it yet.
    pub(crate) fn good() -> Self {
        let now = u64::try_from(NOW.as_secs()).unwrap();
        Self {
            serial: 7,
            kind: 1,
            key_id: b"payments:alice@laptop:1".to_vec(),
            principals: vec![format!("alice@{}", fixture::server(1)).into_bytes()],
            valid_after: now - 60,
            valid_before: now + 180,
            critical_options: Vec::new(),
            extensions: vec![("permit-pty", Vec::new())],
            subject: *subject().as_bytes(),
            signature_key: None,
        }
    }

    pub(crate) fn authority() -> CaPublicKey {
        Self::key().public_key()
    }

    fn key() -> PortableEd25519 {
        PortableEd25519::generate(&mut rng(9))
    }

    /// Signed by the seeded key.
    pub(crate) fn to_blob(&self) -> Vec<u8> {
        let mut bytes = self.unsigned(&Self::authority());
        let signature = ed25519_signature(&bytes);
        string(&mut bytes, &signature);
        bytes
    }

    /// Everything before the signature of `authority`.
    pub(crate) fn unsigned(&self, authority: &CaPublicKey) -> Vec<u8> {
        let mut bytes = Vec::new();
        string(&mut bytes, b"ssh-ed25519-cert-v01@openssh.com");
        string(&mut bytes, &[5; 32]);
        string(&mut bytes, &self.subject);
        bytes.extend_from_slice(&self.serial.to_be_bytes());
        bytes.extend_from_slice(&self.kind.to_be_bytes());
        string(&mut bytes, &self.key_id);
        let mut principals = Vec::new();
        for principal in &self.principals {
            string(&mut principals, principal);
        }
        string(&mut bytes, &principals);
        bytes.extend_from_slice(&self.valid_after.to_be_bytes());
        bytes.extend_from_slice(&self.valid_before.to_be_bytes());
        for options in [&self.critical_options, &self.extensions] {
            let mut encoded = Vec::new();
            for (name, value) in options {
                string(&mut encoded, name.as_bytes());
                string(&mut encoded, value);
            }
            string(&mut bytes, &encoded);
        }
        string(&mut bytes, b"");
        let own = blob_of(authority);
        string(&mut bytes, self.signature_key.as_ref().unwrap_or(&own));
        bytes
    }

    pub(crate) fn to_text(&self) -> String {
        text_of(&self.to_blob())
    }
}

/// The value of an option that has one: a string inside the outer string.
pub(crate) fn value(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    string(&mut bytes, text.as_bytes());
    bytes
}

pub(crate) fn text_of(blob: &[u8]) -> String {
    format!("ssh-ed25519-cert-v01@openssh.com {}", data_encoding::BASE64.encode(blob))
}

fn blob_of(key: &CaPublicKey) -> Vec<u8> {
    let line = key.to_openssh();
    data_encoding::BASE64.decode(line.split(' ').nth(1).unwrap().as_bytes()).unwrap()
}

fn ed25519_signature(message: &[u8]) -> Vec<u8> {
    use ed25519_dalek::Signer as _;
    let mut seed = [0; 32];
    rand_core::Rng::fill_bytes(&mut rng(9), &mut seed);
    let signature = ed25519_dalek::SigningKey::from_bytes(&seed).sign(message);
    let mut bytes = Vec::new();
    string(&mut bytes, b"ssh-ed25519");
    string(&mut bytes, &signature.to_bytes());
    bytes
}

pub(crate) fn string(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    into.extend_from_slice(bytes);
}
