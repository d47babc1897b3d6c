//! Where the broker lets itself be sent: tricks that have got others to ask what they must not.

use usher_sign_in::oidc::{AddressRefused, HttpError, Provider, ProviderError, check_address, check_url};

use crate::{
    NOW,
    issuer::{Issuer, tls},
};

#[test]
fn addresses_that_only_look_public_are_refused() {
    let tricks = [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://127.0.0.1.:443/",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.1.2.3/",
        "https://172.31.255.255/",
        "https://192.168.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://0xa9fea9fe/",
        "https://100.100.100.200/",
        "https://198.18.0.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::]/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[::127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
        "https://[fec0::1]/",
        "https://[ff02::1]/",
        "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
        "https://127\u{3002}0\u{3002}0\u{3002}1/",
        "https://idp.example@127.0.0.1/",
        "https://127.0.0.1#idp.example",
        "https:127.0.0.1/",
        "https:\\\\127.0.0.1/",
        "http://idp.example/",
        "http://127.0.0.1/",
        "ftp://idp.example/",
        "gopher://idp.example/",
        "file:///etc/passwd",
        "data:application/json,{}",
    ];
    for trick in tricks {
        let refused = trick.parse().map(|url| check_url(&url, &[]));
        assert!(!matches!(refused, Ok(Ok(()))), "{trick}");
    }
    for good in ["https://idp.example/", "https://8.8.8.8/", "https://[2606:4700::1111]:8443/x"] {
        assert_eq!(check_url(&good.parse().unwrap(), &[]), Ok(()), "{good}");
    }
}

#[test]
fn a_connector_may_name_its_private_networks_and_only_those() {
    let networks = ["10.1.0.0/16".parse().unwrap(), "fd00:1::/32".parse().unwrap()];
    for (address, good) in [
        ("10.1.255.255", true),
        ("10.2.0.0", false),
        ("::ffff:10.1.0.1", true),
        ("fd00:1::5", true),
        ("fd00:2::5", false),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
    ] {
        assert_eq!(check_address(address.parse().unwrap(), &networks).is_ok(), good, "{address}");
    }
    // Without TLS only to this very machine, and only when that was named.
    assert_eq!(check_url(&"http://10.1.0.1/".parse().unwrap(), &networks), Err(AddressRefused::Scheme));
    let here = ["127.0.0.0/8".parse().unwrap()];
    assert_eq!(check_url(&"http://127.0.0.1:1/".parse().unwrap(), &here), Ok(()));
    assert_eq!(check_url(&"http://localhost:1/".parse().unwrap(), &here), Err(AddressRefused::Scheme));
}

/// A name is resolved once, and what it resolves to is looked at.
#[tokio::test]
async fn a_name_that_resolves_to_a_private_address_is_not_asked() {
    let issuer = Issuer::start().await;
    let mut settings = issuer.settings();
    settings.issuer = issuer.url.replace("http://127.0.0.1", "https://localhost");
    settings.private_networks = Vec::new();
    let provider = Provider::new(settings, tls()).unwrap();
    let outcome = provider.begin(&[5; 96], NOW).await;
    assert!(matches!(outcome, Err(ProviderError::Address(AddressRefused::Private(_)))), "{outcome:?}");
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn a_provider_that_is_not_there_does_not_answer() {
    let issuer = Issuer::start().await;
    let mut settings = issuer.settings();
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    settings.issuer = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let outcome = Provider::new(settings, tls()).unwrap().begin(&[5; 96], NOW).await;
    assert!(matches!(outcome, Err(ProviderError::Unavailable(Some(HttpError::Request(_))))), "{outcome:?}");
}
