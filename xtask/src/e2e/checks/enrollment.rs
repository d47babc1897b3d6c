//! Joining: one token, many who try.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::stack::{Stack, text};

/// A single-use token makes one server however many agents hold it, and the winner may ask again.
pub(super) fn fifty_redeem_one_token(stack: &mut Stack) -> Result<String> {
    let token = stack.create_token(&["--max-uses", "1"])?;
    let before = stack.servers()?.len();
    let outcome =
        stack.visit("target-2", &["redeem", "--token", &token, "--count", "50", "--name", "fresh-server"])?;
    let after = stack.servers()?.len();
    let count = |key: &str| outcome.get(key).and_then(Value::as_u64);
    let refused = outcome.pointer("/refused/token_refused").and_then(Value::as_u64);
    if count("winners") != Some(1) || refused != Some(49) || after != before + 1 {
        bail!("{before} servers became {after}: {outcome}");
    }
    if outcome.get("repeated") != Some(&Value::Bool(true)) {
        bail!("the winner could not repeat its request: {outcome}");
    }
    if outcome.get("loser_repeated") != Some(&Value::Bool(false)) {
        bail!("a loser got in at the second try: {outcome}");
    }
    let name = text(&outcome, "server").context("no server")?;
    stack.admin(&["server", "delete", &name])?;
    Ok(format!("1 made, 49 refused, {name} repeated and deleted"))
}
