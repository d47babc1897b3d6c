//! The authorization request and its code.

use std::time::Duration;

use usher_identity::{Login as _, pkce::CodeVerifier};
use usher_sign_in::{
    AuthorizationParameters, AuthorizationRequest, AuthorizationRequestError, Credentials, Failures,
    NewPassword, PasswordHash, RedeemError, Redemption, RedirectUri, TotpSecret, VerifiedLogin, issue_code,
    redeem, verify,
};
use usher_types::{Sha256, UserId};

use crate::NOW;

fn verifier() -> CodeVerifier {
    CodeVerifier::new([5; 32])
}

fn parameters() -> AuthorizationParameters {
    AuthorizationParameters {
        response_type: "code".into(),
        client_id: "usher-cli".into(),
        redirect_uri: "http://127.0.0.1:49152/cb".into(),
        code_challenge: verifier().challenge().to_string(),
        code_challenge_method: "S256".into(),
        state: "xyz".into(),
        dpop_jkt: Sha256::of(b"device").to_string(),
        device_name: "laptop".into(),
        servers: "web-1,web-2".into(),
        prompt: "login".into(),
    }
}

fn login() -> VerifiedLogin {
    let totp = TotpSecret::new([7; 20]);
    let password = NewPassword::parse("correct horse battery", &"alice".parse().unwrap()).unwrap();
    let credentials = Credentials {
        user_id: UserId::new(NOW, [1; 10]),
        active: true,
        password: Some(PasswordHash::of(&password, [3; 16]).unwrap()),
        totp: Some(totp.clone()),
        last_used_step: None,
        recovery_codes: Vec::new(),
        failures: Failures::default(),
    };
    verify(Some(&credentials), "correct horse battery", &totp.code_at(NOW), NOW).unwrap().login
}

/// Threat 36: a browser is sent to the loopback of this machine and nowhere else.
#[test]
fn redirects_go_to_the_loopback_only() {
    for good in ["http://127.0.0.1:1/", "http://127.0.0.1:65535/a/b", "http://[::1]:8080/cb"] {
        assert!(good.parse::<RedirectUri>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "https://127.0.0.1:8080/",
        "http://127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:80/",
        "http://127.0.0.2:8080/",
        "http://localhost:8080/",
        "http://127.0.0.1.evil.example:8080/",
        "http://127.0.0.1:8080@evil.example/",
        "http://evil.example:8080/",
        "http://evil.example/?http://127.0.0.1:8080/",
        "http://user@127.0.0.1:8080/",
        "http://127.1:8080/",
        "http://2130706433:8080/",
        "http://0x7f000001:8080/",
        "http://[::ffff:127.0.0.1]:8080/",
        "http://127.0.0.1:8080/#fragment",
        "http://127.0.0.1:8080/?query",
        "http://127.0.0.1:8080/\r\nlocation: x",
        "HTTP://127.0.0.1:8080/",
        "http:\\\\127.0.0.1:8080/",
        " http://127.0.0.1:8080/",
        "javascript:alert(1)",
        "//127.0.0.1:8080/",
    ] {
        assert!(bad.parse::<RedirectUri>().is_err(), "{bad}");
    }
    assert!(format!("http://127.0.0.1:8080/{}", "a".repeat(300)).parse::<RedirectUri>().is_err());
}

#[test]
fn parameters_are_escaped_in_the_redirect() {
    let uri: RedirectUri = "http://127.0.0.1:1234/cb".parse().unwrap();
    assert_eq!(
        uri.with_parameters(&[("code", "a&b=c"), ("state", "é #")]),
        "http://127.0.0.1:1234/cb?code=a%26b%3Dc&state=%C3%A9+%23"
    );
}

#[test]
fn takes_the_request_of_the_client() {
    let request = AuthorizationRequest::parse(&parameters()).unwrap();
    assert_eq!(request.redirect_uri.as_str(), "http://127.0.0.1:49152/cb");
    let json = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<AuthorizationRequest>(&json).unwrap(), request);
    let evil = json.replace("127.0.0.1", "evil.example");
    assert!(serde_json::from_str::<AuthorizationRequest>(&evil).is_err());
}

#[test]
fn answers_a_bad_client_or_redirect_by_no_redirect() {
    let bad = AuthorizationParameters { client_id: "other".into(), ..parameters() };
    assert_eq!(AuthorizationRequest::parse(&bad).unwrap_err(), AuthorizationRequestError::ClientId);
    let bad = AuthorizationParameters { redirect_uri: "https://evil.example/".into(), ..parameters() };
    assert!(matches!(AuthorizationRequest::parse(&bad), Err(AuthorizationRequestError::RedirectUri(_))));
}

#[test]
fn names_the_bad_parameter() {
    let cases = [
        ("response_type", AuthorizationParameters { response_type: "token".into(), ..parameters() }),
        ("state", AuthorizationParameters { state: String::new(), ..parameters() }),
        ("state", AuthorizationParameters { state: "a\nb".into(), ..parameters() }),
        (
            "code_challenge_method",
            AuthorizationParameters { code_challenge_method: "plain".into(), ..parameters() },
        ),
        ("code_challenge", AuthorizationParameters { code_challenge: "short".into(), ..parameters() }),
        ("dpop_jkt", AuthorizationParameters { dpop_jkt: String::new(), ..parameters() }),
        ("device_name", AuthorizationParameters { device_name: "<script>".into(), ..parameters() }),
        ("prompt", AuthorizationParameters { prompt: "none".into(), ..parameters() }),
        ("servers", AuthorizationParameters { servers: "web-1,".into(), ..parameters() }),
    ];
    for (name, bad) in cases {
        match AuthorizationRequest::parse(&bad) {
            Err(AuthorizationRequestError::Parameter { parameter, state, .. }) => {
                assert_eq!(parameter, name);
                assert!(!state.contains('\n'));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_code_is_good_for_its_client_key_and_redirect() {
    let request = AuthorizationRequest::parse(&parameters()).unwrap();
    let (code, record) = issue_code(login(), &request, [9; 32], NOW);
    let verifier = verifier();
    let good = Redemption {
        code: code.reveal(),
        code_verifier: verifier.reveal(),
        redirect_uri: "http://127.0.0.1:49152/cb",
        jkt: Sha256::of(b"device"),
    };
    let login = redeem(&record, &good, NOW).unwrap();
    assert_eq!((login.user_id(), login.auth_time()), (record.user_id, NOW));
    assert!(!format!("{code:?}").contains(code.reveal()));

    let other = CodeVerifier::new([6; 32]);
    let cases = [
        (RedeemError::Code, Redemption { code: "AAAA", ..good }),
        (RedeemError::Verifier, Redemption { code_verifier: other.reveal(), ..good }),
        (RedeemError::Verifier, Redemption { code_verifier: "", ..good }),
        (RedeemError::RedirectUri, Redemption { redirect_uri: "http://127.0.0.1:49152/cb2", ..good }),
        (RedeemError::Key, Redemption { jkt: Sha256::of(b"thief"), ..good }),
    ];
    for (expected, bad) in cases {
        assert_eq!(redeem(&record, &bad, NOW).unwrap_err(), expected);
    }
    let late = NOW.saturating_add(Duration::from_secs(60));
    assert_eq!(redeem(&record, &good, late).unwrap_err(), RedeemError::Expired);
    let mut used = record;
    used.used_at = Some(NOW);
    assert_eq!(redeem(&used, &good, NOW).unwrap_err(), RedeemError::Used);
}
