//! The relying party against an issuer that lies.

use std::{collections::BTreeMap, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use usher_identity::{GroupsFault, Login as _, UserRecord, UserStatus};
use usher_sign_in::oidc::{
    Callback, ExternalIdFrom, GroupsClaim, Provider, ProviderError, ProviderSettings, TokenError,
};
use usher_types::{ConnectorId, TeamRole, UnixTime, UserId};

use crate::{
    NOW,
    issuer::{ACCESS_TOKEN, Issuer, SECRET, Say, Signed, Token, tls},
};

fn seconds(offset: i64) -> i64 {
    NOW.as_secs() + offset
}

fn later(seconds: u64) -> UnixTime {
    NOW.saturating_add(Duration::from_secs(seconds))
}

/// As the specification computes it: half of the digest.
fn at_hash(access_token: &str) -> String {
    use sha2::Digest as _;
    BASE64URL_NOPAD.encode(&sha2::Sha256::digest(access_token.as_bytes())[..16])
}

#[tokio::test]
async fn a_good_token_says_who_it_is_and_how() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let identity = issuer
        .sign_in(&provider, |token| token.claims["at_hash"] = json!(at_hash(ACCESS_TOKEN)))
        .await
        .unwrap();
    assert_eq!((identity.external_id().as_str(), identity.user_name()), ("00u1", "alice@example"));
    assert_eq!(identity.groups(), &GroupsClaim::Listed(vec!["a".to_owned(), "b".to_owned()]));

    let connector_id = ConnectorId::new(NOW, [1; 10]);
    let user = UserRecord {
        id: UserId::new(NOW, [2; 10]),
        user_name: "alice".parse().unwrap(),
        display_name: "Alice".parse().unwrap(),
        unix_user_name: "alice".parse().unwrap(),
        status: UserStatus::Active,
        team_role: TeamRole::Member,
        connector_id: Some(connector_id),
        created_at: NOW,
    };
    let login = identity.login(&user, connector_id).unwrap();
    assert_eq!(login.auth_time(), UnixTime::from_secs(seconds(-5)));
    let amr: Vec<&str> = login.amr().iter().map(|method| method.as_str()).collect();
    assert_eq!(amr, ["mfa", "pwd"], "what is not known here says nothing");
    let said = login.provider().unwrap();
    assert_eq!(
        (said.acr.as_deref(), said.session.as_deref(), said.groups_fault),
        (Some("phr"), Some("s1"), None)
    );

    // Not for a user of the broker's own directory, nor of another connector.
    for directory in [None, Some(ConnectorId::new(NOW, [9; 10]))] {
        let other = UserRecord { connector_id: directory, ..user.clone() };
        let identity = issuer.sign_in(&provider, |_token| {}).await.unwrap();
        assert!(identity.login(&other, connector_id).is_none());
    }
}

type Change = Box<dyn FnOnce(&mut Token)>;

fn claim(name: &'static str, value: Value) -> Change {
    Box::new(move |token| token.claims[name] = value)
}

fn without(name: &'static str) -> Change {
    Box::new(move |token| drop(token.claims.as_object_mut().unwrap().remove(name)))
}

fn header(name: &'static str, value: Value) -> Change {
    Box::new(move |token| token.header[name] = value)
}

fn signed(algorithm: &'static str, signed: Signed) -> Change {
    Box::new(move |token| {
        token.header["alg"] = json!(algorithm);
        token.signed = signed;
    })
}

