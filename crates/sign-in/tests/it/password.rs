//! Rules for new passwords, and their hashes.

use usher_sign_in::{NewPassword, PasswordHash, PasswordRule};

#[track_caller]
fn check(password: &str, expected: Result<(), PasswordRule>) {
    let user = "alice".parse().unwrap();
    assert_eq!(NewPassword::parse(password, &user).map(|_| ()), expected, "{password:?}");
}

#[test]
fn asks_for_length_and_nothing_else() {
    check("correct horse battery", Ok(()));
    check("            a", Ok(()));
    check("пароль-из-слов", Ok(()));
    check("eleven char", Err(PasswordRule::TooShort));
    check("", Err(PasswordRule::TooShort));
    check(&"ab".repeat(128), Ok(()));
    check(&"ab".repeat(129), Err(PasswordRule::TooLong));
}

#[test]
fn refuses_what_everybody_guesses_first() {
    check("alicealicealice", Err(PasswordRule::UserName));
    check("Alice-ALICE-alice", Err(PasswordRule::UserName));
    check("aaaaaaaaaaaa", Err(PasswordRule::Trivial));
    check("tab\tbetween words", Err(PasswordRule::Control));
}

#[test]
fn hashes_are_argon2id_and_salted() {
    let password = NewPassword::parse("correct horse battery", &"alice".parse().unwrap()).unwrap();
    let one = PasswordHash::of(&password, [1; 16]).unwrap();
    assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_str());
    assert_ne!(one, PasswordHash::of(&password, [2; 16]).unwrap());
    assert_eq!(one.as_str().parse::<PasswordHash>().unwrap(), one);
    assert_eq!(format!("{one:?} {password:?}"), "PasswordHash([secret]) NewPassword([secret])");
}

#[test]
fn other_hashes_are_refused() {
    for text in [
        "",
        "hunter2",
        "$2b$12$abc",
        "$argon2i$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        assert!(text.parse::<PasswordHash>().is_err(), "{text}");
    }
}
