//! PKCE S256.

use usher_identity::pkce::CodeVerifier;

#[test]
fn challenge_is_the_one_of_rfc_7636_appendix_b() {
    let verifier = CodeVerifier::parse("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
    assert_eq!(verifier.challenge().to_string(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn matches_its_own_challenge_only() {
    let (one, two) = (CodeVerifier::new([1; 32]), CodeVerifier::new([2; 32]));
    assert!(one.matches(&one.challenge()));
    assert!(!one.matches(&two.challenge()));
    assert_eq!(CodeVerifier::parse(one.reveal()).unwrap().challenge(), one.challenge());
}

#[test]
fn refuses_verifiers_of_another_form() {
    let (short, long) = ("a".repeat(42), "a".repeat(129));
    let (space, accent) = (format!("{} ", "a".repeat(43)), format!("{}é", "a".repeat(43)));
    for bad in ["", &short, &long, &space, &accent] {
        assert!(CodeVerifier::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn prints_no_secret() {
    assert_eq!(format!("{:?}", CodeVerifier::new([1; 32])), "CodeVerifier([secret])");
}
