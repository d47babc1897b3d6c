//! House rules that no compiler checks: file headers, sizes, inherited lints and versions, a fixed top level, nothing of
//! anybody's machine, no secrets. Each rule is one function from a file to its offences.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result};

use crate::{layers, process::Cmd, workspace};

/// What may lie at the top of the repository.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "bins",
    "crates",
    "fuzz",
    "rust-toolchain.toml",
    "xtask",
];

/// A file of more lines wants a reason.
const MANY_LINES: usize = 600;
/// A file of more lines is refused.
const TOO_MANY_LINES: usize = 1000;

/// What tidy has to say.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Must be mended.
    pub(crate) offences: Vec<String>,
    /// Should be looked at.
    pub(crate) warnings: Vec<String>,
}

/// Looks at every file of the repository.
///
/// # Errors
/// When git or a file cannot be read.
pub(crate) fn findings() -> Result<Findings> {
    let root = workspace::root()?;
    let mut findings = Findings::default();
    let files = files(root)?;
    let top: BTreeSet<&str> = files.iter().filter_map(|file| file.split('/').next()).collect();
    for name in top.iter().filter(|name| !TOP.contains(name)) {
        findings.offences.push(format!("{name}: the top level is fixed (xtask/src/tidy.rs)"));
    }
    for file in &files {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        if file.ends_with(".rs") {
            rust(file, &text, &mut findings);
        }
        if file.ends_with("Cargo.toml") && file != "Cargo.toml" && !file.starts_with("fuzz/") {
            manifest(file, &text, &mut findings.offences);
        }
        everywhere(file, &text, &mut findings.offences);
    }
    for orphan in orphans(&files, |file| std::fs::read_to_string(root.join(file)).ok()) {
        findings.offences.push(format!("{orphan}: no `mod` leads to it, so nobody compiles it"));
    }
    Ok(findings)
}

/// Source files that no parent declares.
fn orphans(files: &[String], read: impl Fn(&str) -> Option<String>) -> Vec<&str> {
    let declared = |parent: &str, module: &str| {
        let text = read(parent).unwrap_or_default();
        text.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            line.strip_prefix("mod ").is_some_and(|rest| rest.trim_end_matches([';', ' ', '{']) == module)
        })
    };
    let is_orphan = |file: &&str| {
        let Some((folder, name)) = file.rsplit_once('/') else { return false };
        let Some(module) = name.strip_suffix(".rs") else { return false };
        // A root needs no parent; benches and fuzz targets are roots by their manifest, examples by their place.
        let is_root = matches!(name, "lib.rs" | "main.rs" | "build.rs") || folder.ends_with("/examples");
        if is_root || folder == "benches/benches" || folder == "fuzz/fuzz_targets" {
            return false;
        }
        // A folder belongs to the file beside it, or to the crate root in it: `src`, `tests/it`, `src/bin/x`.
        let parents = [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
        !parents.iter().any(|parent| declared(parent, module))
    };
    files.iter().map(String::as_str).filter(is_orphan).collect()
}

/// Tracked files and those that would be added.
fn files(root: &Path) -> Result<Vec<String>> {
    let list =
        Cmd::new(["git", "ls-files", "--cached", "--others", "--exclude-standard"]).dir(root).read()?;
    let mut files: Vec<String> =
        list.lines().filter(|file| root.join(file).is_file()).map(str::to_owned).collect();
    files.sort();
    Ok(files)
}

fn rust(file: &str, text: &str, findings: &mut Findings) {
    let mut offend = |what: &str| findings.offences.push(format!("{file}: {what}"));
    let expected_unsafe = file.starts_with("crates/host/");
    if !text.starts_with("//!") {
        offend("must start with `//!`: what the file is for and what it does not do");
    }
    if file.ends_with("/mod.rs") {
        offend("is `mod.rs`; use `foo.rs` and `foo/`");
    }
    if is_crate_root(file) && !expected_unsafe && !text.contains("#![forbid(unsafe_code)]") {
        offend("is a crate root without `#![forbid(unsafe_code)]`");
    }
    // Split, so that this file passes its own rule.
    for (pattern, what) in [
        (concat!("#[", "ignore"), "an ignored test proves nothing"),
        (concat!("#[", "should_panic"), "say what is wrong with `Result` or `catch_unwind`"),
        (concat!("#[", "allow("), "use `#[expect(..., reason = \"...\")]`"),
        (concat!("#![", "allow("), "use `#![expect(..., reason = \"...\")]`"),
        (concat!("TO", "DO"), "no unfinished work without an issue; no marker at all"),
        (concat!("FIX", "ME"), "no unfinished work without an issue; no marker at all"),
    ] {
        if text.contains(pattern) {
            offend(&format!("`{pattern}`: {what}"));
        }
    }
    pure(file, text, &mut findings.offences);
    let lines = text.lines().count();
    let is_test = file.contains("/tests/") || file.ends_with("/tests.rs");
    if lines > TOO_MANY_LINES && !is_test {
        findings.offences.push(format!("{file}: {lines} lines, more than {TOO_MANY_LINES}"));
    } else if lines > MANY_LINES {
        findings.warnings.push(format!("{file}: {lines} lines, more than {MANY_LINES}"));
    }
}

