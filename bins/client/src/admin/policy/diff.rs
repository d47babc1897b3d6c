//! `usher policy diff`: asks the broker whom a proposed set of rules would give or take what, and shows it. Decides nothing.

use std::{net::IpAddr, path::Path};

use usher_api::v1::{PolicyChange, PolicyDiff, PolicyDiffResult, PolicyDifference, PolicyReach, Purpose};
use usher_types::UnixTime;

use super::super::api;
use crate::{cli::Context, exit::Failure, output};

/// The circumstances that are compared for.
#[derive(Clone, Debug, clap::Args)]
pub struct Circumstances {
    /// Compare for clients at this address only
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// Compare for this time only, RFC 3339
    #[arg(long, value_name = "TIME")]
    at: Option<UnixTime>,
    /// Compare for `interactive` or `command` only
    #[arg(long, value_name = "PURPOSE", value_parser = crate::cli::wire_value::<Purpose>)]
    purpose: Option<Purpose>,
}

/// More names in a line help nobody; JSON has all.
const NAMED: usize = 20;

/// Asks and shows.
///
/// # Errors
/// A bad file, or what the broker answered.
pub(super) fn run(context: &Context, file: &Path, circumstances: &Circumstances) -> Result<(), Failure> {
    let mut proposed = parse(&super::read(file)?).map_err(|error| {
        Failure::usage(format!("`{}`: {error}", file.display())).next("the README shows such a file")
    })?;
    proposed.from = circumstances.from.or(proposed.from);
    proposed.at = circumstances.at.or(proposed.at);
    proposed.purpose = circumstances.purpose.or(proposed.purpose);
    let result: PolicyDiffResult = api(context)?.send("POST", "/v1/policy-diff", &proposed)?;
    output::show(context.format, &result, show)
}

/// TOML, or JSON when it begins like it; the API's own request with the version of the file.
fn parse(text: &str) -> Result<PolicyDiff, String> {
    let mut value: serde_json::Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        toml::from_str(text).map_err(|error| error.to_string())?
    };
    match value.as_object_mut().and_then(|members| members.remove("version")) {
        Some(version) if version == 1 => serde_json::from_value(value).map_err(|error| error.to_string()),
        Some(version) => Err(format!("version {version} is not known; this client knows version 1")),
        None => Err("it does not say `version = 1`".to_owned()),
    }
}

fn show(result: &PolicyDiffResult) -> String {
    let mut text = String::new();
    for difference in &result.differences {
        text.push_str(&line(difference));
    }
    if result.differences.is_empty() {
        text.push_str("nobody gains or loses anything\n");
    }
    text.push_str(&format!("compared {} users and {} servers\n", result.users, result.servers));
    text
}

fn line(difference: &PolicyDifference) -> String {
    let verb = match difference.change {
        PolicyChange::Change => "~",
        PolicyChange::Gain => "+",
        PolicyChange::Loss => "-",
    };
    let who = named(difference.users.iter().map(|one| {
        if one.user.as_str() == one.login.as_str() {
            one.user.to_string()
        } else {
            format!("{} (as {})", one.user, one.login)
        }
    }));
    let servers = named(difference.servers.iter().map(ToString::to_string));
    let what = match (&difference.before, &difference.after) {
        (Some(before), Some(after)) => format!("{} -> {}", reach(before), reach(after)),
        (Some(reach_), None) | (None, Some(reach_)) => reach(reach_),
        (None, None) => String::new(),
    };
    let when = &difference.when;
    let purpose = match when.purpose {
        Purpose::Command => "a command",
        Purpose::Interactive => "a terminal",
    };
    format!(
        "{verb} {who}\n    on {servers} of project {}\n    {what}\n    for example {purpose} from {} at {}\n",
        difference.project, when.from, when.at
    )
}

fn named(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

fn reach(reach: &PolicyReach) -> String {
    let mut said = vec!["login"];
    said.extend(reach.server_admin.then_some("sudo"));
    said.extend(reach.port_forwarding.then_some("forwarding"));
    let asked = reach.asks.max_age_seconds.map(|age| format!("a sign-in of at most {age} seconds ago"));
    let asked: Vec<_> = asked
        .into_iter()
        .chain(reach.asks.second_factor.then(|| "a second factor".to_owned()))
        .chain(reach.asks.named_server.then(|| "a sign-in for the server by name".to_owned()))
        .collect();
    if asked.is_empty() {
        said.join(", ")
    } else {
        format!("{} with {}", said.join(", "), asked.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_request_with_a_version() {
        let text = r#"
            version = 1
            removed_policies = ["old"]
            [projects.shop.groups.sre]
            server_access = true
            server_admin = false
            conditions = { networks = ["10.0.0.0/8"] }
            [policies.frozen]
            project = "shop"
            text = "forbid (principal, action, resource);"
        "#;
        let proposed = parse(text).unwrap();
        assert!(proposed.projects[&"shop".parse().unwrap()].groups["sre"].server_access);
        let mut json = serde_json::to_value(&proposed).unwrap();
        assert!(parse(&json.to_string()).unwrap_err().contains("version"));
        json["version"] = 1.into();
        assert_eq!(parse(&json.to_string()).unwrap(), proposed);
        json["version"] = 2.into();
        assert!(parse(&json.to_string()).unwrap_err().contains("version 2"));
        assert!(parse("version = 1\nproject = 3").unwrap_err().contains("project"));
    }

    #[test]
    fn changes_are_a_line_for_all_whom_they_are_the_same_for() {
        let users: Vec<_> = (0..22).map(|n| format!(r#"{{"user":"u{n}","login":"u{n}"}}"#)).collect();
        let json = format!(
            r#"{{"users":22,"servers":1,"differences":[{{"project":"shop","change":"loss","users":[{}],
                "servers":["web-1"],"before":{{"server_admin":true,"port_forwarding":false,
                "asks":{{"second_factor":true}}}},
                "when":{{"purpose":"command","from":"192.0.2.1","at":"2026-12-01T12:00:00Z"}}}}]}}"#,
            users.join(",")
        );
        let text = show(&serde_json::from_str(&json).unwrap());
        assert!(
            text.starts_with("- u0, u1, ") && text.contains("u19 and 2 more\n    on web-1 of project shop\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "    login, sudo with a second factor\n    for example a command from 192.0.2.1 at"
            ),
            "{text}"
        );
        assert!(text.ends_with("compared 22 users and 1 servers\n"));
        let nothing = show(&PolicyDiffResult { users: 1, servers: 1, differences: Vec::new() });
        assert!(nothing.starts_with("nobody gains or loses anything"));
    }
}
