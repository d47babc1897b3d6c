//! Desired state behind a good signature: a broker that was taken over must not be able to crash agents.
#![no_main]

use std::sync::LazyLock;

use usher_account_lifecycle::state::{DocumentId, Head, Known, Signed, StateKey, sign_input, verify};
use usher_identity::PrivateKey;
use usher_types::UnixTime;

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::generate(&mut usher_testkit::rng(1)));
static TRUSTED: LazyLock<StateKey> = LazyLock::new(|| StateKey::from_sec1(&KEY.public().to_sec1()).unwrap());

// Signing is most of the cost, so each input is one thing only: a head, or a document under a good head.
libfuzzer_sys::fuzz_target!(|text: &str| {
    let server = text.contains(r#""hops""#);
    let id = if server { "srv_01mcc5rm00e008000000000001" } else { "prj_01mcc5rm00e008000000000001" };
    let subject: DocumentId = id.parse().unwrap();
    let good = Head::new(subject, 1, text, UnixTime::from_secs(1_800_000_000)).encode().unwrap();
    let head = if text.contains(r#""generation""#) { text } else { &good };
    let signature = KEY.sign(&sign_input(head.as_bytes()));
    let signed = Signed { head: head.as_bytes(), signature: &signature, document: text.as_bytes() };
    if let Ok(verified) = verify(signed, std::slice::from_ref(&*TRUSTED), subject, Known::default()) {
        let _ = (verified.project(), verified.server());
    }
});
