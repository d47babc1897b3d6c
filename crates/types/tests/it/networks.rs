//! Networks: what is inside, and what is none.

use usher_types::Cidr;

#[track_caller]
fn check_cidr(network: &str, address: &str, expected: bool) {
    let parsed: Cidr = network.parse().unwrap();
    assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
}

#[test]
fn network_holds_its_addresses() {
    check_cidr("10.0.0.0/16", "10.0.255.255", true);
    check_cidr("10.0.0.0/16", "10.1.0.0", false);
    check_cidr("10.0.0.0/16", "::ffff:10.0.0.1", true);
    check_cidr("10.0.0.7", "10.0.0.7", true);
    check_cidr("10.0.0.7", "10.0.0.8", false);
    check_cidr("2001:db8::/32", "2001:db8:1::1", true);
    check_cidr("2001:db8::/32", "2001:db9::1", false);
    check_cidr("0.0.0.0/0", "192.0.2.1", true);
    check_cidr("0.0.0.0/0", "2001:db8::1", false);
}

#[test]
fn network_has_no_host_bits() {
    assert_eq!("10.0.3.4/16".parse::<Cidr>().unwrap().to_string(), "10.0.0.0/16");
}

#[test]
fn refuses_other_networks() {
    for bad in [
        "",
        "10.0.0.0/33",
        "10.0.0/16",
        "10.0.0.0/",
        " 10.0.0.0/16",
        "10.0.0.0/16,10.1.0.0/16",
        "host",
        "010.0.0.1",
        "::ffff:10.0.0.0/112",
    ] {
        assert!(bad.parse::<Cidr>().is_err(), "{bad}");
    }
}
