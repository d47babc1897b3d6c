//! X.509 certificates against an authority that signed the seeds and nothing else: no panic, and never a yes to another.
#![no_main]

use std::sync::LazyLock;

use usher_ca::x509::{CaCertificate, inspect, verify_client_at, verify_server_at};
use usher_types::UnixTime;

/// Of an Ed25519 authority, whose signatures nobody can turn into others.
const SIGNED: [&[u8]; 3] = [
    include_bytes!("../seeds/ca_x509/client"),
    include_bytes!("../seeds/ca_x509/server"),
    include_bytes!("../seeds/ca_x509/smart-card"),
];

static TRUSTED: LazyLock<[CaCertificate; 1]> =
    LazyLock::new(|| [CaCertificate::from_der(include_bytes!("../seeds/ca_x509/authority").to_vec()).unwrap()]);

libfuzzer_sys::fuzz_target!(|der: &[u8]| {
    let now = UnixTime::from_secs(1_800_000_000);
    let client = verify_client_at(der, &*TRUSTED, now);
    let server = verify_server_at(der, &*TRUSTED, now);
    assert!(client.is_err() || server.is_err(), "good for both");
    if client.is_ok() || server.is_ok() {
        assert!(SIGNED.contains(&der), "forged");
    }
    if let Ok(read) = inspect(der) {
        let rows = [&read.purposes, &read.names, &read.critical_extensions].map(|list| list.len().max(1));
        assert_eq!(read.to_string().lines().count(), 8 + rows.iter().sum::<usize>());
    }
    if let Ok(authority) = CaCertificate::from_der(der.to_vec()) {
        assert_eq!(CaCertificate::from_pem(&authority.to_pem()), Ok(authority));
    }
});
