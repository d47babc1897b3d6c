//! Certificates in binary form against a trusted key that signed none of them: no panic, and never a yes.
#![no_main]

use usher_types::UnixTime;

libfuzzer_sys::fuzz_target!(|blob: &[u8]| {
    let text = format!("ssh-ed25519-cert-v01@openssh.com {}", data_encoding::BASE64.encode(blob));
    // The signing key of the seeds, so that mutations get as far as the signature.
    let trusted = usher_ca::CaPublicKey::parse(include_str!("../seeds/ca_verify.key.pub").trim_end());
    if let Ok(verified) = usher_ca::verify_at(&text, &[trusted.unwrap()], UnixTime::from_secs(1_800_000_000))
    {
        assert!(blob == include_bytes!("../seeds/ca_verify/login"), "forged: {verified:?}");
    }
});
