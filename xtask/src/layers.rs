//! Who may depend on whom. The table is the architecture: a new edge is a decision, made here and seen in review.
//! Reads `cargo metadata` and `cargo tree`; says nothing about what code does inside a crate.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::workspace;

/// Crate (without `usher-`) and what it may depend on inside the workspace.
const TABLE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("telemetry", &[]),
    ("ca", &["types"]),
    ("identity", &["types"]),
    ("account-lifecycle", &["types"]),
    ("audit", &["types"]),
    ("api", &["types"]),
    ("policy", &["types", "identity", "ca"]),
    ("enrollment", &["types", "ca"]),
    ("store", &["types", "identity", "policy", "enrollment", "account-lifecycle", "audit", "ca"]),
    ("sign-in", &["types", "identity", "policy", "enrollment", "account-lifecycle", "audit", "ca"]),
    ("keystore", &["types", "ca"]),
    ("host", &["types", "account-lifecycle"]),
    ("api-client", &["types", "api", "identity"]),
    (
        "broker",
        &[
            "types",
            "telemetry",
            "ca",
            "identity",
            "account-lifecycle",
            "audit",
            "api",
            "policy",
            "enrollment",
            "store",
            "sign-in",
            "keystore",
        ],
    ),
    (
        "agent",
        &[
            "types",
            "telemetry",
            "ca",
            "identity",
            "account-lifecycle",
            "api",
            "enrollment",
            "host",
            "api-client",
        ],
    ),
    // The client: its package is named like its binary.
    ("", &["types", "telemetry", "ca", "identity", "account-lifecycle", "api", "enrollment", "api-client"]),
    ("testkit", &["types", "identity", "account-lifecycle", "audit", "api", "ca", "policy", "enrollment"]),
    ("xtask", &["types", "api", "api-client", "ca", "identity", "testkit"]),
];

/// May depend on anything: nothing depends on them.
const FREE: &[&str] = &["benches", "fuzz"];

/// Crates without sockets, files, environment, clock and randomness source.
pub(crate) const PURE: &[&str] =
    &["types", "identity", "account-lifecycle", "audit", "api", "ca", "policy", "enrollment"];

/// External crates that touch the world; a pure crate may not link them.
const WORLDLY: &[&str] = &[
    "axum",
    "getrandom",
    "hyper",
    "hyper-util",
    "reqwest",
    "rustix",
    "rustls",
    "sqlx",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "tower-http",
    "tracing-subscriber",
    "uzers",
];

/// Programs that are handed out and must not hold issuing code.
const WITHOUT_ISSUING: &[&str] = &["usher", "usher-agent"];

fn short(package: &str) -> &str {
    match package {
        "usher" => "",
        other => other.strip_prefix("usher-").unwrap_or(other),
    }
}

/// What cargo knows about the workspace.
///
/// # Errors
/// When cargo fails.
pub(crate) fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(workspace::root()?.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata failed")
}

/// Every offence against the table, one sentence each.
///
/// # Errors
/// When cargo fails.
pub(crate) fn offences() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let members: BTreeSet<String> =
        metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let mut offences: Vec<String> =
        metadata.packages.iter().flat_map(|package| edges(package, &members)).collect();
    for program in WITHOUT_ISSUING.iter().filter(|program| members.contains(**program)) {
        offences.extend(issuing(program)?);
    }
    Ok(offences)
}

fn edges(package: &Package, members: &BTreeSet<String>) -> Vec<String> {
    let from = short(&package.name);
    if FREE.contains(&from) {
        return Vec::new();
    }
    let Some((_, allowed)) = TABLE.iter().find(|(name, _)| *name == from) else {
        return vec![format!("`{}` has no row in the table of xtask/src/layers.rs", package.name)];
    };
    let mut offences = Vec::new();
    for dependency in &package.dependencies {
        let to = short(&dependency.name);
        let internal = members.contains(dependency.name.as_str());
        let offence = match (internal, dependency.kind) {
            // Tests may use fakes, the typed client, and issuing code to make what they need.
            (true, DependencyKind::Development) => {
                !allowed.contains(&to) && !["testkit", "api-client", "ca"].contains(&to)
            }
            (true, _) => !allowed.contains(&to),
            (false, DependencyKind::Development) => false,
            (false, _) => PURE.contains(&from) && WORLDLY.contains(&to),
        };
        if offence {
            offences.push(format!("`{}` must not depend on `{}`", package.name, dependency.name));
        }
        let asks_for_issuing =
            to == "ca" && internal && dependency.features.iter().any(|name| name == "issue");
        if asks_for_issuing
            && !["broker", "keystore"].contains(&from)
            && dependency.kind != DependencyKind::Development
        {
            offences.push(format!("`{}` must not turn on `usher-ca/issue`", package.name));
        }
        if to == "ca" && internal && dependency.uses_default_features {
            offences.push(format!("`{}` must take usher-ca without default features", package.name));
        }
    }
    offences
}

/// A stolen agent or client must hold no issuing code: asks cargo what would be linked.
fn issuing(program: &str) -> Result<Vec<String>> {
    let tree = workspace::cargo()?
        .args(["tree", "--quiet", "--offline", "--prefix", "none", "--edges", "features,no-dev"])
        .args(["--package", program])
        .read()?;
    let bad = |line: &&str| {
        line.starts_with("usher-ca feature \"issue\"")
            || ["usher-policy ", "usher-store ", "usher-keystore ", "usher-sign-in "]
                .iter()
                .any(|name| line.starts_with(name))
    };
    Ok(tree.lines().filter(bad).map(|line| format!("`{program}` links `{line}`")).collect())
}

/// Fails with every offence.
///
/// # Errors
/// When there is one.
pub(crate) fn check() -> Result<()> {
    let offences = offences()?;
    if offences.is_empty() { Ok(()) } else { anyhow::bail!("{}", offences.join("\n")) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_dependency_is_in_the_table() {
        let offences = super::offences().unwrap();
        assert!(offences.is_empty(), "{}", offences.join("\n"));
    }
}
