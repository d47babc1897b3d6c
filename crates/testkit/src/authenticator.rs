//! An authenticator in software for tests: registers a passkey and answers as a browser would, and can be made to lie about
//! anything. No user is asked; nothing is kept but in memory.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "for tests only: options that cannot be read are a failed test"
)]

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{DerSignature, SigningKey, signature::Signer as _};
use rand_core::CryptoRng;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const ATTESTED: u8 = 0x40;

/// One key at one site.
#[derive(Clone, Debug)]
pub struct Authenticator {
    key: SigningKey,
    credential_id: Vec<u8>,
    /// The page's origin.
    pub origin: String,
    /// The site's host name.
    pub rp_id: String,
    /// Whom the site said it is for.
    pub user_handle: Vec<u8>,
    /// How often it has signed; stays 0 when it does not count.
    pub counter: u32,
    /// Whether it counts.
    pub counts: bool,
    /// Whether it asks for a PIN or finger.
    pub verifies: bool,
}

impl Authenticator {
    /// A key for the page at `origin`, which gave these options; and the answer to them.
    #[must_use]
    pub fn register(origin: &str, options: &Value, rng: &mut impl CryptoRng) -> (Self, String) {
        let options = &options["publicKey"];
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let mut credential_id = vec![0; 16];
        rng.fill_bytes(&mut credential_id);
        let made = Self {
            key: SigningKey::from_slice(&secret).expect("a scalar"),
            credential_id,
            origin: origin.to_owned(),
            rp_id: text(&options["rp"]["id"]),
            user_handle: decoded(&options["user"]["id"]),
            counter: 0,
            counts: true,
            verifies: true,
        };
        let answer = made.registration(options);
        (made, answer)
    }

    /// The answer to a registration's options, once more.
    fn registration(&self, options: &Value) -> String {
        let point = self.key.verifying_key().to_sec1_point(false);
        let mut data = self.data(ATTESTED);
        data.extend([0; 16]);
        data.extend([0, 16]);
        data.extend(&self.credential_id);
        // COSE: EC2, ES256, P-256.
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(point.x().expect("a point"));
        data.extend([0x22, 0x58, 0x20]);
        data.extend(point.y().expect("a point"));
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).expect("short"));
        object.extend(data);
        let client_data = self.client_data("webauthn.create", &options["challenge"]);
        self.answer(&json!({
            "attestationObject": BASE64URL_NOPAD.encode(&object),
            "clientDataJSON": BASE64URL_NOPAD.encode(client_data.as_bytes()),
        }))
    }

    /// The answer to a sign-in's options.
    #[must_use]
    pub fn sign_in(&mut self, options: &Value) -> String {
        let options = &options["publicKey"];
        if self.counts {
            self.counter = self.counter.wrapping_add(1);
        }
        let data = self.data(0);
        let client_data = self.client_data("webauthn.get", &options["challenge"]);
        let signed = [data.as_slice(), Sha256::digest(client_data.as_bytes()).as_slice()].concat();
        let signature: DerSignature = self.key.sign(&signed);
        self.answer(&json!({
            "authenticatorData": BASE64URL_NOPAD.encode(&data),
            "clientDataJSON": BASE64URL_NOPAD.encode(client_data.as_bytes()),
            "signature": BASE64URL_NOPAD.encode(signature.as_bytes()),
            "userHandle": BASE64URL_NOPAD.encode(&self.user_handle),
        }))
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let verified = if self.verifies { USER_VERIFIED } else { 0 };
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(flags | USER_PRESENT | verified);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, challenge: &Value) -> String {
        json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": false}).to_string()
    }

    fn answer(&self, response: &Value) -> String {
        let id = BASE64URL_NOPAD.encode(&self.credential_id);
        json!({"id": id, "rawId": id, "type": "public-key", "extensions": {}, "response": response})
            .to_string()
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn decoded(value: &Value) -> Vec<u8> {
    BASE64URL_NOPAD.decode(text(value).as_bytes()).expect("base64url")
}
