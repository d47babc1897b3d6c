//! The critical option `source-address`.

use std::net::IpAddr;

use usher_ca::{Signer as _, SourceAddressError, SourceAddresses, inspect, prepare};
use usher_testkit::{NOW, rng};

use crate::example::{Example, ed25519, subject};

#[track_caller]
fn check(source: &[&str], expected: Result<&str, SourceAddressError>) {
    let built = SourceAddresses::only(
        source
            .iter()
            .map(|text| text.parse::<IpAddr>().map_or_else(|_| text.parse().unwrap(), ipnet::IpNet::from)),
    );
    let written = built.map(|source| {
        let key = ed25519();
        let example = Example { source, ..Example::login() };
        let prepared = prepare(example, &subject(), &key.public_key(), NOW, &mut rng(3)).unwrap();
        let mut read = inspect(&prepared.sign_with(&key).unwrap().to_openssh()).unwrap();
        assert_eq!(read.critical_options.len(), 1);
        read.critical_options.remove("source-address").unwrap()
    });
    assert_eq!(written, expected.map(str::to_owned));
}

#[test]
fn writes_networks_the_one_way_that_sshd_takes() {
    check(&["192.0.2.1"], Ok("192.0.2.1"));
    check(&["192.0.2.1/32", "192.0.2.1"], Ok("192.0.2.1"));
    check(&["192.0.2.77/24"], Ok("192.0.2.0/24"));
    check(&["2001:DB8::1", "192.0.2.9", "192.0.2.3"], Ok("192.0.2.3,192.0.2.9,2001:db8::1"));
    check(&["::ffff:192.0.2.1"], Ok("192.0.2.1"));
    check(&["::ffff:192.0.2.0/120"], Ok("192.0.2.0/24"));
}

#[test]
fn never_turns_an_empty_list_into_no_restriction() {
    check(&[], Err(SourceAddressError::Empty));
    assert_eq!(SourceAddresses::hosts(&[]), Err(SourceAddressError::Empty));
    assert!(SourceAddresses::any().is_any());
}

#[test]
fn refuses_more_networks_than_a_certificate_holds() {
    let addresses: Vec<IpAddr> = (0..33).map(|low| IpAddr::from([192, 0, 2, low])).collect();
    assert_eq!(SourceAddresses::hosts(&addresses), Err(SourceAddressError::TooMany));
    assert!(SourceAddresses::hosts(&addresses[..32]).is_ok());
}

#[test]
fn knows_what_is_inside() {
    let source = SourceAddresses::only(["192.0.2.0/24".parse().unwrap()]).unwrap();
    assert!(source.contains("192.0.2.200".parse().unwrap()));
    assert!(source.contains("::ffff:192.0.2.200".parse().unwrap()));
    assert!(!source.contains("192.0.3.1".parse().unwrap()));
    assert!(SourceAddresses::any().contains("192.0.3.1".parse().unwrap()));
}
