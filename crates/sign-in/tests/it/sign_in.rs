//! Password and code together.

use std::time::Duration;

use usher_identity::{AuthenticationMethod, Login as _};
use usher_sign_in::{
    Credentials, Failures, NewPassword, PasswordHash, RecoveryCode, Refusal, TotpSecret, Used, verify,
};
use usher_types::{UnixTime, UserId};

use crate::NOW;

const PASSWORD: &str = "correct horse battery";

fn totp() -> TotpSecret {
    TotpSecret::new([7; 20])
}

fn alice() -> Credentials {
    let password = NewPassword::parse(PASSWORD, &"alice".parse().unwrap()).unwrap();
    Credentials {
        user_id: UserId::new(NOW, [1; 10]),
        active: true,
        password: Some(PasswordHash::of(&password, [3; 16]).unwrap()),
        totp: Some(totp()),
        last_used_step: None,
        recovery_codes: Vec::new(),
        failures: Failures::default(),
    }
}

#[track_caller]
fn refused(credentials: Option<&Credentials>, password: &str, code: &str, expected: Refusal) {
    assert_eq!(verify(credentials, password, code, NOW).unwrap_err(), expected);
}

#[test]
fn a_good_password_and_a_good_code_sign_in() {
    let verified = verify(Some(&alice()), PASSWORD, &totp().code_at(NOW), NOW).unwrap();
    assert_eq!(verified.used, Used::TotpStep(NOW.as_secs() / 30));
    assert_eq!(verified.login.user_id(), alice().user_id);
    assert_eq!(verified.login.auth_time(), NOW);
    use AuthenticationMethod::{MultiFactor, OneTimePassword, Password};
    assert_eq!(verified.login.amr(), [Password, OneTimePassword, MultiFactor]);
}

#[test]
fn each_part_alone_is_not_enough() {
    let code = totp().code_at(NOW);
    let alice = alice();
    refused(None, PASSWORD, &code, Refusal::UnknownUser);
    refused(Some(&alice), "correct horse batterx", &code, Refusal::PasswordWrong);
    refused(Some(&alice), "", &code, Refusal::PasswordWrong);
    refused(Some(&alice), PASSWORD, "000000", Refusal::CodeWrong);
    refused(Some(&alice), PASSWORD, "", Refusal::CodeWrong);
    refused(Some(&Credentials { active: false, ..alice.clone() }), PASSWORD, &code, Refusal::Disabled);
    refused(Some(&Credentials { password: None, ..alice.clone() }), PASSWORD, &code, Refusal::NotSetUp);
    refused(Some(&Credentials { password: None, ..alice.clone() }), "", &code, Refusal::NotSetUp);
    refused(Some(&Credentials { totp: None, ..alice }), PASSWORD, &code, Refusal::NotSetUp);
}

/// RFC 6238 section 5.2: a code works once. Neither the same again nor an older one that is still in the window.
#[test]
fn a_used_code_is_refused() {
    let step = NOW.as_secs() / 30;
    let code = totp().code_at(NOW);
    for last in [step, step + 1] {
        let used = Credentials { last_used_step: Some(last), ..alice() };
        refused(Some(&used), PASSWORD, &code, Refusal::CodeReused);
    }
    let used = Credentials { last_used_step: Some(step - 1), ..alice() };
    assert!(verify(Some(&used), PASSWORD, &code, NOW).is_ok());
}

#[test]
fn failures_lock_for_longer_and_longer_but_never_for_good() {
    let mut failures = Failures::default();
    let mut waits = Vec::new();
    for _ in 0..14 {
        failures = failures.one_more(NOW);
        waits.push(failures.locked_until.map_or(0, |end| end.since(NOW).as_secs()));
    }
    assert_eq!(waits, [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900, 900]);
    let locked = Credentials { failures, ..alice() };
    refused(Some(&locked), PASSWORD, &totp().code_at(NOW), Refusal::Locked);
    let later = NOW.saturating_add(Duration::from_secs(900));
    assert!(verify(Some(&locked), PASSWORD, &totp().code_at(later), later).is_ok());
    assert!(Failures { count: u32::MAX, locked_until: None }.one_more(NOW).locked(NOW));
}

#[test]
fn a_clock_before_1970_is_no_panic() {
    assert!(verify(Some(&alice()), PASSWORD, "123456", UnixTime::from_millis(-1)).is_err());
}

/// In place of the code, never of the password; however it is typed.
#[test]
fn a_recovery_code_stands_in_for_the_second_factor_and_nothing_else() {
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    let code = RecoveryCode::generate(&mut rng);
    let other = RecoveryCode::generate(&mut rng);
    let lost = Credentials { totp: None, recovery_codes: vec![code.hash()], ..alice() };
    let typed = code.reveal().to_lowercase().replace('-', " ");
    for known in [&lost, &Credentials { recovery_codes: vec![code.hash()], ..alice() }] {
        for text in [code.reveal().as_str(), typed.as_str()] {
            let verified = verify(Some(known), PASSWORD, text, NOW).unwrap();
            assert_eq!(verified.used, Used::RecoveryCode(code.hash()));
            assert!(verified.login.amr().contains(&AuthenticationMethod::MultiFactor));
        }
        assert_eq!(
            verify(Some(known), "wrong password", &code.reveal(), NOW).unwrap_err(),
            Refusal::PasswordWrong
        );
        assert_eq!(verify(Some(known), PASSWORD, &other.reveal(), NOW).unwrap_err(), Refusal::CodeWrong);
        assert_eq!(verify(Some(known), PASSWORD, "", NOW).unwrap_err(), Refusal::CodeWrong);
    }
    // A code of the all-zero secret, with which nobody's sign-in is compared, opens nothing.
    let nobody = TotpSecret::new([0; 20]).code_at(NOW);
    assert_eq!(verify(Some(&lost), PASSWORD, &nobody, NOW).unwrap_err(), Refusal::CodeWrong);
    assert_eq!(verify(Some(&alice()), PASSWORD, &code.reveal(), NOW).unwrap_err(), Refusal::CodeWrong);
}
