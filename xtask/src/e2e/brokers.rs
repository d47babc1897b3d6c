//! The control plane's hosts: one broker with its database in a file, or several behind a TCP balancer on one PostgreSQL
//! server. The rest of the test does not know which.

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::idp::Provider;
use super::kms::Kms;
use super::stack::{HOSTS, PRIVATE_NAMES, PUBLIC_NAMES, Stack, URL};
use crate::{
    clock,
    lab::{Host, HostSpec},
};

pub(super) const DATA: &str = "/var/lib/usher-broker";
const LOG: &str = "/var/log/usher-broker.log";
pub(super) const DATABASE_LOG: &str = "/var/log/postgresql.log";
pub(super) const BALANCER_LOG: &str = "/var/log/balancer.log";
const DATABASE: &str = "/var/lib/usher-database";
const DATABASE_URL: &str = "postgres://usher@database.lab.test:5432/usher";
const PASSWORD_FILE: &str = "/etc/usher/database-password";
const DATABASE_ROOT: &str = "/etc/usher/database-ca.pem";
/// One person does here in minutes what a team does in a day.
const LIMITS: &str = "\n[limits]\nconnections_burst = 100000\n";
const PASSWORD: &str = "a password of the laboratory";

const BROKER: HostSpec = HostSpec {
    name: "broker",
    legs: &[("pub", "10.77.1.5/24"), ("priv", "10.77.2.5/24")],
    names: PUBLIC_NAMES,
};

/// In front it is the balancer that has the name.
const BROKER_NAMES: &str = "10.77.2.5 broker.lab.test\n10.77.2.8 database.lab.test\n";
const BROKER_1: HostSpec =
    HostSpec { name: "broker-1", legs: &[("priv", "10.77.2.6/24")], names: BROKER_NAMES };
const BROKER_2: HostSpec =
    HostSpec { name: "broker-2", legs: &[("priv", "10.77.2.7/24")], names: BROKER_NAMES };
const DATABASE_HOST: HostSpec =
    HostSpec { name: "database", legs: &[("priv", "10.77.2.8/24")], names: PRIVATE_NAMES };

/// Where rows are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    /// In a file beside the broker.
    #[default]
    Sqlite,
    /// On a server.
    Postgres,
}

/// What the control plane is made of.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Variant {
    /// Where rows are kept.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) database: Database,
    /// Brokers on one PostgreSQL server, behind a TCP balancer: clients and agents meet all of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) brokers: u8,
    /// Have the keys in a KMS instead of beside the broker.
    #[arg(long, value_enum)]
    pub(crate) kms: Option<Kms>,
    /// Have an identity provider too.
    #[arg(long, value_enum)]
    pub(crate) idp: Option<Provider>,
}

impl Variant {
    /// Whether the control plane has hosts of its own for brokers, balancer and database.
    pub(super) fn is_spread(self) -> bool {
        self.database == Database::Postgres
    }

    /// Every host of the laboratory.
    ///
    /// # Errors
    /// When a file is to be shared by two brokers.
    pub(super) fn hosts(self) -> Result<Vec<HostSpec>> {
        anyhow::ensure!(
            self.is_spread() || self.brokers == 1,
            "several brokers need a database that they can share: add --database postgres"
        );
        anyhow::ensure!(
            self.kms.is_none() || !self.is_spread(),
            "the KMS runs on the broker's host: leave out --database postgres"
        );
        anyhow::ensure!(
            self.idp.is_none() || !self.is_spread(),
            "the identity provider runs on the broker's host: leave out --database postgres"
        );
        let mut hosts: Vec<_> = HOSTS.iter().copied().chain([BROKER]).collect();
        if self.is_spread() {
            hosts.extend([DATABASE_HOST, BROKER_1]);
        }
        if self.brokers > 1 {
            hosts.push(BROKER_2);
        }
        Ok(hosts)
    }

    fn brokers(self) -> &'static [&'static str] {
        match (self.is_spread(), self.brokers) {
            (false, _) => &["broker"],
            (true, 1) => &["broker-1"],
            (true, _) => &["broker-1", "broker-2"],
        }
    }
}