/// Every one of these is a good token but for one thing.
fn mutants(issuer: &Issuer) -> Vec<(&'static str, Change)> {
    let point = issuer.key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
    let jwk = issuer.jwk("first").to_string().into_bytes();
    let mut all = vec![
        // Who says so, and to whom.
        ("another issuer", claim("iss", json!("https://evil.example"))),
        ("the issuer with a slash", claim("iss", json!(format!("{}/", issuer.url)))),
        ("the issuer in capitals", claim("iss", json!(issuer.url.to_uppercase()))),
        ("an issuer that is a list", claim("iss", json!([issuer.url]))),
        ("no issuer", without("iss")),
        ("another audience", claim("aud", json!("other"))),
        ("the audience in capitals", claim("aud", json!("USHER"))),
        ("a longer audience", claim("aud", json!("usher2"))),
        ("an empty audience", claim("aud", json!(""))),
        ("an empty list of audiences", claim("aud", json!([]))),
        ("a second audience", claim("aud", json!(["usher", "other"]))),
        ("an audience that is a number", claim("aud", json!(1))),
        ("no audience", without("aud")),
        ("another authorized party", claim("azp", json!("other"))),
        ("an authorized party that is a list", claim("azp", json!(["usher"]))),
        ("an authorized party that is nothing", claim("azp", Value::Null)),
        // For which sign-in.
        ("another nonce", claim("nonce", json!("other"))),
        ("an empty nonce", claim("nonce", json!(""))),
        ("no nonce", without("nonce")),
        ("a nonce that is a number", claim("nonce", json!(5))),
        ("the hash of another access token", claim("at_hash", json!(at_hash("other")))),
        ("an empty hash", claim("at_hash", json!(""))),
        ("a hash that is a number", claim("at_hash", json!(1))),
        // When.
        ("expired", claim("exp", json!(seconds(-61)))),
        ("expired at the tolerance", claim("exp", json!(seconds(-60)))),
        ("no end", without("exp")),
        ("an end that is text", claim("exp", json!(seconds(300).to_string()))),
        ("an end that is nothing", claim("exp", Value::Null)),
        ("an end that is true", claim("exp", json!(true))),
        ("an end that is a list", claim("exp", json!([seconds(300)]))),
        ("an end that is broken", claim("exp", json!(9.9e99))),
        ("an end before 1970", claim("exp", json!(-1))),
        ("an end beyond time", claim("exp", json!(u64::MAX))),
        ("made in the future", claim("iat", json!(seconds(61)))),
        ("no begin", without("iat")),
        ("a begin that is text", claim("iat", json!(seconds(0).to_string()))),
        ("not yet", claim("nbf", json!(seconds(61)))),
        ("not yet, as text", claim("nbf", json!("0"))),
        ("authenticated in the future", claim("auth_time", json!(seconds(61)))),
        ("an authentication that is text", claim("auth_time", json!("0"))),
        // Who.
        ("nobody", without("sub")),
        ("an empty subject", claim("sub", json!(""))),
        ("a subject that is a number", claim("sub", json!(1))),
        ("a subject that is a list", claim("sub", json!(["00u1"]))),
        ("a subject with a line break", claim("sub", json!("00u1\n"))),
        ("a subject that is too long", claim("sub", json!("u".repeat(256)))),
        // Signed how, and by whom.
        ("no algorithm", Box::new(|token| drop(token.header.as_object_mut().unwrap().remove("alg")))),
        ("none", signed("none", Signed::With(Vec::new()))),
        ("None", signed("None", Signed::With(Vec::new()))),
        ("NONE with the issuer's signature", signed("NONE", Signed::Issuer)),
        ("an empty algorithm", signed("", Signed::Issuer)),
        ("HS256 with the client's secret", signed("HS256", Signed::Hmac(SECRET.into()))),
        ("HS256 with the public key as point", signed("HS256", Signed::Hmac(point))),
        ("HS256 with the public key as JWK", signed("HS256", Signed::Hmac(jwk))),
        ("HS256 with nothing", signed("HS256", Signed::Hmac(Vec::new()))),
        ("an algorithm of another kind of key", signed("RS256", Signed::Issuer)),
        ("an algorithm of another curve", signed("ES384", Signed::Issuer)),
        ("EdDSA", signed("EdDSA", Signed::Issuer)),
        ("another's signature", signed("ES256", Signed::Stranger)),
        ("no signature", signed("ES256", Signed::With(Vec::new()))),
        ("a signature of zeros", signed("ES256", Signed::With(vec![0; 64]))),
        ("an unknown key", header("kid", json!("second"))),
        ("a key that is a path", header("kid", json!("../../first"))),
        ("a key that is SQL", header("kid", json!("first' OR '1'='1"))),
        ("a key that is empty", header("kid", json!(""))),
        ("a key that is a list", header("kid", json!(["first"]))),
        ("critical parameters", header("crit", json!(["exp"]))),
        ("no critical parameters, but said", header("crit", json!([]))),
        ("an access token", header("typ", json!("at+jwt"))),
        ("a logout token", header("typ", json!("logout+jwt"))),
        ("a token in a token", header("cty", json!("JWT"))),
    ];
    let key = crate::issuer::jwk(&p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap(), "first");
    let set = format!("{}/evil-jwks", issuer.url);
    issuer.say("/evil-jwks", Say::Json(json!({"keys": [key]})));
    for (what, name, value) in [
        ("a key that the token brings", "jwk", key),
        ("a key set that the token names", "jku", json!(set)),
        ("a certificate that the token names", "x5u", json!(set)),
    ] {
        all.push((
            what,
            Box::new(move |token: &mut Token| {
                token.header[name] = value;
                token.signed = Signed::Stranger;
            }),
        ));
    }
    all
}

