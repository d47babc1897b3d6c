//! `usher audit`: the log of everything that was decided and changed.

use std::time::Duration;

use usher_api::v1::{AuditEvent, AuditOrder, AuditPage, AuditQuery};
use usher_types::UnixTime;

use super::api;
use crate::{api::Api, cli::Context, clock, exit::Failure, output, output::Format};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// Find rows of the log, newest first
    Search {
        /// What rows have to have
        #[command(flatten)]
        filter: Filter,
        /// At most this many
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Oldest first
        #[arg(long)]
        oldest_first: bool,
    },
    /// The end of the log, newest row last
    Tail {
        /// What rows have to have
        #[command(flatten)]
        filter: Filter,
        /// Go on showing what is written; ends with Ctrl-C
        #[arg(long, short)]
        follow: bool,
        /// This many rows to begin with
        #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
        limit: u32,
    },
}

/// What rows have to have: all of it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Events of this type (`user.disable`), or of all types of a noun (`user`)
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Done by this user or server, or by `operator`, `system` or `anonymous`
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// By or about this user (name or id)
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// By or about this server (name or id)
    #[arg(long, value_name = "SERVER")]
    server: Option<String>,
    /// About this project (name or id)
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
    /// Not before this time: RFC 3339, or so long ago as `90m`, `12h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<UnixTime>,
    /// Not after this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<UnixTime>,
    /// Rows that hold this text, in either case
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl Filter {
    fn query(&self) -> AuditQuery {
        let Self { r#type, actor, user, server, project, since, until, text } = self.clone();
        AuditQuery { r#type, actor, user, server, project, since, until, text, ..AuditQuery::default() }
    }
}

/// A time, or how long ago it was.
fn time(text: &str) -> Result<UnixTime, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || "expected a time such as 2026-11-24T12:00:00Z, or 90m, 12h, 7d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    Ok(clock::now().saturating_sub(Duration::from_secs(number.saturating_mul(seconds))))
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
    let mut api = api(context)?;
    match command {
        AuditCommand::Search { filter, limit, oldest_first } => {
            let order = if *oldest_first { AuditOrder::Oldest } else { AuditOrder::Newest };
            let page = find(&mut api, filter.query(), order, *limit)?;
            output::show(context.format, &page, |page| lines(&page.items))
        }
        AuditCommand::Tail { filter, follow, limit } => {
            let mut page = find(&mut api, filter.query(), AuditOrder::Newest, *limit)?;
            page.items.reverse();
            if !follow {
                return output::show(context.format, &page, |page| lines(&page.items));
            }
            stream(context.format, &page.items)?;
            follow_on(context.format, &mut api, filter.query(), page.follow)
        }
    }
}

fn call(api: &mut Api, query: &AuditQuery) -> Result<AuditPage, Failure> {
    api.call("GET", "/v1/audit", &query.to_query(), None::<&()>)
}

/// The first `limit` rows. The broker looks at so many rows for one answer, so this asks on until there are enough.
fn find(api: &mut Api, mut query: AuditQuery, order: AuditOrder, limit: u32) -> Result<AuditPage, Failure> {
    query.order = Some(order);
    query.limit = Some(limit.clamp(1, PAGE));
    let mut found = call(api, &query)?;
    loop {
        let have = u32::try_from(found.items.len()).unwrap_or(u32::MAX);
        let Some(next) = found.next.take_if(|_next| have < limit) else { return Ok(found) };
        query.cursor = Some(next);
        query.limit = Some(limit.saturating_sub(have).clamp(1, PAGE));
        let more = call(api, &query)?;
        found.items.extend(more.items);
        found.next = more.next;
    }
}

fn follow_on(
    format: Format,
    api: &mut Api,
    mut query: AuditQuery,
    mut cursor: String,
) -> Result<(), Failure> {
    query.order = Some(AuditOrder::Oldest);
    query.limit = Some(PAGE);
    loop {
        query.cursor = Some(cursor);
        let page = call(api, &query)?;
        stream(format, &page.items)?;
        if page.next.is_none() {
            clock::pause(POLL);
        }
        cursor = page.follow;
    }
}

/// One object per line, for programs that read a stream.
fn stream(format: Format, items: &[AuditEvent]) -> Result<(), Failure> {
    match format {
        Format::Json => items.iter().try_for_each(|event| {
            let line = serde_json::to_string(event)
                .map_err(|error| Failure::other(format!("cannot write the row: {error}")))?;
            output::print(&format!("{line}\n"))
        }),
        Format::Text => output::print(&lines(items)),
    }
}

fn lines(items: &[AuditEvent]) -> String {
    let mut text = String::new();
    for event in items {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_distances() {
        assert_eq!(time("2026-11-24T12:00:00Z"), Ok(UnixTime::from_secs(1_795_521_600)));
        // Read first: the clock goes on.
        let hour_ago = time("1h").unwrap();
        let hour = clock::now().since(hour_ago).as_secs();
        assert!((3600..3660).contains(&hour), "{hour}");
        assert!(time("7d").unwrap() < time("12h").unwrap());
        for bad in ["", "h", "-1h", "1y", "1.5h", "yesterday", "\u{664}h"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn searches_become_queries() {
        let filter =
            Filter { user: Some("a b&c".to_owned()), r#type: Some("user".to_owned()), ..Filter::default() };
        assert_eq!(filter.query().to_query(), "type=user&user=a%20b%26c");
        assert_eq!(Filter::default().query().to_query(), "");
    }
}
