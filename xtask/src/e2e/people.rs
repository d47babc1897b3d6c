//! People: an account on the client host each, a password and a second factor at the broker.

use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stack::{ROOT, Stack, text};
use crate::{
    clock,
    lab::{Background, HostCmd},
    totp,
};

/// Somebody who uses Usher.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Person {
    name: String,
    pub(super) password: String,
    pub(super) totp_secret: String,
    pub(super) signed_in: bool,
    last_step: AtomicI64,
}

impl Person {
    /// Account on the client host, user name at the broker.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The password.
    pub(super) fn password(&self) -> &str {
        &self.password
    }

    /// A code that was not used yet. A broker takes the codes of the last, this and the next half minute, each once;
    /// only when all three are used up, this waits for time to pass.
    pub(super) fn code(&self) -> Result<String> {
        let step = clock::wait_for(&format!("a fresh TOTP code for {}", self.name), clock::PATIENCE, || {
            let now = totp::step_at(clock::now().as_secs());
            let next = (self.last_step.load(Ordering::Relaxed) + 1).max(now - 1);
            (next <= now + 1).then_some(next)
        })?;
        self.last_step.store(step, Ordering::Relaxed);
        totp::code(&self.totp_secret, step)
    }
}

impl Stack {
    /// Gives somebody an account on the client host.
    pub(super) fn add_person(&mut self, name: &'static str) -> Result<()> {
        for host in ["client", "thief"] {
            let host = self.host(host)?;
            host.cmd(["useradd", "--create-home", "--shell", "/bin/bash", name]).read()?;
            host.cmd(["install", "-d", "-m", "700", "-o", name, &format!("/run/user/{name}")]).read()?;
        }
        let person = Person {
            name: name.to_owned(),
            password: format!("correct horse battery {name}"),
            totp_secret: String::new(),
            signed_in: false,
            last_step: AtomicI64::new(0),
        };
        self.people.insert(name, person);
        Ok(())
    }

    /// Somebody.
    pub(super) fn person(&self, name: &str) -> Result<&Person> {
        self.people.get(name).with_context(|| format!("nobody is called {name}"))
    }

    /// A command on the client host as that person.
    pub(super) fn as_person<'a>(&'a self, name: &str, argv: &[&str]) -> Result<HostCmd<'a>> {
        let runtime = format!("/run/user/{name}");
        Ok(self.client()?.cmd(argv).user(name).env("XDG_RUNTIME_DIR", &runtime))
    }

    /// `usher ...` as that person.
    pub(super) fn usher<'a>(&'a self, name: &str, args: &[&str]) -> Result<HostCmd<'a>> {
        self.as_person(name, &[&["usher"], args].concat())
    }

    /// Follows the set-up link in the browser.
    pub(super) fn set_up_person(&mut self, name: &str, set_up: &Value) -> Result<()> {
        let (url, code) = (text(set_up, "url")?, text(set_up, "code")?);
        let password = self.person(name)?.password.clone();
        let outcome = self.visit(
            "client",
            // The code of the last half minute: this one and the next stay good for signing in.
            &["set-up", "--url", &url, "--code", &code, "--password", &password, "--totp-offset", "-30"],
        )?;
        if text(&outcome, "outcome")? != "done" {
            bail!("{name} could not set up an account: {outcome}");
        }
        let person = self.people.get_mut(name).context("nobody of that name")?;
        person.totp_secret = text(&outcome, "totp_secret")?;
        let step = outcome.get("step").and_then(Value::as_i64).unwrap_or_default();
        person.last_step.store(step, Ordering::Relaxed);
        Ok(())
    }

    /// Runs one of xtask's programs inside a host and reads what it prints.
    pub(super) fn visit(&self, host: &str, args: &[&str]) -> Result<Value> {
        let (what, rest) = args.split_first().context("visit what?")?;
        let browser = ["set-up", "sign-in", "device", "scim"].contains(what);
        let root: &[&str] = if browser { &["--root", ROOT] } else { &[] };
        let printed = self.host(host)?.xtask([&["visit", what], root, rest].concat()).read()?;
        serde_json::from_str(&printed).with_context(|| format!("no JSON: {printed}"))
    }

    /// `usher enroll` and `usher login`, with the harness as the browser.
    pub(super) fn sign_in(&mut self, name: &str) -> Result<()> {
        let url = self.client_url.clone();
        self.usher(name, &["enroll", &url])?.read()?;
        let code = self.person(name)?.code()?;
        let outcome = self.login(name, &code)?;
        if text(&outcome, "outcome")? != "signed-in" {
            bail!("{name} could not sign in: {outcome}");
        }
        self.people.get_mut(name).context("nobody of that name")?.signed_in = true;
        Ok(())
    }

    /// `usher login` with this code; the browser's outcome.
    pub(super) fn login(&self, name: &str, code: &str) -> Result<Value> {
        let mut login = self.usher(name, &["login", "--no-browser"])?.start()?;
        let url = authorize_address(&login)?;
        let password = self.person(name)?.password.clone();
        let outcome = self.visit(
            "client",
            &["sign-in", "--user", name, "--password", &password, "--code", code, "--url", &url],
        )?;
        if outcome.get("outcome").and_then(Value::as_str) == Some("signed-in") {
            let status = login.wait(clock::PATIENCE)?;
            // 7: signed in, but the device waits for approval.
            if status != 0 && status != 7 {
                bail!("usher login ended with {status}: {}", login.text());
            }
        }
        Ok(outcome)
    }

    /// Signs in on a page that waits, and must be let in.
    pub(super) fn use_page(&self, name: &str, url: &str) -> Result<()> {
        let person = self.person(name)?;
        let (code, password) = (person.code()?, person.password());
        let args = ["sign-in", "--user", name, "--password", password, "--code", &code, "--url", url];
        let outcome = self.visit("client", &args)?;
        match text(&outcome, "outcome")?.as_str() {
            "signed-in" => Ok(()),
            _ => bail!("{name} could not sign in: {outcome}"),
        }
    }

    /// Signs in a device of the harness's own, whose keys are files; returns its directory on the client host.
    pub(super) fn own_device(&self, name: &str) -> Result<String> {
        let dir = format!("/root/device-{name}");
        if self.client()?.has(&format!("{dir}/session")) {
            return Ok(dir);
        }
        let person = self.person(name)?;
        let (code, device) = (person.code()?, format!("{name}-files"));
        let outcome = self.visit(
            "client",
            &[
                "device",
                "--user",
                name,
                "--password",
                &person.password,
                "--code",
                &code,
                "--broker",
                &self.client_url,
                "--name",
                &device,
                "--dir",
                &dir,
            ],
        )?;
        let device = outcome.get("device").with_context(|| format!("{name} could not sign in: {outcome}"))?;
        if text(device, "state")? != "approved" {
            self.approve_device(&text(device, "id")?)?;
        }
        Ok(dir)
    }
}

/// The address of the sign-in page, once a command has printed it.
pub(super) fn authorize_address(command: &Background) -> Result<String> {
    clock::wait_for_ok("an address of the sign-in page", clock::PATIENCE, || {
        let printed = command.text();
        let found = printed.split_whitespace().find(|word| word.contains("/authorize?"));
        found.map(str::to_owned).with_context(|| format!("it printed: {printed}"))
    })
}
