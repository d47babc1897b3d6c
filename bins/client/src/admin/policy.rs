//! `usher policy`: what is forbidden whatever the roles say, in Cedar.

pub mod diff;
mod test;

use std::{fs, io::Read as _, path::PathBuf};

use usher_api::v1::{Policy, PolicySchema, SetPolicy};
use usher_types::{PolicyName, ProjectSlug};

use super::{api, done, fields, list, or_dash};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// Say whom a proposed set of roles and policies would give or take what, before it is set
    Diff {
        /// The file, TOML or JSON; `-` for stdin
        file: PathBuf,
        /// Where, when and for what people come.
        #[command(flatten)]
        circumstances: diff::Circumstances,
    },
    /// All policies
    List,
    /// Remove a policy: what it forbade is allowed again to whoever has a role
    Remove {
        /// Its name
        name: PolicyName,
    },
    /// What policies may look at, in Cedar's schema language
    Schema,
    /// Set a policy: one `forbid` in Cedar
    Set {
        /// The file with its text, `-` for stdin
        file: PathBuf,
        /// Its name; the file's without `.cedar` when absent
        #[arg(long)]
        name: Option<PolicyName>,
        /// The project whose servers it is about; every server of the team when absent
        #[arg(long)]
        project: Option<ProjectSlug>,
    },
    /// One policy, and what the names in it mean
    Show {
        /// Its name
        name: PolicyName,
    },
    /// Ask what would be decided about the cases of a file, and compare
    Test {
        /// The file, TOML or JSON; `-` for stdin
        file: PathBuf,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Diff { file, circumstances } => diff::run(context, &file, &circumstances),
        PolicyCommand::List => list(context, "/v1/policies", table),
        PolicyCommand::Remove { name } => {
            api(context)?.act("DELETE", &format!("/v1/policies/{name}"))?;
            done(format_args!("removed policy `{name}`"))
        }
        PolicyCommand::Schema => {
            let schema: PolicySchema = api(context)?.get("/v1/policy-schema")?;
            output::show(context.format, &schema, |schema| schema.text.clone())
        }
        PolicyCommand::Set { file, name, project } => {
            let name = match name {
                Some(name) => name,
                None => named_by(&file)?,
            };
            let request = SetPolicy { project, text: read(&file)? };
            let policy: Policy = api(context)?.send("PUT", &format!("/v1/policies/{name}"), &request)?;
            output::show(context.format, &policy, |policy| table(std::slice::from_ref(policy)))
        }
        PolicyCommand::Show { name } => {
            let policy: Policy = api(context)?.get(&format!("/v1/policies/{name}"))?;
            output::show(context.format, &policy, show)
        }
        PolicyCommand::Test { file } => test::run(context, &file),
    }
}

fn named_by(file: &std::path::Path) -> Result<PolicyName, Failure> {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    stem.parse().map_err(|error: usher_types::NameError| {
        Failure::usage(format!("{error}")).next("give the policy a name with `--name`")
    })
}

/// Longer than any file that a command takes.
const LONGEST_FILE: u64 = 1024 * 1024;

/// A file's text; what is too long is the broker's to refuse, but is not read to its end for that.
pub(super) fn read(file: &std::path::Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::io(format_args!("cannot read `{}`", file.display()), &error);
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LONGEST_FILE).read_to_string(&mut text).map_err(wrong)?;
    } else {
        let file = fs::File::open(file).map_err(wrong)?;
        file.take(LONGEST_FILE).read_to_string(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

fn show(policy: &Policy) -> String {
    let names: Vec<_> = policy.names.iter().map(|(name, id)| format!("{name} is {id}")).collect();
    let mut text = fields([
        ("name", policy.name.to_string()),
        ("project", policy.project.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string)),
        ("names", if names.is_empty() { "-".to_owned() } else { names.join(", ") }),
        ("set", policy.updated_at.to_string()),
        ("by", or_dash(policy.updated_by.as_ref())),
    ]);
    text.push('\n');
    // A policy is checked when it is set; all the same it is somebody else's text.
    text.extend(policy.text.chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn table(policies: &[Policy]) -> String {
    let mut table = Table::new(&["name", "project", "set", "by"]);
    for policy in policies {
        table.row([
            policy.name.to_string(),
            policy.project.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string),
            policy.updated_at.to_string(),
            or_dash(policy.updated_by.as_ref()),
        ]);
    }
    table.render()
}