/// Threat 21.
#[tokio::test]
async fn a_token_with_one_thing_wrong_is_worth_nothing() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let mutants = mutants(&issuer);
    assert!(mutants.len() >= 50, "{}", mutants.len());
    for (what, change) in mutants {
        let outcome = issuer.sign_in(&provider, change).await;
        assert!(
            matches!(outcome, Err(ProviderError::Token(_) | ProviderError::Code(_))),
            "{what}: {outcome:?}"
        );
    }
    issuer.sign_in(&provider, |_token| {}).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_no_token_is_worth_nothing() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let good = issuer.encode(&issuer.token());
    let (head, _) = good.rsplit_once('.').unwrap();
    let long = "a".repeat(70_000);
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        head,
        &format!("{good}."),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
        &long,
    ] {
        let begun = provider.begin(&[5; 96], NOW).await.unwrap();
        issuer.say(
            "/token",
            Say::Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": token})),
        );
        let outcome = provider.finish(&issuer.callback(begun.pending.state()), &begun.pending, NOW).await;
        assert!(outcome.is_err(), "{token:?}");
    }
    for answer in [
        json!({}),
        json!([]),
        json!({"access_token": "a", "token_type": "Bearer"}),
        json!({"access_token": "a", "token_type": "Bearer", "id_token": null}),
        json!({"access_token": "a", "token_type": "Bearer", "id_token": 1}),
        json!({"error": "invalid_grant", "error_description": "<script>"}),
    ] {
        let begun = provider.begin(&[5; 96], NOW).await.unwrap();
        issuer.say("/token", Say::Json(answer.clone()));
        let outcome = provider.finish(&issuer.callback(begun.pending.state()), &begun.pending, NOW).await;
        assert!(outcome.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_a_minute() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    for (name, offset) in [("exp", -59), ("iat", 60), ("nbf", 60), ("auth_time", 60)] {
        let identity = issuer.sign_in(&provider, |token| token.claims[name] = json!(seconds(offset))).await;
        assert!(identity.is_ok(), "{name}: {identity:?}");
    }
}

#[tokio::test]
async fn an_answer_belongs_to_its_state_and_its_issuer() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let begun = provider.begin(&[5; 96], NOW).await.unwrap();
    let asked = issuer.asked();
    let good = issuer.callback(begun.pending.state());
    let text = |text: &str| Some(text.to_owned());
    for state in [None, text(""), text("x"), good.state.as_ref().map(|state| format!("{state}A"))] {
        let callback = Callback { state, ..good.clone() };
        let outcome = provider.finish(&callback, &begun.pending, NOW).await;
        assert!(matches!(outcome, Err(ProviderError::State)), "{outcome:?}");
    }
    // RFC 9207, also for errors.
    for iss in [None, text(""), text("https://evil.example"), Some(format!("{}/", issuer.url))] {
        for error in [None, text("access_denied")] {
            let callback = Callback { iss: iss.clone(), error, ..good.clone() };
            let outcome = provider.finish(&callback, &begun.pending, NOW).await;
            assert!(matches!(outcome, Err(ProviderError::Issuer)), "{outcome:?}");
        }
    }
    let denied = Callback { error: text("access_denied"), code: text("code"), ..good.clone() };
    let outcome = provider.finish(&denied, &begun.pending, NOW).await;
    assert!(matches!(outcome, Err(ProviderError::Denied { .. })), "an error wins over a code: {outcome:?}");
    let nothing = Callback { code: None, ..good };
    assert!(matches!(provider.finish(&nothing, &begun.pending, NOW).await, Err(ProviderError::Code(_))));
    assert_eq!(issuer.asked(), asked, "nobody was asked about any of these");
}

#[tokio::test]
async fn a_browser_is_sent_with_everything_that_binds_the_answer() {
    let issuer = Issuer::start().await;
    let begun = issuer.provider().begin(&[5; 96], NOW).await.unwrap();
    let query: BTreeMap<String, String> = begun.url.query_pairs().into_owned().collect();
    let expected = [
        ("response_type", "code"),
        ("client_id", "usher"),
        ("redirect_uri", "https://broker.example/oidc/callback"),
        ("code_challenge_method", "S256"),
        ("scope", "openid profile"),
        ("acr_values", "phr"),
        ("state", begun.pending.state()),
    ];
    for (name, value) in expected {
        assert_eq!(query[name], value, "{name}");
    }
    assert!(!begun.url.as_str().contains(&BASE64URL_NOPAD.encode(&[5; 32]).repeat(2)));
    assert_eq!(format!("{:?}", begun.pending), "Pending([secret])");
}

