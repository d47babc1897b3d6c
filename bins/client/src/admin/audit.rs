//! `usher audit`: the log of everything that was decided.

use std::time::Duration;

use usher_api::v1::AuditPage;

use super::api;
use crate::{cli::Context, clock, exit::Failure, output, output::Format};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Rows of the log, oldest first
    List {
        /// Rows after this position
        #[arg(long, value_name = "POSITION")]
        after: Option<i64>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// The log as it grows; ends with Ctrl-C
    Tail {
        /// Begin after this position; at the end when absent
        #[arg(long, value_name = "POSITION")]
        after: Option<i64>,
    },
}

/// Between two looks at the log.
const POLL: Duration = Duration::from_secs(1);
/// The most that one answer holds.
const PAGE: u32 = 1000;

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: &AuditCommand) -> Result<(), Failure> {
    match *command {
        AuditCommand::List { after, limit } => {
            let page = page(context, after, limit)?;
            output::show(context.format, &page, lines)
        }
        AuditCommand::Tail { after } => tail(context, after),
    }
}

fn page(context: &Context, after: Option<i64>, limit: Option<u32>) -> Result<AuditPage, Failure> {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    if let Some(limit) = limit {
        query.append_pair("limit", &limit.to_string());
    }
    api(context)?.call("GET", "/v1/audit", &query.finish(), None::<&()>)
}

fn tail(context: &Context, after: Option<i64>) -> Result<(), Failure> {
    let mut show = after.is_some();
    let mut position = after;
    loop {
        let page = page(context, position, Some(PAGE))?;
        let full = page.items.len() == usize::try_from(PAGE).unwrap_or(usize::MAX);
        position = page.items.last().map(|event| event.position).or(position).or(Some(0));
        if show {
            match context.format {
                // One object per line, for programs that read a stream.
                Format::Json => page.items.iter().try_for_each(|event| {
                    let line = serde_json::to_string(event)
                        .map_err(|error| Failure::other(format!("cannot write the row: {error}")))?;
                    output::print(&format!("{line}\n"))
                })?,
                Format::Text => output::print(&lines(&page))?,
            }
        }
        if !full {
            // Everything up to here was there before.
            show = true;
            clock::pause(POLL);
        }
    }
}

fn lines(page: &AuditPage) -> String {
    let mut text = String::new();
    for event in &page.items {
        let part = |path: &str| event.event.pointer(path).map(plain).unwrap_or_default();
        text.push_str(&format!(
            "{:>6}  {}  {:<22} {}  by {}\n",
            event.position,
            part("/at"),
            part("/event/type"),
            details(event.event.get("event"), "type"),
            details(event.event.get("actor"), "")
        ));
    }
    text
}

/// `name=value` of everything but one field, which is shown already.
fn details(value: Option<&serde_json::Value>, shown: &str) -> String {
    let Some(fields) = value.and_then(serde_json::Value::as_object) else { return String::new() };
    let pairs = fields.iter().filter(|(name, _)| *name != shown);
    pairs.map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(" ")
}

fn plain(value: &serde_json::Value) -> String {
    // Names in the log are checked ones, but a terminal deserves a second look.
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
