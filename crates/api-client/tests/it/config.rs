//! Broker addresses as people paste them.

use usher_api_client::{AddressError, BrokerAddress, Client, ClientConfig, ClientError};
use usher_types::Sha256;

use crate::server::{key, now};

#[track_caller]
fn check(text: &str, expected: Result<&str, AddressError>) {
    let read: Result<BrokerAddress, _> = text.parse();
    assert_eq!(read.map(|address| address.to_string()), expected.map(str::to_owned));
}

#[test]
fn reads_addresses_with_and_without_pin() {
    let pin = Sha256::of(b"root");
    check("https://broker.example:8443", Ok("https://broker.example:8443"));
    check(" https://BROKER.example:443/\n", Ok("https://broker.example"));
    let pinned = format!("https://[2001:db8::1]:8443#{pin}");
    check(&pinned, Ok(&pinned));
    assert_eq!(pinned.parse::<BrokerAddress>().unwrap().pin, Some(pin));
}

#[test]
fn refuses_what_is_no_broker() {
    check("broker.example", Err(AddressError::Form));
    check("http://broker.example", Err(AddressError::Scheme));
    check("https://broker.example/v1", Err(AddressError::Parts));
    check("https://broker.example/?a=b", Err(AddressError::Parts));
    check("https://u:p@broker.example", Err(AddressError::Parts));
    check("https://broker.example#pin", Err(AddressError::Pin));
    check("https://broker.example#", Err(AddressError::Pin));
    let config = ClientConfig::new("http://127.0.0.1:1".parse().unwrap(), key(), now);
    assert!(matches!(Client::new(config), Err(ClientError::Address(AddressError::Scheme))));
}
