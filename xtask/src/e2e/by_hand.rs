//! `cargo xtask lab`: using by hand what `cargo xtask e2e --keep` left up.

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use super::{people::Person, stack::ROOT};
use crate::{
    lab::{self, Host},
    out::say,
    root,
};

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ByHand {
    /// Open a shell on a host, or run a command there.
    Enter {
        /// `client`, `thief`, `broker`, `bastion-1`, `bastion-2`, `target-1` or `target-2`.
        host: String,
        /// As this person instead of root.
        #[arg(long = "as", value_name = "NAME")]
        person: Option<String>,
        /// The command; a shell when absent.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Play the browser: open the address that `usher login --no-browser` printed, and sign in.
    SignIn {
        /// Who.
        name: String,
        /// The address, in quotes.
        address: String,
    },
}

/// Does it on the newest laboratory that was kept.
///
/// # Errors
/// When there is none, or no such host or person.
pub(crate) fn run(what: &ByHand) -> Result<ExitCode> {
    if !rustix::process::geteuid().is_root() {
        return root::again(&[]);
    }
    let dir = lab::newest_kept().context("nothing is up; run `cargo xtask e2e --keep`")?;
    match what {
        ByHand::Enter { host, person, command } => {
            let host = Host::open(&dir, host)?;
            let shell = ["bash".to_owned(), "-l".to_owned()];
            let mut entered = host.cmd(if command.is_empty() { &shell } else { command.as_slice() });
            if let Some(person) = person {
                entered = entered.user(person).env("XDG_RUNTIME_DIR", &format!("/run/user/{person}"));
            }
            let terminal = crate::workspace::env("TERM").unwrap_or_else(|| "dumb".to_owned());
            Err(entered.env("TERM", &terminal).build()?.exec())
        }
        ByHand::SignIn { name, address } => {
            let file = dir.join("people.json");
            let people: Vec<Person> = serde_json::from_slice(&fs::read(&file)?)?;
            let Some(person) = people.iter().find(|person| person.name() == name) else {
                bail!("nobody is called {name}");
            };
            let code = person.code()?;
            fs::write(&file, serde_json::to_vec(&people)?)?;
            let args = ["visit", "sign-in", "--root", ROOT, "--user", name, "--password", person.password()];
            let printed =
                Host::open(&dir, "client")?.xtask(args).args(["--code", &code, "--url", address]).read()?;
            let outcome: serde_json::Value = serde_json::from_str(&printed)?;
            let part = |key: &str| outcome.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
            say!("{}: {}", part("outcome"), part("page"));
            Ok(ExitCode::SUCCESS)
        }
    }
}
