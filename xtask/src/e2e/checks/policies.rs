//! A policy in Cedar: told beforehand whom it takes what, tested, set, denied with its reason, removed.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    super::{admin::ADMIN, stack::Stack},
    step_up::PERSON,
};
use crate::clock;

const NAME: &str = "not-now";
const REASON: &str = "nobody works here tonight";
const TEXT: &str = r#"@reason("nobody works here tonight")
forbid (principal == User::"alice", action == Action::"connect", resource == Server::"target-1");
"#;

/// From the first question to the last answer.
pub(super) fn told_tested_set_and_removed(stack: &mut Stack) -> Result<String> {
    stack.ready(PERSON)?;
    let seen = around(stack);
    // Whatever was seen: the checks behind this one need it open.
    let _removed = stack.admin(&["policy", "remove", NAME]);
    let seen = seen?;
    clock::wait_for_ok("access to be back", clock::PATIENCE, || {
        let output = stack.usher(PERSON, &["ssh", "target-1", "--", "true"])?.output()?;
        if output.status == 0 { Ok(()) } else { bail!("{output}") }
    })?;
    Ok(seen)
}

fn around(stack: &Stack) -> Result<String> {
    let as_admin = |args: &[&str], file: &str| stack.usher(ADMIN, args).map(|run| run.stdin(file));
    let proposed = serde_json::json!({"version": 1, "policies": {NAME: {"text": TEXT}}}).to_string();
    let diff: Value =
        serde_json::from_str(&as_admin(&["policy", "diff", "-", "--output", "json"], &proposed)?.read()?)?;
    let lost = diff.pointer("/differences/0");
    let told = |pointer: &str| lost.and_then(|lost| lost.pointer(pointer)).and_then(Value::as_str);
    if (told("/change"), told("/users/0/user"), told("/servers/0"))
        != (Some("loss"), Some(PERSON), Some("target-1"))
    {
        bail!("the difference was not told: {diff}");
    }
    let cases = |expect: &str| {
        format!("version = 1\n[[case]]\nuser = \"{PERSON}\"\nserver = \"target-1\"\nexpect = \"{expect}\"\n")
    };
    as_admin(&["policy", "test", "-"], &cases("allow"))?.read()?;

    let mistake = as_admin(&["policy", "set", "-", "--name", NAME], "forbid (principal, action,\nresouce);")?
        .output()?;
    if mistake.status == 0 {
        bail!("set with a mistake in it: {mistake}");
    }
    mistake.says("line 2")?;
    as_admin(&["policy", "set", "-", "--name", NAME], TEXT)?.read()?;
    let refused = stack.usher(PERSON, &["ssh", "target-1", "--", "true"])?.output()?;
    if refused.status == 0 {
        bail!("let in against a policy: {refused}");
    }
    refused.says(REASON)?;
    stack.usher(PERSON, &["ssh", "target-2", "--", "true"])?.read()?;
    let failed = as_admin(&["policy", "test", "-"], &cases("allow"))?.output()?;
    if failed.status != 1 {
        bail!("a case that fails ends with {}: {failed}", failed.status);
    }
    failed.says("FAILED")?.says(REASON)?;
    as_admin(&["policy", "test", "-"], &cases("deny"))?.read()?;
    Ok(format!("told before, refused with `{REASON}`, target-2 unharmed"))
}
