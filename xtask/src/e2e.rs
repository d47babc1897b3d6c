//! `cargo xtask e2e`: the main job on real parts. Brings up a small world of hosts, signs people in, lets them work,
//! attacks what must hold, and says of every check how long it took.

mod admin;
mod brokers;
mod by_hand;
mod checks;
mod idp;
mod kms;
mod outer;
mod people;
mod report;
mod ssh;
mod stack;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

pub(crate) use self::by_hand::{ByHand, run as run_by_hand};
use crate::{
    lab,
    out::say,
    packages::{self, Consent},
    root, workspace,
};

/// What to do.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Install missing packages without asking.
    #[arg(long)]
    yes: bool,
    /// Leave everything up afterwards and say how to use it.
    #[arg(long)]
    keep: bool,
    /// Take down what an earlier `--keep` left up, and stop.
    #[arg(long)]
    down: bool,
    /// Write the results as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// As in continuous integration: never ask.
    #[arg(long)]
    ci: bool,
    /// Run only checks whose names contain this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Print the names of all checks, and stop.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    variant: brokers::Variant,
    /// Do not build; use the binaries that are there.
    #[arg(long)]
    no_build: bool,
}

impl Options {
    fn consent(&self) -> Consent {
        if self.yes || self.ci { Consent::Given } else { Consent::Ask }
    }
}

/// Does it.
///
/// # Errors
/// When it cannot even begin; failed checks are in the exit code.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        checks::of(options.variant).for_each(|check| say!("{}", check.name));
        return Ok(ExitCode::SUCCESS);
    }
    if !rustix::process::geteuid().is_root() {
        // Built as the user, so that the target directory stays theirs.
        if !options.down && !options.no_build {
            build()?;
        }
        return root::again(&["--no-build"]);
    }
    if options.down {
        say!("took down {} laboratories", lab::down_all()?);
        return Ok(ExitCode::SUCCESS);
    }
    packages::ensure(options.consent())?;
    options.variant.install();
    if !options.no_build {
        build()?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    for dead in lab::clean_dead()? {
        say!("cleaned up after a run that was killed: {dead}");
    }
    let mut report = report::Report::start(options.only.clone());
    world(options, &mut report);
    report.finish(options.report.as_deref())
}

/// Brings the world up, checks it, takes it down. Whatever goes wrong is in the report.
fn world(options: &Options, report: &mut report::Report) {
    let before = match outer::Fingerprint::take() {
        Ok(before) => before,
        Err(error) => return report.failed("the machine's own account files can be read", &error),
    };
    let stack = match stack::Stack::up(report, options.variant) {
        Ok(stack) => stack,
        Err(error) => return report.failed("the stack comes up", &error),
    };
    let mut stack = checks::run_all(stack, report);
    if options.keep {
        match stack.keep() {
            Ok(()) => stack.explain(),
            Err(error) => report.failed("the stack can be kept", &error),
        }
    } else {
        let name = stack.prefix().to_owned();
        drop(stack);
        report.step("taken down", &name);
    }
    report.check("outer /etc/passwd, shadow, group and sudoers are unchanged", || before.compare());
}

/// One command, so that shared crates are built once and with one set of features.
fn build() -> Result<()> {
    say!("building usher-broker, usher-agent and usher");
    let build = ["build", "--locked", "-p", "usher-broker", "-p", "usher", "-p", "usher-agent"];
    let status = workspace::cargo()?.args(build).status()?;
    if status == 0 { Ok(()) } else { bail!("the build failed") }
}
