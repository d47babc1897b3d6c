//! Desired states, the agent's host, sshd, and what must not change.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpStream,
};

use usher_account_lifecycle::{
    Desired, Limits, Outcome,
    account::{AdminSudo, PortForwarding, Shell},
    plan::MassDeletion,
    reconcile,
    state::{GroupEntry, HopEntry, ProjectRef, Role, ServerDocument, ServerRef, StateDocument, UserEntry},
};
use usher_host::{HostError, LinuxHost};
use usher_types::{ProjectId, ServerId, UnixTime, UserId};

use usher_testkit::namespace::{sh, try_sh, wait_until};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ2Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFy";

pub(crate) fn server_id() -> ServerId {
    ServerId::new(NOW, [2; 10])
}

pub(crate) fn document(users: &[&str]) -> StateDocument {
    let entry = |(n, name): (u32, &&str)| {
        let user = UserEntry {
            id: UserId::new(NOW, [u8::try_from(n % 250).unwrap(); 10]),
            uid: 60_001 + n,
            gid: 63_001 + n,
            gecos: format!("User {n}").parse().unwrap(),
            shell: Shell::bash(),
            admin: n == 0,
            locked: false,
        };
        (name.parse().unwrap(), user)
    };
    StateDocument {
        v: 1,
        project: ProjectRef { id: ProjectId::new(NOW, [1; 10]), slug: "prod".parse().unwrap() },
        ssh_user_ca: vec![CA.to_owned()],
        x509_ca: Vec::new(),
        locked: false,
        admin_sudo: AdminSudo::Passwordless,
        port_forwarding: PortForwarding::Local,
        users: (0..).zip(users).map(entry).collect(),
        groups: BTreeMap::new(),
        state_keys: Vec::new(),
        pins: Vec::new(),
    }
}

pub(crate) fn with_group(mut document: StateDocument, members: &[&str]) -> StateDocument {
    let members = members.iter().map(|member| member.parse().unwrap()).collect();
    document.groups.insert("developers".parse().unwrap(), GroupEntry { gid: 63_900, members });
    document
}

pub(crate) fn target(document: &StateDocument) -> Desired {
    server(document, Role::Target)
}

pub(crate) fn bastion(document: &StateDocument) -> Desired {
    server(document, Role::Bastion)
}

fn server(document: &StateDocument, role: Role) -> Desired {
    let hop = HopEntry { addresses: BTreeSet::from(["10.0.0.5".parse().unwrap()]), port: 22 };
    let hops = if role == Role::Bastion {
        BTreeMap::from([(ServerId::new(NOW, [9; 10]), hop)])
    } else {
        BTreeMap::new()
    };
    let server = ServerRef { id: server_id(), name: "web-1".parse().unwrap() };
    Desired::new(document, &[], &ServerDocument { v: 1, server, role, hops, locked: false })
}

pub(crate) fn host() -> LinuxHost {
    LinuxHost::open("/var/lib/usher-agent/root", &["root".to_owned()], || NOW).unwrap()
}

pub(crate) fn limits() -> Limits {
    Limits { mass_deletion: MassDeletion::Allow, ..Limits::default() }
}

/// One pass that must do everything.
#[track_caller]
pub(crate) fn settle(host: &mut LinuxHost, desired: &Desired) -> Outcome<HostError> {
    let outcome = reconcile(host, desired, &limits()).unwrap();
    assert!(outcome.is_complete(), "failed: {:#?}\nskipped: {:#?}", outcome.failed, outcome.skipped);
    outcome
}

/// One pass that must find nothing to do.
#[track_caller]
pub(crate) fn settled(host: &mut LinuxHost, desired: &Desired) {
    let outcome = reconcile(host, desired, &limits()).unwrap();
    assert_eq!(outcome.plan.steps, []);
}

/// Starts the real sshd and waits until it listens. The namespace takes it down.
pub(crate) fn start_sshd() {
    sh("/usr/sbin/sshd -E /tmp/sshd.log");
    wait_until("sshd listens", || TcpStream::connect("127.0.0.1:22").is_ok());
    // The connection above may still be in its queue when the first reload comes.
    wait_until("sshd has a pid file", || fs::read_to_string("/run/sshd.pid").is_ok());
}

pub(crate) fn sshd_greets() -> bool {
    use std::io::Read as _;
    let mut greeting = [0; 4];
    TcpStream::connect("127.0.0.1:22").and_then(|mut stream| stream.read_exact(&mut greeting)).is_ok()
        && greeting == *b"SSH-"
}

/// What sshd does for an account.
pub(crate) fn effective(account: &str) -> String {
    sh(&format!("sshd -T -C user={account},host=x,addr=203.0.113.9"))
}

/// Runs a command as an account, with its groups.
pub(crate) fn run_as(account: &str, command: &str) -> (bool, String) {
    let user = sh(&format!("id -u {account}"));
    let group = sh(&format!("id -g {account}"));
    try_sh(&format!("setpriv --reuid {user} --regid {group} --init-groups sh -c '{command}'"))
}

/// Every file that says who may get in or do what, byte for byte.
pub(crate) fn security_files() -> BTreeMap<String, String> {
    let files = "passwd shadow group gshadow subuid subgid sudoers";
    let list = sh(&format!(
        "cd /etc; for f in {files} sudoers.d/* ssh/sshd_config ssh/sshd_config.d/*; do [ -e $f ] && echo $f; done; true"
    ));
    list.lines()
        .map(|file| (file.to_owned(), sh(&format!("stat -c '%u %g %a' /etc/{file}; base64 /etc/{file}"))))
        .collect()
}
