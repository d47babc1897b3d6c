//! Rules about the claims of workloads: what fits, and what cannot be written because too much would.

use std::collections::BTreeMap;

use usher_identity::workload::{ClaimPattern, ClaimRules, ParsePatternError, ParseRulesError};

fn pattern(text: &str) -> ClaimPattern {
    text.parse().unwrap()
}

fn rules(of: &[(&str, &str)]) -> Result<ClaimRules, ParseRulesError> {
    let map: BTreeMap<String, String> =
        of.iter().map(|(claim, value)| ((*claim).to_owned(), (*value).to_owned())).collect();
    ClaimRules::parse(&map)
}

#[test]
fn a_value_without_a_wildcard_fits_itself_alone() {
    let main = pattern("refs/heads/main");
    assert!(main.fits("refs/heads/main"));
    for other in [
        "refs/heads/main2",
        "refs/heads/mai",
        "refs/heads/Main",
        "refs/heads/main/",
        "/refs/heads/main",
        "refs:heads:main",
        "refs/heads/main ",
        "refs/heads/main\0",
        "",
    ] {
        assert!(!main.fits(other), "{other:?}");
    }
}

#[test]
fn a_wildcard_is_one_whole_segment() {
    let app = pattern("repo:acme/*:ref:refs/heads/main");
    assert!(app.fits("repo:acme/app:ref:refs/heads/main"));
    for other in [
        "repo:acme/:ref:refs/heads/main",
        "repo:acme/app/x:ref:refs/heads/main",
        "repo:acme/app:x:ref:refs/heads/main",
        "repo:acme-evil/app:ref:refs/heads/main",
        "repo:acme/app:ref:refs/heads/main:x",
        "repo:acme/app:ref:refs/heads/main2",
        "repo:acme/app:environment:ref:refs/heads/main",
        "repo:acme/app/ref:refs/heads/main",
    ] {
        assert!(!app.fits(other), "{other}");
    }
    let last = pattern("refs/tags/*");
    assert!(last.fits("refs/tags/v1"));
    assert!(last.fits("refs/tags/*"));
    assert!(!last.fits("refs/tags/") && !last.fits("refs/tags") && !last.fits("refs/tags/v1/x"));
}

#[test]
fn what_would_fit_by_accident_cannot_be_written() {
    for text in ["repo:acme/app*", "repo:acme/a*p:x", "refs/heads/**", "v*", "acme/*app"] {
        assert_eq!(text.parse::<ClaimPattern>(), Err(ParsePatternError::Wildcard), "{text}");
    }
    for text in ["*", "*/app", "*:acme/app"] {
        assert_eq!(text.parse::<ClaimPattern>(), Err(ParsePatternError::Beginning), "{text}");
    }
    for text in ["", "a\nb", "a\0", &"a".repeat(257)] {
        assert_eq!(text.parse::<ClaimPattern>(), Err(ParsePatternError::Text), "{text:?}");
    }
}

#[test]
fn rules_name_somebody() {
    assert_eq!(rules(&[]), Err(ParseRulesError::Nobody));
    assert_eq!(rules(&[("ref", "refs/heads/main"), ("actor", "octocat")]), Err(ParseRulesError::Nobody));
    assert!(rules(&[("repository", "acme/app"), ("ref", "refs/heads/main")]).is_ok());
    for claim in ["iss", "aud", "exp", "", "a b", "a\n"] {
        let refused = rules(&[("sub", "x"), (claim, "y")]).unwrap_err();
        assert!(matches!(refused, ParseRulesError::Claim(_)), "{claim:?}: {refused}");
    }
    let many: Vec<(String, String)> = (0..17).map(|number| (format!("c{number}"), "x".to_owned())).collect();
    assert_eq!(ClaimRules::parse(&many.into_iter().collect()), Err(ParseRulesError::Many));
}

#[test]
fn every_rule_must_hold() {
    let wanted = rules(&[("repository", "acme/app"), ("ref", "refs/heads/main")]).unwrap();
    let broken = |repository: Option<&'static str>, branch: Option<&'static str>| {
        wanted.broken_by(|claim| if claim == "ref" { branch } else { repository }).map(str::to_owned)
    };
    assert_eq!(broken(Some("acme/app"), Some("refs/heads/main")), None);
    assert_eq!(broken(Some("acme/app"), Some("refs/heads/dev")).as_deref(), Some("ref"));
    assert_eq!(broken(Some("acme/app"), None).as_deref(), Some("ref"));
    assert_eq!(broken(Some("evil/app"), Some("refs/heads/main")).as_deref(), Some("repository"));
    let read: ClaimRules = serde_json::from_str(&serde_json::to_string(&wanted).unwrap()).unwrap();
    assert_eq!(read, wanted);
    assert!(serde_json::from_str::<ClaimRules>(r#"{"repository": "*"}"#).is_err());
}
