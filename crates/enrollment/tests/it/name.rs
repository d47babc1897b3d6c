//! Names that servers get.

use std::collections::BTreeSet;

use usher_enrollment::{MAX_NAME_ATTEMPTS, allocate_name};
use usher_types::HostName;

use crate::fixture::host;

#[track_caller]
fn check(claimed: &str, taken: &[&str], expected: &str) {
    let taken: BTreeSet<HostName> = taken.iter().map(|name| host(name)).collect();
    assert_eq!(allocate_name(&host(claimed), |name| taken.contains(name)).unwrap().as_str(), expected);
}

#[test]
fn a_free_name_is_given() {
    check("web", &["web-1"], "web");
}

#[test]
fn a_taken_name_gets_the_first_free_number() {
    check("web", &["web"], "web-2");
    check("web", &["web", "web-2", "web-4"], "web-3");
    check("web-2", &["web-2"], "web-2-2");
    check("web.example", &["web.example"], "web.example-2");
}

#[test]
fn a_long_name_is_shortened_for_the_number() {
    let long = "a".repeat(63);
    check(&long, &[&long], &format!("{}-2", "a".repeat(61)));
    // The cut falls behind a separator, which no name ends with.
    let dotted = format!("{}.aa", "a".repeat(60));
    check(&dotted, &[&dotted], &format!("{}-2", "a".repeat(60)));
}

#[test]
fn gives_up_when_everything_is_taken() {
    let mut asked = 0;
    let refused = allocate_name(&host("web"), |_| {
        asked += 1;
        true
    });
    assert_eq!(refused.unwrap_err().to_string(), "`web` and every numbered form of it is taken");
    assert_eq!(asked, MAX_NAME_ATTEMPTS);
}
