//! Figures: the criterion benches, which compare within one run, and how long the client's short-lived commands take to
//! start. Absolute times say little across machines, ratios do.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::{out::say, process::Cmd, workspace};

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Measure, in release builds.
    Measure,
    /// Run every bench once without timing: it must not rot.
    Smoke,
}

/// What is measured for itself.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// The broker as a whole: requests per second for a connection, on one core, at several concurrencies; with `--kms 5`,
    /// what it adds to a signature of a KMS that takes five milliseconds; with `--scim 100000 --seconds 20`, an import of
    /// so many users meanwhile.
    Broker {
        /// One JSON object instead of a table, and whatever else the program takes: see its `--help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The audit log as the store writes it: rows per second.
    Ledger {
        /// Passed on to the program: see its `--help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Builds what is measured, and what measures it, as they are shipped; then runs that.
///
/// # Errors
/// When something does not build, or the measurement fails.
pub(crate) fn whole(what: &What) -> Result<()> {
    let (packages, program, args): (&[&str], _, _) = match what {
        What::Broker { args } => (&["usher-broker", "usher-benches"], "bench-broker", args),
        What::Ledger { args } => (&["usher-benches"], "bench-ledger", args),
    };
    for package in packages {
        // One by one: together, the broker would get the features that the bench asks for.
        let build = ["build", "--quiet", "--release", "--locked", "--bins", "--package", package];
        if workspace::cargo()?.args(build).status()? != 0 {
            bail!("`{package}` does not build");
        }
    }
    let built = workspace::target_dir()?.join("release");
    let mut command = Cmd::new([built.join(program)]).args(args);
    if let What::Broker { .. } = what {
        command = command.arg("--broker").arg(built.join("usher-broker"));
    }
    if command.status()? == 0 { Ok(()) } else { bail!("`{program}` failed") }
}

/// Runs them.
///
/// # Errors
/// When one fails to build or run, or misses what the design promises.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let arguments: &[&str] = match mode {
        // criterion's own test mode: each function once.
        Mode::Smoke => &["test", "--quiet", "--locked", "--package", "usher-benches", "--benches"],
        Mode::Measure => &["bench", "--locked", "--package", "usher-benches"],
    };
    if workspace::cargo()?.args(arguments).status()? != 0 {
        bail!("the benches failed");
    }
    if mode == Mode::Measure { start_up() } else { Ok(()) }
}

/// `usher resolve -q` runs before every ssh, `usher proxy` in it.
fn start_up() -> Result<()> {
    let build = ["build", "--quiet", "--release", "--locked", "--package", "usher"];
    if workspace::cargo()?.args(build).status()? != 0 {
        bail!("the client does not build");
    }
    let usher = workspace::target_dir()?.join("release/usher");
    let home = workspace::target_dir()?.join("bench-home");
    std::fs::create_dir_all(&home)?;
    let mut late = Vec::new();
    let commands: [(&str, &[&str], u64); 2] = [
        ("usher resolve -q", &["resolve", "-q", "no-such-name"], 5),
        ("usher proxy", &["proxy", "--help"], 10),
    ];
    for (name, args, bound_ms) in commands {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..50 {
            let watch = crate::clock::Stopwatch::start();
            Cmd::new([&usher]).args(args).env("HOME", &home).env("XDG_RUNTIME_DIR", &home).output()?;
            times.push(watch.elapsed());
        }
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        say!("{name}: median {:.2} ms of 50 starts (bound {bound_ms} ms)", median.as_secs_f64() * 1000.0);
        if median > Duration::from_millis(bound_ms) {
            late.push(name);
        }
    }
    if late.is_empty() { Ok(()) } else { bail!("too slow to start: {}", late.join(", ")) }
}