fn is_crate_root(file: &str) -> bool {
    // Not the fuzz targets: libFuzzer's macro exports a symbol, which counts as unsafe.
    file.ends_with("src/lib.rs") || file.ends_with("src/main.rs")
}

/// Pure crates take time, randomness and bytes as arguments.
fn pure(file: &str, text: &str, offences: &mut Vec<String>) {
    let is_pure = layers::PURE.iter().any(|name| file.starts_with(&format!("crates/{name}/src/")));
    if !is_pure {
        return;
    }
    for world in [
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::net::Tcp",
        "std::net::Udp",
        "SystemTime::now",
        "Instant::now",
        "SysRng",
        "OsRng",
        "tokio::",
    ] {
        if text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(world)) {
            offences.push(format!("{file}: a pure crate may not use `{world}`"));
        }
    }
}

fn manifest(file: &str, text: &str, offences: &mut Vec<String>) {
    if !text.contains("[lints]\nworkspace = true") {
        offences.push(format!("{file}: must inherit the workspace's lints"));
    }
    let mut in_dependencies = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if in_dependencies && line.contains('=') && !line.contains("workspace = true") {
            offences.push(format!("{file}: `{line}` must take its version from the workspace"));
        }
    }
    for key in ["edition", "rust-version", "license", "publish"] {
        if !text.contains(&format!("{key}.workspace = true")) {
            offences.push(format!("{file}: `{key}` must be inherited"));
        }
    }
}

/// Nothing of one machine and nothing secret, in any file.
fn everywhere(file: &str, text: &str, offences: &mut Vec<String>) {
    if file == "Cargo.lock" {
        return;
    }
    // Put together here, so that this file passes its own rule.
    let home = [concat!("/ho", "me/runner"), concat!("/ro", "ot/.cargo"), concat!("/ro", "ot/.rustup")];
    for path in home.iter().filter(|path| text.contains(**path)) {
        offences.push(format!("{file}: names a place of one machine, `{path}`"));
    }
    if let Ok(root) = workspace::root() {
        let here = format!("{}/", root.display());
        // A checkout in a place with a short, common name says nothing.
        if here.len() > 8 && text.contains(&here) {
            offences.push(format!("{file}: names a place of this machine, `{here}`"));
        }
    }
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        // A header alone is what code looks for; a header and a body is a key.
        let header = line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----");
        let body = |next: &&str| next.trim().len() >= 40 && !next.contains([' ', '(']);
        // Seeds of fuzz targets are keys that open nothing.
        if header && lines.peek().is_some_and(body) && !file.starts_with("fuzz/seeds/") {
            offences.push(format!("{file}: holds a private key"));
        }
    }
}

/// Fails with every offence; prints warnings.
///
/// # Errors
/// When there is an offence.
pub(crate) fn check() -> Result<()> {
    let findings = findings().context("cannot look at the repository")?;
    for warning in &findings.warnings {
        crate::out::say!("warning: {warning}");
    }
    if findings.offences.is_empty() { Ok(()) } else { anyhow::bail!("{}", findings.offences.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::{Findings, manifest, rust};

    #[test]
    fn the_repository_is_tidy() {
        super::check().unwrap();
    }

    #[test]
    fn finds_files_that_nobody_compiles() {
        let files = [
            "crates/x/src/lib.rs",
            "crates/x/src/a.rs",
            "crates/x/src/a/b.rs",
            "crates/x/src/left.rs",
            "crates/x/examples/e.rs",
            "crates/x/tests/other/t.rs",
        ];
        let files = files.map(str::to_owned);
        let read = |file: &str| match file {
            "crates/x/src/lib.rs" => Some("//! X.\npub mod a;\n".to_owned()),
            "crates/x/tests/other/main.rs" => Some("mod t;\n".to_owned()),
            "crates/x/src/a.rs" => Some("    pub(crate) mod b;\n".to_owned()),
            _ => None,
        };
        assert_eq!(super::orphans(&files, read), ["crates/x/src/left.rs"]);
    }

    #[test]
    fn finds_what_it_looks_for() {
        let mut findings = Findings::default();
        let ignored = concat!("#[", "ignore]");
        rust("crates/policy/src/lib.rs", &format!("use std::fs;\n{ignored}\n"), &mut findings);
        let all = findings.offences.join("\n");
        for part in ["must start with", "without `#![forbid", "an ignored test", "may not use `std::fs`"] {
            assert!(all.contains(part), "{part} is missing in:\n{all}");
        }
        let mut offences = Vec::new();
        manifest("crates/x/Cargo.toml", "[dependencies]\nserde = \"1\"\n", &mut offences);
        assert_eq!(offences.len(), 6, "{offences:?}");
    }
}
