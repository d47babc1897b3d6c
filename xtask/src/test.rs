//! `cargo xtask test`: everything that must pass, one stage behind the other, each with its time.
//!
//! Every stage uses the same cargo selection (`--workspace --all-targets`), so that features unify the same way and
//! nothing is compiled twice.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::{
    bench, clock::Stopwatch, codegen, e2e, fuzz_smoke, layers, out::say, process::Cmd, tidy,
    workspace,
};

/// How much to test.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Also what a newcomer need not have: fuzzing with a nightly toolchain, benches once each.
    #[arg(long)]
    ci: bool,
    /// Run property tests and races at full length.
    #[arg(long)]
    full: bool,
}

/// One stage: its name and what it does.
struct Stage {
    name: &'static str,
    run: Box<dyn Fn() -> Result<()>>,
}

fn stage(name: &'static str, run: impl Fn() -> Result<()> + 'static) -> Stage {
    Stage { name, run: Box::new(run) }
}

fn cargo(args: &[&str]) -> Result<Cmd> {
    Ok(workspace::cargo()?.args(args).limit(Duration::from_secs(3600)))
}

fn visibly(command: &Cmd) -> Result<()> {
    match command.status()? {
        0 => Ok(()),
        status => bail!("{command} ended with {status}"),
    }
}

/// Runs every stage, also behind one that failed, and prints `N passed, N failed` last.
///
/// # Errors
/// When a stage failed.
pub(crate) fn run(options: Options) -> Result<()> {
    let stages = stages(options);
    let mut results = Vec::new();
    for stage in &stages {
        say!("\n== {}", stage.name);
        let watch = Stopwatch::start();
        let outcome = (stage.run)();
        if let Err(error) = &outcome {
            say!("{}: {error:#}", stage.name);
        }
        results.push((stage.name, outcome.is_ok(), watch.elapsed()));
        if crate::interrupt::requested() {
            bail!("interrupted");
        }
    }
    say!("");
    for (name, passed, took) in &results {
        say!("{:<10} {:>7.1} s  {}", name, took.as_secs_f32(), if *passed { "passed" } else { "FAILED" });
    }
    let failed = results.iter().filter(|(_, passed, _)| !passed).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} stages failed", results.len());
    }
    Ok(())
}

fn stages(options: Options) -> Vec<Stage> {
    let mut stages = vec![
        stage("fmt", || visibly(&cargo(&["fmt", "--all", "--", "--check"])?)),
        stage("layers", layers::run),
        stage("tidy", tidy::run),
        stage("codegen", || codegen::run(true)),
        stage("clippy", || {
            visibly(&cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"])?)
        }),
        stage("nextest", move || nextest(options)),
        stage("doctests", || visibly(&cargo(&["test", "--locked", "--workspace", "--doc"])?)),
        stage("docs", || {
            visibly(&cargo(&["doc", "--locked", "--workspace", "--no-deps"])?.env("RUSTDOCFLAGS", "--deny warnings"))
        }),
        stage("e2e", move || e2e::run(e2e::Options::for_test(options.ci))),
    ];
    if options.ci {
        stages.push(stage("fuzz", fuzz_smoke::run));
        stages.push(stage("benches", bench::smoke));
    }
    stages
}

fn nextest(options: Options) -> Result<()> {
    if cargo(&["nextest", "--version"])?.output()?.status != 0 {
        say!("cargo-nextest is missing: installing it");
        visibly(&cargo(&["install", "--locked", "cargo-nextest"])?).context("cannot install cargo-nextest")?;
    }
    let profile = if options.ci { "ci" } else { "default" };
    let mut command = cargo(&["nextest", "run", "--locked", "--workspace", "--all-targets"])?.args(["--profile", profile]);
    if options.full {
        // Read by proptest itself and by the races, which multiply their rounds by it.
        command = command.env("PROPTEST_CASES", "100000").env("USHER_TEST_FULL", "1");
    }
    visibly(&command)
}
