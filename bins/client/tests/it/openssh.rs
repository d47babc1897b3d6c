//! Stock ssh and sshd with our background process in between: direct connections.

use std::{io::Read as _, process::Stdio, sync::Arc, time::Duration};

use usher_api::v1::{Purpose, Route};

use crate::support::{Ca, Client, Sshd, account, by_name, principal, text, wait_for};

/// A client whose servers are reached directly.
fn direct(ca: Ca, servers: &[Arc<Sshd>]) -> Client {
    let servers = by_name(servers);
    Client::new(move |request| {
        let sshd = servers.get(&request.server).ok_or_else(|| {
            usher::exit::Failure::new(usher::exit::Exit::NotFound, format!("no server `{}`", request.server))
        })?;
        let principal = format!("alice@{}", sshd.id);
        Ok(vec![Route { legs: vec![sshd.leg(&ca, &request.keys, 0, &principal)] }])
    })
}

#[test]
fn logs_in_and_passes_the_remote_status_on() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let client = direct(ca, &[Arc::clone(&sshd)]);
    let output = client.ssh("server-1", &["id -un; exit 7"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}\n{}", text(&output), sshd.log());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), account());
    let status = client.status();
    assert_eq!((status.keys, status.slots), (0, 0), "the key is gone as soon as it has signed");
    assert_eq!(client.broker.connections.lock().unwrap().len(), 1, "one round trip to the broker");
}

/// Real signatures of real servers, one kind of host key each.
#[test]
fn verifies_the_session_binding_of_every_kind_of_host_key() {
    for (number, kind) in
        [("ed25519", ""), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")]
            .iter()
            .enumerate()
    {
        let number = u8::try_from(number).unwrap() + 1;
        let ca = Ca::new();
        let sshd = Arc::new(Sshd::start(&ca, number, &[*kind], &principal(number), ""));
        let client = direct(ca, &[Arc::clone(&sshd)]);
        let output = client.ssh(&sshd.name, &["true"]).output().unwrap();
        assert!(output.status.success(), "{kind:?}: {}\n{}", text(&output), sshd.log());
    }
}

/// Threat row 29: somebody in the middle with another key.
#[test]
fn refuses_a_server_with_another_host_key() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let other = Arc::new(Sshd::simple(&ca, 2));
    let (impostor, pinned) = (Arc::clone(&sshd), other.host_keys.clone());
    let client = Client::new(move |request| {
        let mut leg = impostor.leg(&ca, &request.keys, 0, &principal(1));
        leg.host_keys.clone_from(&pinned);
        Ok(vec![Route { legs: vec![leg] }])
    });
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", text(&output));
    assert!(text(&output).contains("Host key verification failed"), "{}", text(&output));
    assert!(!sshd.log().contains("Accepted"), "{}", sshd.log());
}

