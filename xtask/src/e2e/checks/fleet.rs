//! Work on many hosts at once: eight targets more, and Ansible over all ten.

use anyhow::{Result, bail};

use super::{
    super::{
        people::authorize_address,
        stack::{PRIVATE_NAMES, Stack},
    },
    step_up::{PERSON, one_record, while_asked},
};
use crate::{clock, lab::HostSpec};

const fn target(name: &'static str, legs: &'static [(&'static str, &'static str)]) -> HostSpec {
    HostSpec { name, legs, names: PRIVATE_NAMES }
}

const MORE: &[HostSpec] = &[
    target("target-3", &[("priv", "10.77.2.33/24")]),
    target("target-4", &[("priv", "10.77.2.34/24")]),
    target("target-5", &[("priv", "10.77.2.35/24")]),
    target("target-6", &[("priv", "10.77.2.36/24")]),
    target("target-7", &[("priv", "10.77.2.37/24")]),
    target("target-8", &[("priv", "10.77.2.38/24")]),
    target("target-9", &[("priv", "10.77.2.39/24")]),
    target("target-10", &[("priv", "10.77.2.40/24")]),
];

/// Each of these hosts asks for a sign-in of its own, and gets one that was for all.
pub(super) fn one_sign_in_for_ansible(stack: &mut Stack) -> Result<String> {
    stack.ready(PERSON)?;
    enroll(stack)?;
    let targets: Vec<&str> =
        ["target-1", "target-2"].into_iter().chain(MORE.iter().map(|spec| spec.name)).collect();
    let inventory = format!("/home/{PERSON}/hosts");
    stack.client()?.write(&inventory, 0o644, &format!("{}\n", targets.join("\n")))?;
    // Names and the ssh configuration that makes them known.
    stack.usher(PERSON, &["servers"])?.read()?;
    stack.usher(PERSON, &["ssh-config", "install"])?.read()?;

    let seen = while_asked(stack, &["--named-server", "--max-age", "10m"], |stack| {
        let play = ["ansible", "all", "-i", &inventory, "-f", "10", "-m", "command", "-a", "hostname"];
        let ansible = || stack.as_person(PERSON, &play)?.limit(clock::PATIENCE).output();
        let blind = ansible()?;
        if blind.status == 0 || !blind.stdout.contains("usher step-up") {
            bail!("without a sign-in for these servers: {blind}");
        }
        let before = stack.audit()?.len();
        let args: Vec<&str> =
            ["step-up", "--no-browser"].into_iter().chain(targets.iter().copied()).collect();
        let mut step_up = stack.usher(PERSON, &args)?.start()?;
        let url = authorize_address(&step_up)?;
        stack.use_page(PERSON, &url)?;
        if step_up.wait(clock::PATIENCE)? != 0 {
            bail!("usher step-up failed: {}", step_up.text());
        }
        let run = ansible()?;
        let ran = run.stdout.matches("CHANGED").count();
        if run.status != 0 || ran != targets.len() {
            bail!("{ran} of {} hosts: {run}", targets.len());
        }
        one_record(stack, before, targets.len())?;
        Ok(format!("{ran} hosts, one sign-in, one record"))
    });
    for spec in MORE {
        stack.host(spec.name)?.cmd(["pkill", "usher-agent"]).read()?;
        stack.admin(&["server", "delete", spec.name])?;
    }
    seen
}

fn enroll(stack: &mut Stack) -> Result<()> {
    stack.lab.bring_up(MORE)?;
    let uses = MORE.len().to_string();
    let token = stack.create_token(&["--via", "edge", "--max-uses", &uses])?;
    for spec in MORE {
        let host = stack.host(spec.name)?;
        host.write("/run/enrollment.token", 0o600, &token)?;
        host.cmd(["usher-agent", "enroll", "--token-file", "/run/enrollment.token"]).read()?;
        stack.start_agent(spec.name)?;
    }
    let names: Vec<&str> = MORE.iter().map(|spec| spec.name).collect();
    stack.wait_until_applied(&names)
}
