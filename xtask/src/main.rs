//! `cargo xtask`: everything that is done to this repository, in one place. See `--help`.
#![forbid(unsafe_code)]

mod bench;
mod clock;
mod codegen;
mod e2e;
mod fuzz;
mod interrupt;
mod lab;
mod layers;
mod out;
mod packages;
mod process;
mod root;
mod stages;
mod tidy;
mod totp;
mod visit;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::out::say;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "Everything that is done to this repository",
    disable_version_flag = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the main job end to end, on real OpenSSH in namespace hosts.
    E2e(e2e::Options),
    /// Run everything that must pass.
    Test(stages::Options),
    /// Measure: mint and request figures as ratios, start-up times.
    Bench {
        #[command(subcommand)]
        what: Option<bench::What>,
    },
    /// Write the files that code generates.
    Codegen {
        /// Fail when a file differs instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Run every fuzz target for a few seconds (nightly).
    FuzzSmoke {
        /// Seconds for each.
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Use by hand what `e2e --keep` left up.
    Lab {
        #[command(subcommand)]
        what: e2e::ByHand,
    },
    /// Check the dependency table.
    Layers,
    /// Disable users while certificates are being made for them, by this broker, another one, and during an import.
    Races {
        /// Runs of each.
        #[arg(long, default_value_t = 10_000)]
        runs: u32,
    },
    /// Check the house rules.
    Tidy,
    /// The inner stage of a host; only ever run by xtask itself.
    #[command(hide = true)]
    LabInit {
        /// What to build, as JSON.
        plan: String,
    },
    /// Speak from inside a host; only ever run by xtask itself.
    #[command(hide = true)]
    Visit {
        #[command(subcommand)]
        visit: visit::Visit,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            say!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    if !matches!(task, Task::LabInit { .. } | Task::Visit { .. }) {
        interrupt::listen()?;
    }
    let done = match task {
        Task::Bench { what: None } => bench::run(bench::Mode::Measure),
        Task::Bench { what: Some(what) } => bench::whole(&what),
        Task::Codegen { check: true } => codegen::run(codegen::Mode::Check),
        Task::Codegen { check: false } => codegen::run(codegen::Mode::Write),
        Task::E2e(options) => return e2e::run(&options),
        Task::FuzzSmoke { seconds } => fuzz::smoke(seconds),
        Task::Lab { what } => return e2e::run_by_hand(&what),
        Task::LabInit { plan } => lab::init(&plan),
        Task::Layers => layers::check(),
        Task::Races { runs } => stages::races(runs),
        Task::Test(options) => return stages::run(&options),
        Task::Tidy => tidy::check(),
        Task::Visit { visit } => visit::run(visit),
    };
    done.map(|()| ExitCode::SUCCESS)
}