#[tokio::test]
async fn claims_of_groups_that_do_not_hold_are_no_groups() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let many: Vec<String> = (0..501).map(|number| number.to_string()).collect();
    let faulty = GroupsClaim::Faulty;
    let cases: Vec<(Change, GroupsClaim)> = vec![
        (without("groups"), faulty(GroupsFault::Missing)),
        (claim("groups", json!("admins")), faulty(GroupsFault::NotAList)),
        (claim("groups", Value::Null), faulty(GroupsFault::NotAList)),
        (claim("groups", json!({"a": 1})), faulty(GroupsFault::NotAList)),
        (claim("groups", json!(["a", 1])), faulty(GroupsFault::NotAList)),
        (claim("groups", json!(["a", ""])), faulty(GroupsFault::NotAList)),
        (claim("groups", json!(many)), faulty(GroupsFault::Overage)),
        (claim("_claim_names", json!({"groups": "src1"})), faulty(GroupsFault::Overage)),
        (claim("hasgroups", json!(true)), faulty(GroupsFault::Overage)),
        (claim("groups", json!([])), GroupsClaim::Listed(Vec::new())),
    ];
    for (change, expected) in cases {
        assert_eq!(issuer.sign_in(&provider, change).await.unwrap().groups(), &expected);
    }
    let settings = ProviderSettings { groups_claim: None, ..issuer.settings() };
    let provider = Provider::new(settings, tls()).unwrap();
    assert_eq!(issuer.sign_in(&provider, |_token| {}).await.unwrap().groups(), &GroupsClaim::NotAsked);
}

#[tokio::test]
async fn the_external_id_is_the_claim_that_was_chosen() {
    let issuer = Issuer::start().await;
    let settings = ProviderSettings { external_id: ExternalIdFrom::Oid, ..issuer.settings() };
    let provider = Provider::new(settings, tls()).unwrap();
    let identity = issuer.sign_in(&provider, claim("oid", json!("object"))).await.unwrap();
    assert_eq!(identity.external_id().as_str(), "object");
    assert!(issuer.sign_in(&provider, |_token| {}).await.is_err(), "no other claim stands in");
}

/// Silence is no factor and no fresh login.
#[tokio::test]
async fn nothing_follows_from_what_a_provider_does_not_say() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let silent = |token: &mut Token| {
        let claims = token.claims.as_object_mut().unwrap();
        claims.retain(|name, _| ["iss", "aud", "sub", "iat", "exp", "nonce"].contains(&name.as_str()));
    };
    let identity = issuer.sign_in(&provider, silent).await.unwrap();
    assert_eq!(identity.user_name(), "00u1");
    let debug = format!("{identity:?}");
    assert!(debug.contains("amr: []") && debug.contains("acr: None"), "{debug}");
    let odd = |token: &mut Token| token.claims["amr"] = json!("mfa");
    assert!(issuer.sign_in(&provider, odd).await.is_err(), "a text is no list of methods");
}

#[tokio::test]
async fn new_keys_are_read_when_they_are_needed_and_not_more_often() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    issuer.sign_in(&provider, |_token| {}).await.unwrap();
    issuer.say("/jwks", Say::Json(json!({"keys": [issuer.jwk("second")]})));
    issuer.sign_in(&provider, header("kid", json!("second"))).await.unwrap();
    let asked = issuer.asked();
    for _ in 0..20 {
        let outcome = issuer.sign_in(&provider, header("kid", json!("third"))).await;
        assert!(matches!(outcome, Err(ProviderError::Token(TokenError::Key))), "{outcome:?}");
    }
    assert_eq!(issuer.asked() - asked, 20, "the token endpoint alone was asked");
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_for_a_while() {
    let issuer = Issuer::start().await;
    let metadata = issuer.metadata();
    issuer.say("/.well-known/openid-configuration", Say::Status(503));
    let provider = issuer.provider();
    for _ in 0..5 {
        let outcome = provider.begin(&[5; 96], NOW).await;
        assert!(matches!(outcome, Err(ProviderError::Unavailable(_))), "{outcome:?}");
    }
    assert_eq!(issuer.asked(), 1);
    issuer.say("/.well-known/openid-configuration", Say::Json(metadata));
    provider.begin(&[5; 96], later(30)).await.unwrap();
}

