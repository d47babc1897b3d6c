//! The sshd that listens: finding it, telling it to read its configuration again, and seeing that it answers.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    HostError,
    clock::{Deadline, pause},
    exec::{Tool, run},
    process,
    sessions::is_listener,
};

const TIMEOUT: Duration = Duration::from_secs(20);
/// sshd starts itself anew within milliseconds; this is for hosts under load.
const RELOAD_PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The sshd of this host as it ran before a reload.
#[derive(Debug)]
pub(super) struct Running {
    /// `None` when none runs: it reads its configuration when it starts.
    pid: Option<i32>,
    /// Its listening sockets, which a reload replaces.
    sockets: BTreeSet<u64>,
    /// Where it answered.
    answering: Vec<SocketAddr>,
}

impl Running {
    /// Finds it by the pid file that the configuration names, by systemd, or among the processes.
    pub(super) fn find(configuration: &Path) -> Result<Self, HostError> {
        let arguments = [Path::new("-T"), Path::new("-f"), configuration];
        let output = run(Tool::Sshd, &arguments, TIMEOUT)?.checked(Tool::Sshd)?;
        let value = |key: &str| output.stdout.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let pid = listener(value("pidfile "));
        let addresses = output.stdout.lines().filter_map(|line| line.strip_prefix("listenaddress "));
        let addresses = addresses.filter_map(|text| text.trim().parse().ok()).map(reachable);
        Ok(Self {
            pid,
            sockets: pid.map(sockets).unwrap_or_default(),
            answering: addresses.filter(|address| answers(*address)).collect(),
        })
    }

    /// SIGHUP, and waits until sshd has started itself anew.
    pub(super) fn reload(&self) -> Result<(), HostError> {
        let Some(pid) = self.pid else { return Ok(()) };
        let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
        kill_process(target, Signal::HUP).map_err(HostError::sys("tell sshd to reload"))?;
        let deadline = Deadline::after(RELOAD_PATIENCE);
        while deadline.left().is_some() {
            pause(Duration::from_millis(10));
            if !process::is_sshd(pid) {
                return Err(HostError::Changed("sshd ended when it was told to reload".to_owned()));
            }
            let now = sockets(pid);
            if !now.is_empty() && now.is_disjoint(&self.sockets) {
                return Ok(());
            }
        }
        // Sockets that systemd passed to it stay the same; whether it answers is what counts.
        Ok(())
    }

    /// That it greets wherever it did before.
    pub(super) fn answers(&self) -> Result<(), HostError> {
        let deadline = Deadline::after(ANSWER_PATIENCE);
        loop {
            let silent = self.answering.iter().find(|address| !answers(**address));
            match silent {
                None if self.pid.is_none_or(process::is_sshd) => return Ok(()),
                _ if deadline.left().is_some() => pause(Duration::from_millis(50)),
                Some(address) => {
                    return Err(HostError::Changed(format!("sshd does not answer on {address}")));
                }
                None => return Err(HostError::Changed("sshd ended after it was told to reload".to_owned())),
            }
        }
    }
}

/// A wildcard address is reached over the loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Whether something greets there as an SSH server does.
fn answers(address: SocketAddr) -> bool {
    let greet = || {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut greeting = [0_u8; 4];
        stream.read_exact(&mut greeting)?;
        Ok::<_, std::io::Error>(greeting == *b"SSH-")
    };
    greet().unwrap_or(false)
}

fn is_listening_sshd(pid: i32) -> bool {
    process::is_sshd(pid) && is_listener(pid)
}

fn listener(pid_file: Option<&str>) -> Option<i32> {
    let number = |text: String| text.trim().parse::<i32>().ok().filter(|pid| is_listening_sshd(*pid));
    let by_file = pid_file.and_then(|path| std::fs::read_to_string(path).ok()).and_then(number);
    by_file.or_else(by_systemd).or_else(among_processes)
}

fn by_systemd() -> Option<i32> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let show = |unit| run(Tool::Systemctl, &["show", "--property", "MainPID", "--value", unit], TIMEOUT).ok();
    let units = ["ssh.service", "sshd.service"].into_iter().filter_map(show);
    units.filter_map(|output| output.stdout.trim().parse().ok()).find(|pid| is_listening_sshd(*pid))
}

/// sshd that somebody started by hand.
fn among_processes() -> Option<i32> {
    let listeners = process::all().filter(|process| process.real_uid == 0 && process::is_sshd(process.pid));
    listeners.map(|process| process.pid).find(|pid| process::title(*pid).contains("[listener]"))
}

/// Whether the sshd that listens was started with `-f`.
pub(super) fn runs_with_other_configuration() -> bool {
    listener(Some("/run/sshd.pid")).is_some_and(|pid| {
        let title = process::title(pid);
        let mut words = title.split_whitespace().skip_while(|word| *word != "-f").skip(1);
        words.next().is_some_and(|file| file != super::config::MAIN)
    })
}

/// Inodes of the TCP sockets that a process listens on.
fn sockets(pid: i32) -> BTreeSet<u64> {
    let listening = |text: String| {
        let inode = |line: &str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is TCP_LISTEN.
            if fields.get(3) == Some(&"0A") { fields.get(9)?.parse().ok() } else { None }
        };
        text.lines().filter_map(inode).collect::<Vec<u64>>()
    };
    let tables = ["tcp", "tcp6"]
        .map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    let all: BTreeSet<u64> = tables.into_iter().flat_map(listening).collect();
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let own = entries.filter_map(|entry| {
        let link = std::fs::read_link(entry.ok()?.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    });
    own.filter(|inode| all.contains(inode)).collect()
}

/// Where sshd is configured to listen.
pub(crate) fn listen_addresses(settings: &[(String, String)]) -> Vec<SocketAddr> {
    settings
        .iter()
        .filter(|(key, _)| key == "listenaddress")
        .filter_map(|(_, value)| value.parse().ok())
        .collect()
}
