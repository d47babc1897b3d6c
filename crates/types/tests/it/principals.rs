//! Principals: one reading, no separators.

use usher_types::{ConnectionId, DeviceId, KeyId, LoginName, Principal, ServerId, UnixTime};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

#[test]
fn login_and_hop_principals_survive_text() {
    let (one, two) = (ServerId::new(NOW, [1; 10]), ServerId::new(NOW, [2; 10]));
    let login: LoginName = "alice".parse().unwrap();
    for principal in [Principal::login(&login, one), Principal::hop(one, two)] {
        assert_eq!(principal.to_string().parse::<Principal>().unwrap(), principal);
        assert_eq!(principal.server(), one);
    }
    assert_eq!(Principal::hop(one, two).to_string(), format!("usher-hop@{one}.{two}"));
}

#[test]
fn refuses_lists_wildcards_and_half_principals() {
    let server = ServerId::new(NOW, [1; 10]);
    for text in [
        String::new(),
        "alice".to_owned(),
        format!("alice@{server},root"),
        format!("alice@{server} "),
        format!("*@{server}"),
        format!("root@{server}"),
        format!("usher-hop@{server}"),
        format!("usher-hop@{server}.*"),
        format!("alice@{server}\0"),
        "alice@*".to_owned(),
    ] {
        assert!(text.parse::<Principal>().is_err(), "{text:?}");
    }
}

#[test]
fn key_id_has_only_bytes_that_are_safe_in_a_log() {
    let key_id = KeyId::new(
        &"prod".parse().unwrap(),
        &"alice".parse().unwrap(),
        DeviceId::new(NOW, [3; 10]),
        ConnectionId::new(NOW, [4; 10]),
    );
    assert!(key_id.as_str().len() <= 200);
    assert!(key_id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte)));
}
