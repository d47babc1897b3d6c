//! What the administrator does, through the command line like everybody else.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::stack::{PROJECT, Stack, text};

/// The first administrator.
pub(super) const ADMIN: &str = "carol";

/// Users without any role in the team, in the order in which they get their UIDs: 60001 and on.
const USERS: &[&str] = &["alice", "bob", "dave", "erin", "frank"];

impl Stack {
    /// `usher ...` as the administrator, answer as JSON.
    pub(super) fn admin(&self, args: &[&str]) -> Result<Value> {
        let printed = self.usher(ADMIN, &[args, &["--output", "json"]].concat())?.read()?;
        if printed.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&printed).with_context(|| format!("no JSON from {args:?}: {printed}"))
    }

    /// Project, groups, users, and who may do what.
    pub(super) fn make_directory(&mut self) -> Result<()> {
        self.admin(&[&["project", "create", PROJECT], self.variant.project_custody()].concat())?;
        for group in ["developers", "operators"] {
            self.admin(&["group", "create", group])?;
        }
        self.admin(&["group", "assign", "developers", "--project", PROJECT])?;
        self.admin(&["group", "assign", "operators", "--project", PROJECT, "--admin"])?;
        for user in USERS {
            let created = self.admin(&["user", "create", user])?;
            self.admin(&["group", "add", "developers", user])?;
            self.add_person(user)?;
            let set_up = created.get("set_up").context("no set-up code")?.clone();
            self.set_up_person(user, &set_up)?;
        }
        self.admin(&["group", "add", "operators", ADMIN])?;
        Ok(())
    }

    /// A pasted enrollment token for the project.
    pub(super) fn create_token(&self, args: &[&str]) -> Result<String> {
        let create = ["token", "create", "--project", PROJECT, "--description", "e2e"];
        text(&self.admin(&[&create, args].concat())?, "token")
    }

    /// The servers as the administrator sees them.
    pub(super) fn servers(&self) -> Result<Vec<Value>> {
        items(&self.admin(&["server", "list"])?)
    }

    /// One server's row.
    pub(super) fn server(&self, name: &str) -> Result<Value> {
        self.admin(&["server", "show", name])
    }

    /// Approves a device by id.
    pub(super) fn approve_device(&self, id: &str) -> Result<()> {
        self.admin(&["device", "approve", id]).map(drop)
    }

    /// Ids of a user's devices in a state.
    pub(super) fn devices_of(&self, user: &str, state: &str) -> Result<Vec<String>> {
        let devices = items(&self.admin(&["device", "list"])?)?;
        let is =
            |device: &Value, key: &str, wanted: &str| device.get(key).and_then(Value::as_str) == Some(wanted);
        devices
            .iter()
            .filter(|device| is(device, "user_name", user) && is(device, "state", state))
            .map(|device| text(device, "id"))
            .collect()
    }

    /// Enrolls, signs in and gets approved, whatever of it is still to be done.
    pub(super) fn ready(&mut self, name: &str) -> Result<()> {
        if self.person(name)?.signed_in {
            return Ok(());
        }
        self.sign_in(name)?;
        for device in self.devices_of(name, "pending")? {
            self.approve_device(&device)?;
        }
        // Bare names are known from here on.
        self.usher(name, &["servers"])?.read().map(drop)
    }

    /// The audit log from the first row on.
    pub(super) fn audit(&self) -> Result<Vec<Value>> {
        let (dir, mut rows, mut after) = (self.own_device(ADMIN)?, Vec::new(), 0);
        loop {
            let path = format!("/v1/audit?after={after}&limit=1000");
            let answer = self.visit("client", &["call", "--dir", &dir, "GET", &path])?;
            let page = items(answer.get("answer").with_context(|| format!("no audit log: {answer}"))?)?;
            let Some(last) = page.last() else { return Ok(rows) };
            after = last.get("position").and_then(Value::as_i64).context("no position")?;
            rows.extend(page);
        }
    }
}

/// The rows of a list.
pub(super) fn items(value: &Value) -> Result<Vec<Value>> {
    let rows = value.get("items").unwrap_or(value);
    rows.as_array().cloned().with_context(|| format!("not a list: {value}"))
}
