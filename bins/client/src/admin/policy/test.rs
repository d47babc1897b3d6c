//! `usher policy test`: asks the broker what it would decide about the cases of a file, and compares. Decides nothing.

use std::{net::IpAddr, path::Path};

use serde::{Deserialize, Serialize};
use usher_api::v1::{
    PolicyTest, PolicyTestCase, PolicyTestDecision, PolicyTestResult, PolicyTestSignIn, Purpose, Verdict,
};
use usher_types::{LoginName, UnixTime};

use super::super::api;
use crate::{cli::Context, exit::Failure, output};

/// The broker takes so many at once.
const AT_ONCE: usize = 100;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    version: u32,
    #[serde(rename = "case")]
    cases: Vec<Case>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: Option<String>,
    user: String,
    server: String,
    purpose: Option<Purpose>,
    login: Option<LoginName>,
    from: Option<IpAddr>,
    at: Option<UnixTime>,
    #[serde(default)]
    sign_in: PolicyTestSignIn,
    expect: Expected,
    /// All of them are to be among the reasons.
    #[serde(default)]
    reasons: Vec<String>,
    server_admin: Option<bool>,
    port_forwarding: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Allow,
    Deny,
    StepUp,
}

/// How a case went.
#[derive(Debug, Serialize)]
struct Outcome {
    case: String,
    passed: bool,
    /// What is not as expected.
    wrong: Vec<String>,
    decision: PolicyTestDecision,
}

/// Asks and compares. Fails when a case does.
///
/// # Errors
/// A bad file, what the broker answered, or cases that failed.
pub(super) fn run(context: &Context, file: &Path) -> Result<(), Failure> {
    let cases = parse(&super::read(file)?).map_err(|error| {
        Failure::usage(format!("`{}`: {error}", file.display())).next("the README shows such a file")
    })?;
    let mut api = api(context)?;
    let mut outcomes = Vec::with_capacity(cases.len());
    for (chunk, part) in cases.chunks(AT_ONCE).enumerate() {
        let request = PolicyTest { cases: part.iter().map(asked).collect() };
        let result: PolicyTestResult = api.send("POST", "/v1/policy-test", &request)?;
        let first = chunk.saturating_mul(AT_ONCE).saturating_add(1);
        outcomes.extend((first..).zip(part.iter().zip(result.decisions)).map(
            |(number, (case, decision))| {
                let wrong = wrong(case, &decision);
                let case = case
                    .name
                    .clone()
                    .unwrap_or_else(|| format!("case {number}: {} on {}", case.user, case.server));
                Outcome { case, passed: wrong.is_empty(), wrong, decision }
            },
        ));
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    if outcomes.len() != cases.len() {
        return Err(Failure::other("the broker answered fewer cases than were asked"));
    }
    output::show(context.format, &outcomes, |outcomes| show(outcomes))?;
    match failed {
        0 => Ok(()),
        failed => Err(Failure::other(format!("{failed} of {} cases failed", outcomes.len()))),
    }
}

/// TOML, or JSON when it begins like it.
fn parse(text: &str) -> Result<Vec<Case>, String> {
    let cases: Cases = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    match (cases.version, cases.cases.is_empty()) {
        (1, false) => Ok(cases.cases),
        (1, true) => Err("there is no case in it".to_owned()),
        (version, _) => Err(format!("version {version} is not known; this client knows version 1")),
    }
}

fn asked(case: &Case) -> PolicyTestCase {
    PolicyTestCase {
        user: case.user.clone(),
        server: case.server.clone(),
        purpose: case.purpose.unwrap_or(Purpose::Interactive),
        login: case.login.clone(),
        from: case.from,
        at: case.at,
        sign_in: case.sign_in.clone(),
    }
}

fn wrong(case: &Case, decision: &PolicyTestDecision) -> Vec<String> {
    let mut wrong = Vec::new();
    let got = match decision.verdict {
        Verdict::Allow => Expected::Allow,
        Verdict::AllowAfterSignIn => Expected::StepUp,
        Verdict::Deny => Expected::Deny,
    };
    if got != case.expect {
        wrong.push(format!("expected {}, decided {}", word(case.expect), word(got)));
    }
    let missing = case.reasons.iter().filter(|reason| !decision.codes.contains(reason));
    wrong.extend(missing.map(|reason| format!("expected reason `{reason}`, which is none")));
    let mut differs = |what: &str, expected: Option<bool>, got: bool| {
        if expected.is_some_and(|expected| expected != got) {
            wrong.push(format!("expected {what} to be {}, it is {got}", !got));
        }
    };
    differs("server_admin", case.server_admin, decision.server_admin);
    differs("port_forwarding", case.port_forwarding, decision.port_forwarding);
    wrong
}

fn word(expected: Expected) -> &'static str {
    match expected {
        Expected::Allow => "allow",
        Expected::Deny => "deny",
        Expected::StepUp => "step-up",
    }
}