#[test]
fn plain_ssh_scp_and_sftp_work_over_the_installed_configuration() {
    let ca = Ca::new();
    let sshd =
        Arc::new(Sshd::start(&ca, 1, &[("ed25519", "")], &principal(1), "Subsystem sftp internal-sftp"));
    let client = direct(ca, &[sshd]);
    let home = client.home.path();
    let install = client.usher().args(["ssh-config", "install"]).output().unwrap();
    assert!(install.status.success(), "{}", text(&install));
    // The account that tests run as is not always one that may be managed (root): ask for alice, log in as ourselves.
    let config = home.join("config/usher/ssh_config");
    let written = std::fs::read_to_string(&config).unwrap();
    let changed = written
        .replace("--login='%r'", "--login=alice")
        .replace("User alice", &format!("User {}", account()));
    assert_ne!(written, changed);
    std::fs::write(&config, changed).unwrap();

    let plain = |program: &str| {
        let mut command = client.command(program);
        command.arg("-F").arg(home.join(".ssh/config"));
        command
    };
    let output = plain("/usr/bin/ssh").args(["server-1.acme.usher", "echo", "over ssh"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "over ssh\n", "{}", text(&output));
    // Having been there once, the bare name is ours too.
    let output = plain("/usr/bin/ssh").args(["server-1", "echo", "again"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "again\n", "{}", text(&output));
    let (from, to) = (home.join("from"), home.join("to"));
    std::fs::write(&from, vec![7; 300_000]).unwrap();
    let output = plain("/usr/bin/scp").arg(&from).arg(format!("server-1:{}", to.display())).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(&from).unwrap());
}

#[test]
fn usher_ssh_runs_commands_and_says_what_for() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let client = direct(ca, &[Arc::clone(&sshd)]);
    // Logs in as `alice`, who has no account where tests run: sshd says no, after the certificate was used.
    let output = client.usher().args(["ssh", "--via", "none", "server-1", "--", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", text(&output));
    let asked = client.broker.connections.lock().unwrap().clone();
    assert_eq!(asked[0].purpose, Purpose::Command);
    assert_eq!(asked[0].via, Some(Vec::new()));
    assert_eq!(asked[0].login.as_ref().unwrap().as_str(), "alice");
    assert_eq!(asked[0].keys.len(), 3);
}

#[test]
fn twenty_at_once_pass_a_server_that_takes_ten() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::start(&ca, 1, &[("ed25519", "")], &principal(1), "MaxStartups 10:30:100"));
    let client = direct(ca, &[Arc::clone(&sshd)]);
    let children: Vec<_> = (0..20)
        .map(|number| {
            client
                .ssh("server-1", &[&format!("echo {number}")])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"), "{}", text(&output));
    }
    let status = client.status();
    assert!(status.most_slots <= 8, "{status:?}");
    assert_eq!(status.keys, 0);
}

/// `MaxStartups` drops connections before the key exchange while strangers fill it up: ours comes back until it is let in.
#[test]
fn a_connection_that_a_busy_server_drops_is_made_again() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::start(&ca, 1, &[("ed25519", "")], &principal(1), "MaxStartups 2:100:2"));
    let client = direct(ca, &[Arc::clone(&sshd)]);
    let strangers: Vec<_> = (0..2)
        .map(|_| {
            let mut stranger = std::net::TcpStream::connect(("127.0.0.1", sshd.port)).unwrap();
            stranger.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            stranger.read_exact(&mut [0; 4]).unwrap();
            stranger
        })
        .collect();
    let ours =
        client.ssh("server-1", &["true"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("sshd drops ours", || {
        let log = sshd.log();
        (log.contains("MaxStartups") || log.contains("drop connection")).then_some(())
    });
    drop(strangers);
    let output = ours.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_denial_says_every_reason_and_what_to_do() {
    let client = Client::new(|_| {
        let mut denial =
            usher::exit::Failure::new(usher::exit::Exit::Denied, "access to `server-1` was denied");
        denial.reasons =
            vec!["you are in no group of the project".to_owned(), "the server is locked".to_owned()];
        Err(denial.next("ask an administrator"))
    });
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in [
        "error: access to `server-1` was denied\n",
        "  - you are in no group of the project\n",
        "  - the server is locked\n",
        "next: ask an administrator\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("kex_exchange_identification"), "one story, not two: {said}");
}

#[test]
fn without_a_session_a_script_gets_a_sentence_and_no_browser() {
    let client = Client::signed_out(|_| Ok(Vec::new()));
    let output = client.usher().args(["ssh", "server-1", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", text(&output));
    assert!(
        text(&output).contains("not signed in to team `acme`\nnext: run `usher login`"),
        "{}",
        text(&output)
    );
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output).contains("not signed in"), "{}", text(&output));
}

#[test]
fn a_dead_server_is_said_to_be_unreachable() {
    let ca = Ca::new();
    let mut dead = Sshd::simple(&ca, 1);
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    dead.port = held.local_addr().unwrap().port();
    drop(held);
    let client = direct(ca, &[Arc::new(dead)]);
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output).contains("error: the server cannot be reached"), "{}", text(&output));
}

#[test]
fn no_process_is_left_behind_when_ssh_is_killed() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let client = direct(ca, &[sshd]);
    let started = client.home.path().join("started");
    let script = format!("touch {}; sleep 60", started.display());
    let mut ssh = client.ssh("server-1", &[&script]).spawn().unwrap();
    wait_for("the session", || started.exists().then_some(()));
    let proxy = children_of(ssh.id());
    assert_eq!(proxy.len(), 1, "{proxy:?}");
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    wait_for("the proxy's end", || {
        (!std::path::Path::new(&format!("/proc/{}", proxy[0])).exists()).then_some(())
    });
    assert_eq!(client.status().slots, 0);
}

pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// The agent's socket answers only the one ssh that the connection was made for.
#[test]
fn another_ssh_of_the_same_user_gets_no_identity() {
    let ca = Ca::new();
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let client = direct(ca, &[Arc::clone(&sshd)]);
    // Its own TCP connection, our agent: there is nothing pending for it.
    let output = client
        .command("/usr/bin/ssh")
        .args([
            "-F",
            "none",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
        ])
        .arg("-o")
        .arg(format!("IdentityAgent={}/ssh.sock", client.runtime_directory().display()))
        .args(["-p", &sshd.port.to_string(), "-l", &account(), "127.0.0.1", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(255), "{}", text(&output));
    assert!(text(&output).contains("Permission denied"), "{}", text(&output));
}
