//! Names that an identity provider's users and groups get.

use std::collections::BTreeSet;

use proptest::prelude::*;
use usher_identity::naming;

#[track_caller]
fn check_user(provider: &str, user_name: &str, unix_user_name: &str) {
    let (user, login) = naming::users(provider).next().unwrap();
    assert_eq!((user.as_str(), login.as_str()), (user_name, unix_user_name), "for `{provider}`");
}

#[test]
fn a_user_is_called_like_the_part_before_the_at_sign() {
    check_user("alice", "alice", "alice");
    check_user("Alice.Smith@example.com", "alice.smith", "alice_smith");
    check_user("bob+test@example.com", "bob-test", "bob-test");
    check_user("o'brien@example.com", "o-brien", "o-brien");
    check_user("DOMAIN\\carol", "domain-carol", "domain-carol");
    check_user("42dave@example.com", "dave", "dave");
    check_user("josé@example.com", "jos", "jos");
    check_user("李雷", "user", "user");
    check_user("@example.com", "user", "user");
    check_user("", "user", "user");
}

#[test]
fn no_user_gets_a_name_of_the_system() {
    check_user("root", "root2", "root2");
    check_user("ROOT@example.com", "root2", "root2");
    check_user("www-data", "www-data2", "www-data2");
    check_user("systemd-network@example.com", "systemd-network", "systemd_network");
    check_user("usher.hop", "usher.hop", "usher_hop");
    check_user("usher-hop", "usher-hop", "usher_hop");
}

#[test]
fn a_group_is_in_the_namespace_of_its_connector() {
    let name = |display| naming::groups("okta", display).next().unwrap().to_string();
    assert_eq!(name("Site Reliability"), "okta.site-reliability");
    assert_eq!(name("App - Usher / Admins"), "okta.app-usher-admins");
    assert_eq!(name("日本"), "okta.group");
    assert_eq!(naming::groups("okta", "x").nth(1).unwrap().as_str(), "okta.x2");
}

#[test]
fn groups_that_mean_something_here_are_reserved_in_any_spelling() {
    for name in ["owners", "Owners", "EVERYONE", " everyone ", "owners!", "Owners\u{200b}"] {
        assert!(naming::is_reserved_group(name), "`{name}`");
    }
    for name in ["owner", "everyone-else", "", "日本"] {
        assert!(!naming::is_reserved_group(name), "`{name}`");
    }
}

#[test]
fn a_display_name_keeps_what_it_may_have() {
    let name = |text| naming::display_name(text).map(String::from);
    assert_eq!(name("Alice Smith"), Some("Alice Smith".to_owned()));
    assert_eq!(name("Smith,  Alice:\n root"), Some("Smith Alice root".to_owned()));
    assert_eq!(name("\u{202e}ecila"), Some("ecila".to_owned()));
    assert_eq!(name(" :, "), None);
}

proptest! {
    #[test]
    fn every_text_has_names_enough_of_which_none_is_the_systems(text in "\\PC{0,80}") {
        let names: Vec<_> = naming::users(&text).collect();
        prop_assert!(names.len() > 10);
        let users: BTreeSet<_> = names.iter().map(|(user, _)| user).collect();
        let logins: BTreeSet<_> = names.iter().map(|(_, login)| login).collect();
        // Two numbers may meet where a long name is cut.
        prop_assert!(users.len() > 10 && logins.len() > 10);
    }

    #[test]
    fn the_first_names_depend_on_nothing_but_the_text_before_the_at_sign_and_not_on_its_case(local in "[a-zA-Z][a-zA-Z0-9.]{0,60}") {
        let names = |text: &str| naming::users(text).take(3).collect::<Vec<_>>();
        prop_assert_eq!(names(&local), names(&format!("{}@example.com", local.to_uppercase())));
    }

    #[test]
    fn every_group_begins_with_its_connector(connector in "[a-z][a-z0-9-]{0,22}[a-z0-9]", text in "\\PC{0,80}") {
        let names: BTreeSet<_> = naming::groups(&connector, &text).collect();
        prop_assert!(names.len() > 10);
        let prefix = format!("{connector}.");
        prop_assert!(names.iter().all(|name| name.as_str().starts_with(&prefix)));
    }

    #[test]
    fn what_is_left_of_a_display_name_is_one(text in "\\PC{0,200}") {
        if text.chars().any(|c| c.is_ascii_alphanumeric()) && text.chars().filter(|c| !c.is_ascii_alphanumeric()).count() < 20 {
            prop_assert!(naming::display_name(&text).is_some());
        }
    }
}