fn show(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed) {
        let mut line = |indent: &str, said: &str| {
            text.push_str(indent);
            text.extend(said.chars().map(|c| if c.is_control() { '?' } else { c }));
            text.push('\n');
        };
        line("FAILED  ", &outcome.case);
        outcome.wrong.iter().for_each(|wrong| line("        ", wrong));
        let why = outcome.decision.codes.iter().zip(&outcome.decision.reasons);
        why.for_each(|(code, reason)| line("        ", &format!("{code}: {reason}")));
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    text.push_str(&format!("{passed} of {} cases passed\n", outcomes.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASES: &str = r#"
        version = 1

        [[case]]
        name = "alice works by day"
        user = "alice"
        server = "web-1"
        from = "192.0.2.7"
        at = "2026-12-01T12:00:00Z"
        sign_in = { age_seconds = 60, second_factor = false, device = "laptop" }
        expect = "allow"
        port_forwarding = false

        [[case]]
        user = "bob"
        server = "web-1"
        purpose = "command"
        expect = "deny"
        reasons = ["no_access"]
    "#;

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = parse(CASES).unwrap();
        let value: toml::Value = toml::from_str(CASES).unwrap();
        let json = parse(&serde_json::to_string(&value).unwrap()).unwrap();
        assert_eq!(format!("{toml:?}"), format!("{json:?}"));
        assert_eq!(asked(&toml[1]).purpose, Purpose::Command);
        assert!(asked(&toml[1]).sign_in.second_factor);
        assert!(!asked(&toml[0]).sign_in.second_factor);
    }

    #[test]
    fn other_files_are_refused() {
        for (text, said) in [
            ("version = 2\ncase = []", "version 2"),
            ("version = 1\ncase = []", "no case"),
            ("[[case]]\nuser = \"a\"", "missing field"),
            ("version = 1\n[[case]]\nuser = \"a\"\nserver = \"b\"\nexpect = \"maybe\"", "maybe"),
            ("version = 1\n[[case]]\nuser = \"a\"\nserver = \"b\"\nexpect = \"deny\"\nform = \"x\"", "form"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_case_fails_for_whatever_is_not_as_expected() {
        let decision: PolicyTestDecision = serde_json::from_str(
            r#"{"verdict":"deny","codes":["policy"],"reasons":["policy `x` forbids it: \u001b[2J"]}"#,
        )
        .unwrap();
        let mut case = parse(CASES).unwrap().remove(1);
        case.reasons = vec!["policy".to_owned()];
        assert!(wrong(&case, &decision).is_empty());
        case.reasons.push("labels".to_owned());
        case.expect = Expected::Allow;
        case.port_forwarding = Some(true);
        let wrong = wrong(&case, &decision);
        assert_eq!(
            wrong,
            [
                "expected allow, decided deny",
                "expected reason `labels`, which is none",
                "expected port_forwarding to be true, it is false"
            ]
        );
        let text = show(&[Outcome { case: "c\u{7}".to_owned(), passed: false, wrong, decision }]);
        assert!(
            text.contains("policy: policy `x` forbids it: ?[2J") && text.contains("FAILED  c?"),
            "{text}"
        );
        assert!(text.ends_with("0 of 1 cases passed\n"));
    }
}
