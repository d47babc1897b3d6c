//! A laboratory of hosts: network, mount, process and host name namespaces over the machine's own files, each host with
//! a stock sshd. No containers, no images, nothing to download. Knows nothing about Usher beyond file names to copy.
//!
//! Everything of one run carries one prefix (`ul<pid>`): the switch namespace that holds all bridges, the hosts'
//! namespaces, and a tmpfs below `/run/usher-lab` that takes whatever the hosts write. The machine's own namespace has
//! no leg in the laboratory, and the machine's files are only ever a read-only lower layer.

mod host;
mod inner;
mod leftovers;
mod network;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    host::{Background, Host, HostCmd, XTASK},
    inner::init,
    leftovers::{clean_dead, down_all, newest_kept, tear_down},
};
use crate::{interrupt, process::Cmd, workspace};

/// Where all laboratories keep their state.
pub(crate) const STATE: &str = "/run/usher-lab";

/// A host to be: its name and its legs as (network, address).
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostSpec {
    /// Host name.
    pub(crate) name: &'static str,
    /// Networks and addresses, the first one is `eth0`.
    pub(crate) legs: &'static [(&'static str, &'static str)],
    /// Lines for its `/etc/hosts`.
    pub(crate) names: &'static str,
}

/// A file to be put into every host.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The built file.
    pub(crate) from: PathBuf,
    /// Absolute path in the hosts; below `/usr`.
    pub(crate) to: &'static str,
}

/// What is written down about a running laboratory, so that any later process can take it down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    prefix: String,
    owner: leftovers::ProcessId,
    /// Left up on purpose.
    kept: bool,
}

/// A running laboratory. Dropping it takes it down, unless it is kept.
#[derive(Debug)]
pub(crate) struct Lab {
    prefix: String,
    dir: PathBuf,
    specs: Vec<HostSpec>,
    hosts: BTreeMap<&'static str, Host>,
    kept: bool,
}

impl Lab {
    /// Brings up `hosts` with `programs` in them.
    ///
    /// # Errors
    /// When not root, or when the kernel lacks something; what came up so far is taken down again.
    pub(crate) fn up(specs: &[HostSpec], networks: &[&str], programs: &[Program]) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("hosts out of namespaces need root: mounts, network devices, accounts of their own");
        }
        let prefix = format!("ul{}", std::process::id());
        let dir = Path::new(STATE).join(&prefix);
        std::fs::create_dir_all(STATE).with_context(|| format!("cannot create {STATE}"))?;
        let founding = leftovers::lock()?;
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        network::mount_private_tmpfs(&dir)?;
        let mut lab = Self { prefix, dir, specs: Vec::new(), hosts: BTreeMap::new(), kept: false };
        let dir = lab.dir.clone();
        interrupt::on_request(move || leftovers::kill_hosts(&dir));
        lab.write_manifest()?;
        drop(founding);
        lab.copy_programs(programs)?;
        network::switch(&lab.prefix, networks)?;
        lab.bring_up(specs)?;
        Ok(lab)
    }

    /// Brings up further hosts.
    ///
    /// # Errors
    /// As [`Self::up`].
    pub(crate) fn bring_up(&mut self, specs: &[HostSpec]) -> Result<()> {
        for spec in specs {
            let netns = network::attach(&self.prefix, spec)?;
            let host = Host::new(spec.name, netns, self.dir.join(spec.name));
            host.start(&inner::Plan::new(spec, &self.dir)?)?;
            self.hosts.insert(spec.name, host);
            self.specs.push(*spec);
        }
        for spec in specs {
            if let Some(host) = self.hosts.get_mut(spec.name) {
                host.wait_until_up()?;
            }
        }
        Ok(())
    }

    /// One of its hosts.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(crate) fn host(&self, name: &str) -> Result<&Host> {
        self.hosts.get(name).with_context(|| format!("no host `{name}` in the laboratory"))
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }

    /// The prefix of everything that belongs to it.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Takes a host's power away: every process ends at once and its network falls silent, so that packets to it are
    /// lost rather than refused.
    ///
    /// # Errors
    /// When there is no such host.
    pub(crate) fn cut_power(&self, name: &str) -> Result<()> {
        let host = self.host(name)?;
        network::set_links(&self.prefix, name, network::Links::Down)?;
        host.kill()
    }

    /// Starts a host again on the disk it had.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn power_on(&mut self, name: &str) -> Result<()> {
        network::set_links(&self.prefix, name, network::Links::Up)?;
        let spec = self.specs.iter().find(|spec| spec.name == name).context("no such host")?;
        let plan = inner::Plan::new(spec, &self.dir)?;
        let host = self.hosts.get_mut(name).with_context(|| format!("no host `{name}`"))?;
        host.start(&plan)?;
        host.wait_until_up()
    }

    /// Where its state lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Leaves it up when this value goes away.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.kept = true;
        self.write_manifest()
    }

    fn write_manifest(&self) -> Result<()> {
        let manifest =
            Manifest { prefix: self.prefix.clone(), owner: leftovers::ProcessId::own()?, kept: self.kept };
        std::fs::write(self.dir.join("lab.json"), serde_json::to_vec_pretty(&manifest)?)?;
        Ok(())
    }

    /// One shared lower layer: a copy per host would cost memory, the machine's own /usr stays as it is.
    fn copy_programs(&self, programs: &[Program]) -> Result<()> {
        let xtask = Program { from: workspace::own_executable()?, to: XTASK };
        for program in programs.iter().chain([&xtask]) {
            let to = self.dir.join("base").join(program.to.trim_start_matches('/'));
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::copy(&program.from, &to)
                .with_context(|| format!("cannot copy {} into the laboratory", program.from.display()))?;
            // Debug information of a few hundred megabytes has no place in memory.
            let _best_effort = Cmd::new(["strip", "--strip-debug"]).arg(&to).output();
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = tear_down(&self.dir)
        {
            crate::out::say!("could not take the laboratory down: {error:#}");
        }
    }
}
