//! The world of the end-to-end test: a control plane, two bastions, two targets, a client, a thief.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    brokers::{BALANCER_LOG, DATABASE_LOG, Variant},
    people::Person,
    report::Report,
};
use crate::{
    clock,
    lab::{Host, HostSpec, Lab, Program},
    out::say,
    workspace,
};

pub(super) const PUBLIC_NAMES: &str = "10.77.1.5 broker.lab.test idp.lab.test\n";
pub(super) const PRIVATE_NAMES: &str =
    "10.77.2.5 broker.lab.test\n10.77.2.31 target-1\n10.77.2.32 target-2\n";

/// All hosts but those of the control plane.
pub(super) const HOSTS: &[HostSpec] = &[
    HostSpec { name: "client", legs: &[("pub", "10.77.1.10/24")], names: PUBLIC_NAMES },
    HostSpec { name: "thief", legs: &[("pub", "10.77.1.11/24")], names: PUBLIC_NAMES },
    HostSpec {
        name: "bastion-1",
        legs: &[("pub", "10.77.1.21/24"), ("priv", "10.77.2.21/24")],
        names: PRIVATE_NAMES,
    },
    HostSpec {
        name: "bastion-2",
        legs: &[("pub", "10.77.1.22/24"), ("priv", "10.77.2.22/24")],
        names: PRIVATE_NAMES,
    },
    HostSpec { name: "target-1", legs: &[("priv", "10.77.2.31/24")], names: PRIVATE_NAMES },
    HostSpec { name: "target-2", legs: &[("priv", "10.77.2.32/24")], names: PRIVATE_NAMES },
];

/// Hosts with an agent.
pub(super) const SERVERS: &[&str] = &["bastion-1", "bastion-2", "target-1", "target-2"];
/// The targets' addresses, which the client must not reach.
pub(super) const TARGETS: &[(&str, &str)] = &[("target-1", "10.77.2.31"), ("target-2", "10.77.2.32")];

/// The project that the servers are in.
pub(super) const PROJECT: &str = "prod";
pub(super) const URL: &str = "https://broker.lab.test:8443";
const ADMIN: &str = "carol";
/// Where the browser's imported root certificate lies.
pub(super) const ROOT: &str = "/etc/usher-root.pem";

/// Everything that runs, and what is known about it.
pub(super) struct Stack {
    pub(super) lab: Lab,
    pub(super) variant: Variant,
    /// `https://broker.lab.test:8443#<pin>`.
    pub(super) client_url: String,
    pub(super) people: BTreeMap<&'static str, Person>,
}

impl Stack {
    /// Brings everything up, to where people can sign in.
    pub(super) fn up(report: &mut Report, variant: Variant) -> Result<Self> {
        let programs = [
            Program { from: workspace::binary("usher")?, to: "/usr/bin/usher" },
            Program { from: workspace::binary("usher-agent")?, to: "/usr/bin/usher-agent" },
            Program { from: workspace::binary("usher-broker")?, to: "/usr/bin/usher-broker" },
        ];
        let hosts = variant.hosts()?;
        let count = hosts.len();
        let lab = Lab::up(&hosts, &["pub", "priv"], &programs)?;
        report.step(&format!("{count} hosts are up"), lab.prefix());
        let mut stack = Self { lab, variant, client_url: String::new(), people: BTreeMap::new() };
        match stack.begin(report) {
            Ok(()) => Ok(stack),
            Err(error) => Err(anyhow::anyhow!("{error:#}\n{}", stack.logs())),
        }
    }

    fn begin(&mut self, report: &mut Report) -> Result<()> {
        super::checks::before_agents(self, report);
        let set_up = self.start_broker()?;
        report.step("the broker serves", URL);
        self.add_person(ADMIN)?;
        self.set_up_person(ADMIN, &set_up)?;
        self.sign_in(ADMIN)?;
        report.step("the first administrator set up an account and signed in", ADMIN);
        self.make_directory()?;
        report.step("project, groups and users exist", "");
        if self.variant.idp.is_some() {
            self.start_provider(report)?;
        }
        self.enroll_servers()?;
        report.step("two bastions and two targets enrolled, agents run", "");
        self.wait_until_applied(SERVERS)?;
        report.step("all agents have applied the desired state", "");
        Ok(())
    }

    /// One of the hosts.
    pub(super) fn host(&self, name: &str) -> Result<&Host> {
        self.lab.host(name)
    }

    /// Where people sit.
    pub(super) fn client(&self) -> Result<&Host> {
        self.host("client")
    }

    /// The prefix of everything on this machine that belongs to it.
    pub(super) fn prefix(&self) -> &str {
        self.lab.prefix()
    }

    fn start_broker(&mut self) -> Result<Value> {
        let printed = self.found_team(ADMIN)?;
        let root = self.operator(&["root-certificate"])?;
        for host in self.lab.hosts() {
            host.write(ROOT, 0o644, &root)?;
        }
        self.client_url = text(&printed, "client_url")?;
        Ok(printed.get("set_up").cloned().unwrap_or(printed))
    }

