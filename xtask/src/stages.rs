//! `cargo xtask test`: everything that must pass, stage by stage, with the time of each. The same command runs in
//! continuous integration with `--ci`, which adds what a newcomer need not have.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    bench,
    clock::Stopwatch,
    codegen, fuzz, interrupt, layers,
    out::say,
    packages::{self, Consent},
    process::Cmd,
    tidy, workspace,
};

/// What to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// As in continuous integration: never ask, and add the fuzz and bench smoke.
    #[arg(long)]
    ci: bool,
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
    /// Heavy loops at full length.
    #[arg(long)]
    full: bool,
    /// Only stages whose names contain this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
}

type Stage = (&'static str, Box<dyn Fn() -> Result<()>>);

fn cargo(
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
) -> Box<dyn Fn() -> Result<()>> {
    Box::new(move || {
        let mut command = workspace::cargo()?.args(args);
        for (key, value) in env {
            command = command.env(key, value);
        }
        let status = command.status()?;
        if status == 0 { Ok(()) } else { bail!("{command} ended with {status}") }
    })
}

fn stages(options: &Options) -> Vec<Stage> {
    let (ci, full) = (options.ci, options.full);
    let mut stages: Vec<Stage> = vec![
        ("fmt", cargo(&["fmt", "--all", "--", "--check"], &[])),
        ("layers", Box::new(layers::check)),
        ("tidy", Box::new(tidy::check)),
        ("codegen", Box::new(|| codegen::run(codegen::Mode::Check))),
        (
            "clippy",
            cargo(
                &["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
                &[],
            ),
        ),
        ("nextest", Box::new(move || nextest(ci, full))),
        ("doc tests", cargo(&["test", "--quiet", "--workspace", "--doc", "--locked"], &[])),
        (
            "docs",
            cargo(
                &["doc", "--quiet", "--workspace", "--no-deps", "--locked"],
                &[("RUSTDOCFLAGS", "-D warnings")],
            ),
        ),
    ];
    if ci {
        stages.push(("bench smoke", Box::new(|| bench::run(bench::Mode::Smoke))));
        stages.push(("fuzz smoke", Box::new(move || fuzz::smoke(if full { 60 } else { 10 }))));
    }
    stages.push(("e2e", Box::new(move || run_e2e(ci, &[]))));
    stages.push(("e2e, two brokers on PostgreSQL", Box::new(move || run_e2e(ci, &two_brokers(ci)))));
    stages.push(("e2e, keys in a KMS", Box::new(move || run_e2e(ci, &keys_in_kms(ci)))));
    // What only this variant has.
    let idp = ["--idp", "oidc", "--only", "identity provider"];
    stages.push(("e2e, an identity provider", Box::new(move || run_e2e(ci, &idp))));
    stages
}

fn nextest(ci: bool, full: bool) -> Result<()> {
    if workspace::cargo()?.args(["nextest", "--version"]).output()?.status != 0 {
        say!("installing cargo-nextest");
        let install = ["install", "--locked", "cargo-nextest"];
        if workspace::cargo()?.args(install).status()? != 0 {
            bail!("cargo-nextest cannot be installed");
        }
    }
    let profile = if ci { "ci" } else { "default" };
    let run = ["nextest", "run", "--workspace", "--locked", "--no-tests", "fail", "--profile", profile];
    let mut command = workspace::cargo()?.args(run).args(["--status-level", "fail", "--hide-progress-bar"]);
    if full {
        // Races and property tests multiply their rounds by it.
        command = command.env("USHER_TEST_FULL", "1");
    } else {
        // Property tests say how many cases they want; this is for those that do not.
        command = command.env("PROPTEST_CASES", "64");
    }
    if !rustix::process::geteuid().is_root() {
        // Built as the user, run as root: many tests make namespaces and accounts. Asked for here, where one can answer.
        if Cmd::new(["sudo", "-v"]).status()? != 0 {
            bail!("tests that make namespaces and accounts need root: run as root, or with sudo at hand");
        }
        let architecture = std::env::consts::ARCH.to_uppercase();
        let runner = format!("CARGO_TARGET_{architecture}_UNKNOWN_LINUX_GNU_RUNNER");
        command = command.env(runner, "sudo --preserve-env");
    }
    let status = command.status()?;
    if status == 0 { Ok(()) } else { bail!("nextest ended with {status}") }
}

fn two_brokers(ci: bool) -> Vec<&'static str> {
    let mut args = vec!["--database", "postgres", "--brokers", "2"];
    if !ci {
        // What only this variant has, and one login.
        args.extend([
            "--only",
            "several brokers",
            "--only",
            "database server",
            "--only",
            "usher ssh target-1",
        ]);
    }
    args
}

/// Many rounds of the tests that race a disable against certificates, on both engines.
///
/// # Errors
/// When a test fails.
pub(crate) fn races(runs: u32) -> Result<()> {
    let test = [
        "test",
        "--locked",
        "--package",
        "usher-broker",
        "--test",
        "it",
        "--test",
        "postgres",
        "--no-fail-fast",
    ];
    let test = test.iter().chain(&["races::", "--", "--nocapture", "--test-threads", "1"]);
    let status = workspace::cargo()?.args(test).env("USHER_TEST_RUNS", runs.to_string()).status()?;
    if status == 0 { Ok(()) } else { bail!("the races ended with {status}") }
}

fn keys_in_kms(ci: bool) -> Vec<&'static str> {
    let mut args = vec!["--kms", "moto"];
    if !ci {
        args.extend(["--only", "KMS", "--only", "usher ssh target-1"]);
    }
    args
}

/// In a process of its own: it may have to become root.
fn run_e2e(ci: bool, variant: &[&str]) -> Result<()> {
    let mut command = Cmd::new([workspace::own_executable()?]).arg("e2e").args(variant).limit(Duration::MAX);
    if ci {
        command = command.arg("--ci");
    }
    let status = command.status()?;
    if status == 0 { Ok(()) } else { bail!("e2e ended with {status}") }
}

/// Runs all stages, also after one has failed.
///
/// # Errors
/// When packages are missing and may not be installed; failed stages are in the exit code.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let consent = if options.ci || options.yes { Consent::Given } else { Consent::Ask };
    // Some tests drive real sshd, sudo and useradd.
    packages::ensure(consent)?;
    let whole = Stopwatch::start();
    let mut results = Vec::new();
    for (name, stage) in stages(options) {
        if interrupt::requested() {
            break;
        }
        if !options.only.is_empty() && !options.only.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        say!("== {name}");
        let watch = Stopwatch::start();
        let result = stage();
        if let Err(error) = &result {
            say!("{error:#}");
        }
        results.push((name, result.is_ok(), watch.elapsed()));
    }
    say!();
    for (name, passed, took) in &results {
        say!("{:>8.1} s  {:<4} {name}", took.as_secs_f32(), if *passed { "ok" } else { "FAIL" });
    }
    say!("{:>8.1} s  in all", whole.elapsed().as_secs_f32());
    let failed = results.iter().filter(|(_, passed, _)| !passed).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    Ok(if failed == 0 && !results.is_empty() && !interrupt::requested() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
