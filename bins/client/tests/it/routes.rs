//! Stock ssh and sshd through one and two bastions, with a certificate per hop that opens one target.

use std::{collections::BTreeMap, net::TcpListener, process::Stdio, sync::Arc};

use usher_api::v1::Route;

use crate::{
    openssh::children_of,
    support::{Ca, Client, Sshd, server_id, text, wait_for},
};

fn hop(bastion: u8, target: u8) -> String {
    format!("usher-hop@{}.{}", server_id(bastion), server_id(target))
}

fn login(number: u8) -> String {
    format!("alice@{}", server_id(number))
}

/// A bastion whose principals file has a line per target, as the agent writes it.
fn bastion(ca: &Ca, number: u8, targets: &[(u8, u16)], extra: &str) -> Arc<Sshd> {
    let lines: Vec<String> = targets
        .iter()
        .map(|(target, port)| {
            format!("restrict,port-forwarding,permitopen=\"127.0.0.1:{port}\" {}", hop(number, *target))
        })
        .collect();
    Arc::new(Sshd::start(ca, number, &[("ed25519", "")], &lines.join("\n"), extra))
}

#[test]
fn goes_through_one_bastion() {
    let ca = Ca::new();
    let target = Arc::new(Sshd::simple(&ca, 1));
    let bastion = bastion(&ca, 2, &[(1, target.port)], "");
    let (t, b) = (Arc::clone(&target), Arc::clone(&bastion));
    let client = Client::new(move |request| {
        let keys = &request.keys;
        Ok(vec![Route { legs: vec![b.leg(&ca, keys, 1, &hop(2, 1)), t.leg(&ca, keys, 0, &login(1))] }])
    });
    let output = client.ssh("server-1", &["echo through; exit 3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}\n{}\n{}", text(&output), bastion.log(), target.log());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "through\n");
    let status = client.status();
    assert_eq!((status.keys, status.slots), (0, 0));
}

#[test]
fn goes_through_two_bastions() {
    let ca = Ca::new();
    let target = Arc::new(Sshd::simple(&ca, 1));
    let inner = bastion(&ca, 2, &[(1, target.port)], "");
    let outer = bastion(&ca, 3, &[(2, inner.port)], "");
    let (t, i, o) = (Arc::clone(&target), Arc::clone(&inner), Arc::clone(&outer));
    let client = Client::new(move |request| {
        let keys = &request.keys;
        Ok(vec![Route {
            legs: vec![
                o.leg(&ca, keys, 1, &hop(3, 2)),
                i.leg(&ca, keys, 2, &hop(2, 1)),
                t.leg(&ca, keys, 0, &login(1)),
            ],
        }])
    });
    let output = client.ssh("server-1", &["echo far"]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "far\n",
        "{}\n{}\n{}\n{}",
        text(&output),
        outer.log(),
        inner.log(),
        target.log()
    );
}

/// Every hop certificate opens one target: a mixed-up pair would be refused by the bastion's `permitopen`.
#[test]
fn twenty_at_once_through_one_bastion_to_five_targets_keep_their_own_hops() {
    let ca = Ca::new();
    let targets: Vec<Arc<Sshd>> = (1..=5).map(|number| Arc::new(Sshd::simple(&ca, number))).collect();
    let numbered: Vec<(u8, u16)> = (1..).zip(targets.iter().map(|target| target.port)).collect();
    let bastion = bastion(&ca, 9, &numbered, "MaxStartups 10:30:100");
    let b = Arc::clone(&bastion);
    let by_name: BTreeMap<String, (u8, Arc<Sshd>)> =
        (1..).zip(&targets).map(|(number, sshd)| (sshd.name.clone(), (number, Arc::clone(sshd)))).collect();
    let client = Client::new(move |request| {
        let (number, target) = &by_name[&request.server];
        let keys = &request.keys;
        Ok(vec![Route {
            legs: vec![b.leg(&ca, keys, 1, &hop(9, *number)), target.leg(&ca, keys, 0, &login(*number))],
        }])
    });
    let children: Vec<_> = (0..20)
        .map(|number| {
            client
                .ssh(&format!("server-{}", number % 5 + 1), &[&format!("echo {number}")])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{number}\n"),
            "{}\n{}",
            text(&output),
            bastion.log()
        );
    }
    assert!(client.status().most_slots <= 8);
}