    fn enroll_servers(&mut self) -> Result<()> {
        let bastions =
            self.create_token(&["--role", "bastion", "--bastion-group", "edge", "--max-uses", "2"])?;
        let targets = self.create_token(&["--via", "edge", "--max-uses", "2"])?;
        let enroll = |name: &str| -> Result<()> {
            let token = if name.starts_with("bastion") { &bastions } else { &targets };
            let host = self.host(name)?;
            host.write("/run/enrollment.token", 0o600, token)?;
            host.cmd(["usher-agent", "enroll", "--token-file", "/run/enrollment.token"]).read()?;
            self.start_agent(name)
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = SERVERS.iter().map(|name| scope.spawn(|| enroll(name))).collect();
            running.into_iter().try_for_each(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => bail!("a thread panicked"),
            })
        })
    }

    /// Starts a server's agent, as its init system would.
    pub(super) fn start_agent(&self, name: &str) -> Result<()> {
        self.host(name)?.daemon("/var/log/usher-agent.log", &[], &["usher-agent", "run"])
    }

    /// Waits until the broker has heard from all of these servers that they are up and without conflicts.
    pub(super) fn wait_until_applied(&self, names: &[&str]) -> Result<()> {
        clock::wait_for_ok("agents to apply the desired state", clock::PATIENCE, || {
            let servers = self.servers()?;
            for name in names {
                let server = servers
                    .iter()
                    .find(|server| server.get("name").and_then(Value::as_str) == Some(name))
                    .with_context(|| format!("{name} is not enrolled"))?;
                let is = |key: &str, wanted: &Value| server.get(key) == Some(wanted);
                let applied = server.get("applied_generation").and_then(Value::as_u64).unwrap_or_default();
                if !is("state", &Value::from("healthy")) || applied == 0 {
                    bail!("{name} is not ready: {server}");
                }
            }
            Ok(())
        })
    }

    /// Ends of the logs that explain a failure.
    pub(super) fn logs(&self) -> String {
        let mut logs = String::new();
        for host in self.lab.hosts() {
            let own = ["/var/log/usher-broker.log", "/var/log/usher-agent.log", "/var/log/sshd.log"];
            for log in own.into_iter().chain([DATABASE_LOG, BALANCER_LOG]) {
                let text = host.read(log);
                let lines: Vec<_> = text.lines().collect();
                if log.ends_with("sshd.log") && lines.len() <= 2 {
                    continue;
                }
                let tail = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default();
                if !tail.is_empty() {
                    logs.push_str(&format!("--- {} {log}\n{}\n", host.name(), tail.join("\n")));
                }
            }
        }
        logs
    }

    /// Leaves it up, for `cargo xtask lab`.
    pub(super) fn keep(&mut self) -> Result<()> {
        let people: Vec<_> = self.people.values().collect();
        std::fs::write(self.lab.dir().join("people.json"), serde_json::to_vec(&people)?)?;
        self.lab.keep()
    }

    /// Says how to use it by hand.
    pub(super) fn explain(&self) {
        let (ready, others): (Vec<_>, Vec<_>) = self.people.values().partition(|person| person.signed_in);
        let names =
            |people: &[&Person]| people.iter().map(|person| person.name()).collect::<Vec<_>>().join(", ");
        say!();
        say!("Left up. Sit down at the client, as one who is signed in ({}):", names(&ready));
        say!();
        say!("  cargo xtask lab enter client --as {}", ready.last().map_or("carol", |person| person.name()));
        say!("    usher whoami");
        say!("    usher servers");
        say!("    usher ssh target-1");
        say!("    usher ssh-config install && ssh target-1 id");
        say!();
        say!(
            "carol administers the team and has sudo on servers; alice and the others ({}) do not.",
            names(&others)
        );
        say!("To sign in as somebody else, with the harness as the browser (two terminals):");
        say!();
        say!("  cargo xtask lab enter client --as bob");
        say!("    usher enroll '{}'", self.client_url);
        say!("    usher login --no-browser                 prints ADDRESS and waits");
        say!("  cargo xtask lab sign-in bob 'ADDRESS'");
        say!("  cargo xtask lab enter client --as carol    usher device list; usher device approve dev_...");
        say!();
        say!("As root on any host:  cargo xtask lab enter HOST");
        say!("  hosts: {}", self.lab.hosts().map(Host::name).collect::<Vec<_>>().join(", "));
        say!("  logs there: /var/log/usher-broker.log, /var/log/usher-agent.log, /var/log/sshd.log");
        say!();
        say!("End it:  cargo xtask e2e --down");
        say!();
    }
}

/// A string field of what a program printed.
pub(super) fn text(value: &Value, key: &str) -> Result<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("no `{key}` in {value}"))
}