impl Stack {
    /// Hosts that run a broker.
    pub(super) fn brokers(&self) -> &'static [&'static str] {
        self.variant.brokers()
    }

    /// `usher-broker ...` as an operator types it on a broker's host.
    pub(super) fn operator(&self, args: &[&str]) -> Result<String> {
        let [first, ..] = self.brokers() else { anyhow::bail!("no broker") };
        let command = ["usher-broker"].iter().chain(args).chain(&["--data-dir", DATA]);
        self.host(first)?.cmd(command).user("usher-broker").read()
    }

    /// Makes the team and starts every broker; gives what `init` printed.
    pub(super) fn found_team(&self, admin: &str) -> Result<Value> {
        if self.variant.is_spread() {
            self.make_database()?;
        }
        let [first, others @ ..] = self.brokers() else { anyhow::bail!("no broker") };
        for name in self.brokers() {
            self.prepare(self.host(name)?)?;
        }
        let kms = match self.variant.kms {
            Some(Kms::Moto) => self.start_kms(self.host(first)?)?,
            None => Vec::new(),
        };
        let mut init = vec!["init", "--team", "lab", "--public-url", URL, "--listen", "0.0.0.0:8443"];
        init.extend(["--admin", admin, "--output", "json"]);
        if self.variant.is_spread() {
            init.extend(["--database", DATABASE_URL, "--database-password-file", PASSWORD_FILE]);
            init.extend(["--database-root-certificate", DATABASE_ROOT]);
        }
        init.extend(kms.iter().map(String::as_str));
        let printed = self.operator(&init)?;
        let config = self.host(first)?.path(&format!("{DATA}/broker.toml"))?;
        let limits = std::fs::read_to_string(&config)? + LIMITS;
        std::fs::write(&config, limits)?;
        for other in others {
            for file in ["broker.toml", "seal.key"] {
                let path = format!("{DATA}/{file}");
                let (from, to) = (self.host(first)?.path(&path)?, self.host(other)?.path(&path)?);
                std::fs::copy(from, to).with_context(|| format!("cannot copy {file}"))?;
                self.host(other)?.cmd(["chown", "usher-broker:", &path]).read()?;
            }
        }
        self.serve()?;
        if self.variant.is_spread() {
            self.balance()?;
        }
        serde_json::from_str(&printed).with_context(|| format!("init printed no JSON: {printed}"))
    }

    fn prepare(&self, broker: &Host) -> Result<()> {
        let home = "/home/usher-broker";
        broker.cmd(["useradd", "--system", "--create-home", "--home-dir", home, "usher-broker"]).read()?;
        broker.cmd(["install", "-d", "-o", "usher-broker", "-m", "700", DATA]).read()?;
        if self.variant.is_spread() {
            broker.write(PASSWORD_FILE, 0o600, &format!("{PASSWORD}\n"))?;
            broker.write(
                DATABASE_ROOT,
                0o644,
                &self.host("database")?.read(&format!("{DATABASE}/ca.pem")),
            )?;
            broker.cmd(["chown", "usher-broker:", PASSWORD_FILE]).read()?;
        }
        Ok(())
    }

    /// Starts every broker that does not run and waits until all answer.
    pub(super) fn serve(&self) -> Result<()> {
        for name in self.brokers() {
            let broker = self.host(name)?;
            if broker.pids_of("usher-broker")?.is_empty() {
                broker.daemon(
                    LOG,
                    &["setpriv", "--reuid=usher-broker", "--regid=usher-broker", "--init-groups", "--"],
                    &["usher-broker", "serve", "--data-dir", DATA],
                )?;
            }
        }
        for name in self.brokers() {
            self.wait_until_it_listens(name, "127.0.0.1", "8443")?;
        }
        Ok(())
    }

    /// Kills every broker.
    pub(super) fn kill_brokers(&self) -> Result<()> {
        self.brokers().iter().try_for_each(|name| self.host(name)?.kill_dead("usher-broker"))
    }

    fn wait_until_it_listens(&self, name: &str, address: &str, port: &str) -> Result<()> {
        let host = self.host(name)?;
        clock::wait_for(&format!("{name} to listen"), clock::PATIENCE, || {
            host.run(["nc", "-z", address, port]).ok().filter(|output| output.status == 0)
        })
        .map(drop)
    }

    /// A balancer that passes TCP connections on, each to the next broker.
    fn balance(&self) -> Result<()> {
        let mut command = vec![crate::lab::XTASK, "visit", "balance", "--listen", "0.0.0.0:8443"];
        let addresses = ["10.77.2.6:8443", "10.77.2.7:8443"];
        for (_name, address) in self.brokers().iter().zip(addresses) {
            command.extend(["--to", address]);
        }
        self.host("broker")?.daemon(BALANCER_LOG, &[], &command)?;
        self.wait_until_it_listens("broker", "127.0.0.1", "8443")
    }

    fn as_postgres<'a>(&'a self, script: &'a str) -> Result<String> {
        let script = format!(
            "PATH=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1):$PATH; cd /; set -e; {script}"
        );
        let unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
        let command = self.host("database")?.cmd(unprivileged.iter().chain(&["sh", "-c", &script]));
        command.limit(clock::PATIENCE).read()
    }

    /// A PostgreSQL server as an operator would have it: TLS with a certificate authority of its own, a user with a
    /// password.
    fn make_database(&self) -> Result<()> {
        let host = self.host("database")?;
        host.cmd(["install", "-d", "-o", "postgres", "-m", "700", DATABASE]).read()?;
        self.as_postgres(&format!(
            "cd {DATABASE}
             initdb --no-sync -D data -U postgres --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 \
                 --locale=C.UTF-8 >/dev/null
             echo 'hostssl all usher 10.77.2.0/24 scram-sha-256' >> data/pg_hba.conf
             key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
             openssl req -x509 $key -days 30 -subj /CN=lab -keyout ca.key -out ca.pem 2>/dev/null
             openssl req $key -subj /CN=database -keyout data/server.key -out server.csr 2>/dev/null
             printf 'subjectAltName=DNS:database.lab.test\\n' > names
             openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names \
                 -out data/server.crt 2>/dev/null
             chmod 600 data/server.key"
        ))?;
        self.start_database()?;
        // No superuser: it owns its database and nothing else.
        let role = format!("CREATE ROLE usher LOGIN PASSWORD '{PASSWORD}'");
        let database = "CREATE DATABASE usher OWNER usher";
        self.as_postgres(&format!("psql -q -h {DATABASE} -c \"{role}\" -c \"{database}\"")).map(drop)
    }

    /// Starts the database server and waits until it answers.
    pub(super) fn start_database(&self) -> Result<()> {
        let settings = format!(
            "exec postgres -D data -k {DATABASE} -c listen_addresses=10.77.2.8 -c ssl=on -c shared_buffers=16MB \
             -c dynamic_shared_memory_type=mmap"
        );
        let script = format!(
            "cd {DATABASE}; PATH=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1); {settings}"
        );
        let unprivileged = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
        self.host("database")?.daemon(DATABASE_LOG, &unprivileged, &["sh", "-c", &script])?;
        let ready = format!("pg_isready -q -h {DATABASE}");
        clock::wait_for("PostgreSQL to answer", clock::PATIENCE, || self.as_postgres(&ready).ok()).map(drop)
    }

    /// Ends the database server at once, as a crash does.
    pub(super) fn crash_database(&self) -> Result<()> {
        self.as_postgres(&format!("kill -QUIT $(head -n 1 {DATABASE}/data/postmaster.pid)"))?;
        let host = self.host("database")?;
        clock::wait_for("PostgreSQL to be gone", clock::PATIENCE, || {
            host.pids_of("postgres").ok().filter(Vec::is_empty)
        })
        .map(drop)
    }

    /// What the database answers to a question, asked on its own host.
    pub(super) fn in_database(&self, sql: &str) -> Result<String> {
        self.as_postgres(&format!("psql -X -q -A -t -h {DATABASE} -d usher -c \"{sql}\""))
    }
}