#[test]
fn takes_the_second_route_when_the_first_bastion_is_dead_or_silent() {
    let ca = Arc::new(Ca::new());
    let target = Arc::new(Sshd::simple(&ca, 1));
    let alive = bastion(&ca, 2, &[(1, target.port)], "");
    // Accepts and says nothing, as a host that hangs does.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [silent.local_addr().unwrap().port(), closed] {
        let (ca, t, a) = (Arc::clone(&ca), Arc::clone(&target), Arc::clone(&alive));
        let client = Client::new(move |request| {
            let keys = &request.keys;
            let mut dead = a.leg(&ca, keys, 1, &hop(3, 1));
            dead.server_id = server_id(3);
            dead.name = "dead".to_owned();
            dead.addresses[0].port = port;
            let last = || t.leg(&ca, keys, 0, &login(1));
            Ok(vec![
                Route { legs: vec![dead, last()] },
                Route { legs: vec![a.leg(&ca, keys, 1, &hop(2, 1)), last()] },
            ])
        });
        // Waiting for the silent one would never end.
        let output = client.ssh("server-1", &["echo second"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "second\n", "{}", text(&output));
    }
}

/// Threat row 32: the hop's certificate leads nowhere else.
#[test]
fn a_refusal_of_the_bastion_is_told_by_its_name() {
    let ca = Ca::new();
    let target = Arc::new(Sshd::simple(&ca, 1));
    // Permits another port than the target's.
    let bastion = bastion(&ca, 2, &[(1, 1)], "");
    let (t, b) = (Arc::clone(&target), Arc::clone(&bastion));
    let client = Client::new(move |request| {
        let keys = &request.keys;
        Ok(vec![Route { legs: vec![b.leg(&ca, keys, 1, &hop(2, 1)), t.leg(&ca, keys, 0, &login(1))] }])
    });
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output).contains("no connection through `server-2`"), "{}", text(&output));
    assert!(text(&output).contains("administratively prohibited"), "{}", text(&output));
}

#[test]
fn a_bastion_with_another_host_key_is_refused() {
    let ca = Ca::new();
    let target = Arc::new(Sshd::simple(&ca, 1));
    let bastion = bastion(&ca, 2, &[(1, target.port)], "");
    let (t, b) = (Arc::clone(&target), Arc::clone(&bastion));
    let client = Client::new(move |request| {
        let keys = &request.keys;
        let mut first = b.leg(&ca, keys, 1, &hop(2, 1));
        first.host_keys.clone_from(&t.host_keys);
        Ok(vec![Route { legs: vec![first, t.leg(&ca, keys, 0, &login(1))] }])
    });
    let output = client.ssh("server-1", &["true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    assert!(text(&output).contains("Host key verification failed"), "{}", text(&output));
    assert!(!bastion.log().contains("Accepted"), "{}", bastion.log());
}

#[test]
fn hops_end_with_the_ssh_that_they_serve() {
    let ca = Ca::new();
    let target = Arc::new(Sshd::simple(&ca, 1));
    let bastion = bastion(&ca, 2, &[(1, target.port)], "");
    let (t, b) = (Arc::clone(&target), Arc::clone(&bastion));
    let client = Client::new(move |request| {
        let keys = &request.keys;
        Ok(vec![Route { legs: vec![b.leg(&ca, keys, 1, &hop(2, 1)), t.leg(&ca, keys, 0, &login(1))] }])
    });
    let started = client.home.path().join("started");
    let script = format!("touch {}; sleep 60", started.display());
    let mut ssh = client.ssh("server-1", &[&script]).spawn().unwrap();
    wait_for("the session", || started.exists().then_some(()));
    let mut all = children_of(ssh.id());
    let mut position = 0;
    while let Some(pid) = all.get(position).copied() {
        all.extend(children_of(pid));
        position += 1;
    }
    assert!(all.len() >= 3, "proxy, ssh -W and dial: {all:?}");
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    for pid in all {
        wait_for("the end of a helper", || {
            (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
        });
    }
}
