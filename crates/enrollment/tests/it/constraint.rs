//! Name patterns.

use usher_enrollment::NamePattern;

use crate::fixture::host;

#[track_caller]
fn check_pattern(pattern: &str, name: &str, expected: bool) {
    let parsed: NamePattern = pattern.parse().unwrap();
    assert_eq!(parsed.matches(&host(name)), expected, "{pattern} {name}");
    assert_eq!(parsed.to_string(), pattern);
}

#[test]
fn pattern_is_exact_or_a_prefix() {
    check_pattern("web-1", "web-1", true);
    check_pattern("web-1", "web-10", false);
    check_pattern("web-*", "web-1", true);
    check_pattern("web-*", "web-1.example", true);
    check_pattern("web-*", "web", false);
    check_pattern("web-*", "my-web-1", false);
    check_pattern("web.*", "web.a", true);
    check_pattern("*", "anything", true);
}

#[test]
fn refuses_other_patterns() {
    for bad in [
        "",
        "**",
        "web*1",
        "*web",
        "Web-*",
        "web-?",
        "web-[0-9]",
        "-*",
        ".*",
        "a b*",
        "web\n*",
        "wéb*",
        "web-",
        "10.0.0.1",
    ] {
        assert!(bad.parse::<NamePattern>().is_err(), "{bad}");
    }
}
