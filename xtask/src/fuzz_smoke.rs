//! Builds every fuzz target and runs each for a few seconds from its seeds. Needs a nightly toolchain; says so when
//! there is none, and fails, because a skipped check proves nothing.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{out::say, process::Cmd, workspace::root};

/// Seconds for each target.
const SECONDS: &str = "10";

fn fuzz(args: &[&str]) -> Result<Cmd> {
    // Through rustup's `cargo`, which understands `+nightly`; cargo's own variable names the pinned toolchain.
    let command = Cmd::new(["cargo", "+nightly", "fuzz"]).args(args).dir(root()?);
    Ok(command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").limit(Duration::from_secs(1800)))
}

/// Builds all targets and runs each.
///
/// # Errors
/// When the tools cannot be had, a target does not build or finds something.
pub(crate) fn run() -> Result<()> {
    if Cmd::new(["cargo", "+nightly", "--version"]).env_remove("RUSTUP_TOOLCHAIN").output()?.status != 0 {
        bail!("no nightly toolchain: `rustup toolchain install nightly --profile minimal`");
    }
    if fuzz(&["--version"])?.output()?.status != 0 {
        say!("cargo-fuzz is missing: installing it");
        let installed = Cmd::new(["cargo", "install", "--locked", "cargo-fuzz"]).limit(Duration::from_secs(1800)).status()?;
        if installed != 0 {
            bail!("cannot install cargo-fuzz");
        }
    }
    let targets = fuzz(&["list"])?.read().context("cannot list the fuzz targets")?;
    if targets.is_empty() {
        bail!("there are no fuzz targets");
    }
    if fuzz(&["build"])?.status()? != 0 {
        bail!("the fuzz targets do not build");
    }
    for target in targets.lines() {
        one(target)?;
    }
    Ok(())
}

fn one(target: &str) -> Result<()> {
    let seeds = root()?.join("fuzz/seeds").join(target);
    // New inputs go into the first folder, which git ignores; the seeds are only read.
    let corpus = root()?.join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = fuzz(&["run", target])?.arg(&corpus);
    if seeds.is_dir() {
        command = command.arg(&seeds);
    }
    let output = command.args(["--", &format!("-max_total_time={SECONDS}"), "-max_len=16384", "-timeout=10"]).output()?;
    if output.status != 0 {
        bail!("{target} found something: {output}");
    }
    let runs = output.stderr.lines().rev().find(|line| line.starts_with("Done ")).unwrap_or("done");
    say!("fuzz: {target}: {runs}");
    Ok(())
}