#[tokio::test]
async fn what_a_provider_publishes_is_bounded_and_its_own() {
    let issuer = Issuer::start().await;
    let with = |name: &str, value: Value| {
        let mut metadata = issuer.metadata();
        metadata[name] = value;
        Say::Json(metadata)
    };
    let elsewhere = Issuer::start().await;
    let cases = [
        ("too long", Say::Bytes(vec![b' '; 300_000])),
        ("nothing", Say::Bytes(Vec::new())),
        ("a redirect", Say::Redirect(format!("{}/.well-known/openid-configuration", elsewhere.url))),
        ("another issuer", with("issuer", json!(elsewhere.url))),
        ("keys at a file", with("jwks_uri", json!("file:///etc/passwd"))),
        ("keys at the metadata service", with("jwks_uri", json!("http://169.254.169.254/latest"))),
        ("keys in a private network", with("jwks_uri", json!("https://10.0.0.1/jwks"))),
        ("a page that is a script", with("authorization_endpoint", json!("javascript:alert(1)"))),
        ("a page without TLS", with("authorization_endpoint", json!("http://idp.example/"))),
    ];
    for (what, say) in cases {
        issuer.say("/.well-known/openid-configuration", say);
        let outcome = issuer.provider().begin(&[5; 96], NOW).await;
        assert!(outcome.is_err(), "{what}");
    }
    assert_eq!(elsewhere.asked(), 0);

    // The token endpoint is checked as well, when the code goes there.
    issuer.say("/.well-known/openid-configuration", with("token_endpoint", json!("https://10.0.0.1/token")));
    let outcome = issuer.sign_in(&issuer.provider(), |_token| {}).await;
    assert!(outcome.is_err());
    issuer.say(
        "/.well-known/openid-configuration",
        with("token_endpoint", json!(format!("{}/moved", issuer.url))),
    );
    issuer.say("/moved", Say::Redirect(format!("{}/token", elsewhere.url)));
    assert!(issuer.sign_in(&issuer.provider(), |_token| {}).await.is_err());
    assert_eq!(elsewhere.asked(), 0, "no code goes elsewhere");
}

#[tokio::test]
async fn a_provider_that_never_ends_its_answer_is_not_waited_for() {
    let issuer = Issuer::start().await;
    issuer.say("/.well-known/openid-configuration", Say::Slowly);
    let outcome = issuer.provider().begin(&[5; 96], NOW).await;
    assert!(matches!(outcome, Err(ProviderError::Unavailable(_))), "{outcome:?}");
}

fn logout(issuer: &Issuer) -> Token {
    let mut token = issuer.token();
    token.header["typ"] = json!("logout+jwt");
    token.claims = json!({
        "iss": issuer.url, "aud": "usher", "iat": seconds(0), "exp": seconds(120), "jti": "one", "sid": "s1", "sub": "00u1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    });
    token
}

#[tokio::test]
async fn a_logout_token_with_one_thing_wrong_is_worth_nothing() {
    let issuer = Issuer::start().await;
    let provider = issuer.provider();
    let good = provider.logout_token(&issuer.encode(&logout(&issuer)), NOW).await.unwrap();
    assert_eq!((good.session.as_deref(), good.subject.unwrap().as_str()), (Some("s1"), "00u1"));
    let cases: Vec<(&str, Change)> = vec![
        ("an ID token", claim("nonce", json!("n"))),
        ("another event", claim("events", json!({"http://schemas.example/other": {}}))),
        (
            "an event that is text",
            claim("events", json!({"http://schemas.openid.net/event/backchannel-logout": ""})),
        ),
        ("no event", without("events")),
        ("another issuer", claim("iss", json!("https://evil.example"))),
        ("another audience", claim("aud", json!("other"))),
        ("a second audience", claim("aud", json!(["usher", "other"]))),
        ("no name of its own", without("jti")),
        ("an empty name", claim("jti", json!(""))),
        ("expired", claim("exp", json!(seconds(-60)))),
        ("no end", without("exp")),
        ("an end that is text", claim("exp", json!("9999999999"))),
        ("from the future", claim("iat", json!(seconds(61)))),
        (
            "nobody",
            Box::new(|token| {
                let claims = token.claims.as_object_mut().unwrap();
                claims.retain(|name, _| name != "sid" && name != "sub");
            }),
        ),
        ("another type", header("typ", json!("at+jwt"))),
        ("none", signed("none", Signed::With(Vec::new()))),
        ("HS256", signed("HS256", Signed::Hmac(SECRET.into()))),
        ("another's signature", signed("ES256", Signed::Stranger)),
        ("an unknown key", header("kid", json!("second"))),
    ];
    for (what, change) in cases {
        let mut token = logout(&issuer);
        change(&mut token);
        let outcome = provider.logout_token(&issuer.encode(&token), NOW).await;
        assert!(matches!(outcome, Err(ProviderError::Token(_))), "{what}: {outcome:?}");
    }
}
