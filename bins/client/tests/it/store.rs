//! Which identity goes to whom, and what it may sign. Attacks of threat rows 28 and 30: use of the agent for another
//! host, account, session, or twice.

use ssh_key::Certificate;
use usher::ssh_agent::{
    peer::Lineage,
    protocol::{SignRequest, put_string},
    session_bind::BoundSession,
    store::{AnswerError, ConnectionKey, Handle, NewConnection, SignRefusal, SocketId, Store},
};
use usher_api::v1::{Address, Connection, Leg, Route};
use usher_types::{ConnectionId, UnixTime};

use crate::{
    session_bind::{bind, blob, key},
    support::{Ca, server_id},
};

const PROXY: i32 = 500;
const SSH: i32 = 400;

fn now() -> UnixTime {
    usher::clock::now()
}

fn host_line(seed: u8) -> String {
    format!("ssh-ed25519 {}", data_encoding::BASE64.encode(&blob(&key(seed))))
}

fn leg(ca: &Ca, keys: &[ConnectionKey], number: u8, account: &str, position: usize) -> Leg {
    Leg {
        server_id: server_id(number),
        name: format!("server-{number}"),
        account: account.to_owned(),
        addresses: vec![Address { ip: [10, 0, 0, number].into(), port: 22 }],
        host_keys: vec![host_line(number)],
        key: position,
        certificate: ca.certificate(&keys[position].to_openssh(), &format!("{account}@x"), 180),
    }
}

fn keys() -> Vec<ConnectionKey> {
    (1..=3).map(|_| ConnectionKey::from_seed(&usher::random::bytes().unwrap().into())).collect()
}

fn connection(routes: Vec<Route>) -> Connection {
    Connection {
        id: ConnectionId::new(now(), [1; 10]),
        server_id: server_id(1),
        server_name: "server-1".to_owned(),
        login: "alice".parse().unwrap(),
        valid_before: now(),
        routes,
        client_certificate: None,
    }
}

/// A direct connection to server `number` as `account`, asked for by `proxy`.
fn add(store: &mut Store, number: u8, account: &str, proxy: Lineage) -> Handle {
    let (ca, keys) = (Ca::new(), keys());
    let legs = vec![leg(&ca, &keys, number, account, 0)];
    let new = NewConnection {
        connection: connection(vec![Route { legs }]),
        keys,
        names: [format!("server-{number}")].into(),
        proxy,
    };
    let handle = store.add(new).unwrap();
    store.choose(handle, 0);
    handle
}

fn session(number: u8) -> BoundSession {
    BoundSession::verify(&bind(&key(number), b"session")).unwrap()
}

fn lineage(pid: i32, ancestors: &[i32]) -> Lineage {
    Lineage::from_pids(std::iter::once(pid).chain(ancestors.iter().copied()).collect())
}

fn proxy_of(ssh: i32) -> Lineage {
    lineage(PROXY + ssh, &[ssh, 30, 1])
}

fn request(certificate: &[u8], user: &str, session_id: &[u8], host: Option<&[u8]>) -> SignRequest {
    let mut data = Vec::new();
    put_string(&mut data, session_id);
    data.push(50);
    put_string(&mut data, user.as_bytes());
    put_string(&mut data, b"ssh-connection");
    put_string(&mut data, if host.is_some() { b"publickey-hostbound-v00@openssh.com" } else { b"publickey" });
    data.push(1);
    put_string(&mut data, b"ssh-ed25519-cert-v01@openssh.com");
    put_string(&mut data, certificate);
    if let Some(host) = host {
        put_string(&mut data, host);
    }
    SignRequest { key_blob: certificate.to_vec(), data }
}

#[test]
fn offers_the_identity_of_the_bound_host_to_one_socket_only() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let peer = lineage(SSH, &[30, 1]);
    assert_eq!(store.offer(SocketId(1), Some(&session(2)), &peer, now()), None, "another host");
    let offered = store.offer(SocketId(1), Some(&session(1)), &peer, now()).unwrap();
    assert_eq!(
        store.offer(SocketId(1), Some(&session(1)), &peer, now()),
        Some(offered.clone()),
        "asked again"
    );
    assert_eq!(store.offer(SocketId(2), Some(&session(1)), &peer, now()), None, "reserved");
    store.release(SocketId(1));
    assert_eq!(store.offer(SocketId(2), Some(&session(1)), &peer, now()), Some(offered));
}

#[test]
fn two_logins_on_one_host_at_once_get_their_own() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(401));
    add(&mut store, 1, "bob", proxy_of(402));
    for (socket, ssh, account) in [(1, 401, "alice@x"), (2, 402, "bob@x")] {
        let offered =
            store.offer(SocketId(socket), Some(&session(1)), &lineage(ssh, &[30, 1]), now()).unwrap();
        let certificate = Certificate::from_bytes(&offered.blob).unwrap();
        assert_eq!(certificate.valid_principals(), [account]);
    }
}

#[test]
fn a_process_that_is_not_the_proxys_ssh_gets_nothing() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let stranger = lineage(999, &[30, 1]);
    assert_eq!(store.offer(SocketId(1), Some(&session(1)), &stranger, now()), None);
    // Where processes cannot be told apart, the host key decides alone.
    assert!(store.offer(SocketId(1), Some(&session(1)), &Lineage::default(), now()).is_some());
}

#[test]
fn without_a_bound_session_only_an_only_identity_is_offered() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", Lineage::default());
    assert!(store.offer(SocketId(1), None, &Lineage::default(), now()).is_some());
    store.release(SocketId(1));
    add(&mut store, 2, "alice", Lineage::default());
    assert_eq!(store.offer(SocketId(1), None, &Lineage::default(), now()), None);
}

#[test]
fn signs_one_authentication_and_drops_the_key() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let (bound, peer) = (session(1), lineage(SSH, &[30, 1]));
    let offered = store.offer(SocketId(1), Some(&bound), &peer, now()).unwrap();
    let good = request(&offered.blob, "alice", b"session", Some(bound.host_blob()));
    let (signature, signed) = store.sign(SocketId(1), Some(&bound), &good, now()).unwrap();
    assert_eq!((signed.server, signed.target), (server_id(1), true));
    // Verified by the certificate's own key.
    let certificate = Certificate::from_bytes(&offered.blob).unwrap();
    let public =
        ed25519_dalek::VerifyingKey::from_bytes(&certificate.public_key().ed25519().unwrap().0).unwrap();
    let raw: [u8; 64] = signature[signature.len() - 64..].try_into().unwrap();
    public.verify_strict(&good.data, &ed25519_dalek::Signature::from_bytes(&raw)).unwrap();
    assert!(store.is_empty());
    assert_eq!(store.sign(SocketId(1), Some(&bound), &good, now()).unwrap_err(), SignRefusal::NotReserved);
}

#[test]
fn refuses_to_sign_for_anything_but_what_was_offered() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let (bound, peer) = (session(1), lineage(SSH, &[30, 1]));
    let offered = store.offer(SocketId(1), Some(&bound), &peer, now()).unwrap().blob;
    let host = bound.host_blob();
    let other_certificate = {
        let (ca, keys) = (Ca::new(), keys());
        Certificate::from_openssh(&leg(&ca, &keys, 1, "alice", 0).certificate).unwrap().to_bytes().unwrap()
    };
    let mut mixed = request(&offered, "alice", b"session", Some(host));
    mixed.data = request(&other_certificate, "alice", b"session", Some(host)).data;
    let mut not_ssh = request(&offered, "alice", b"session", Some(host));
    not_ssh.data = b"a file, or a git commit".to_vec();
    let mut longer = request(&offered, "alice", b"session", Some(host));
    longer.data.push(0);
    for (what, bad) in [
        ("account", request(&offered, "root", b"session", Some(host))),
        ("session", request(&offered, "alice", b"another", Some(host))),
        ("session without host", request(&offered, "alice", b"another", None)),
        ("host", request(&offered, "alice", b"session", Some(&blob(&key(2))))),
        ("certificate", request(&other_certificate, "alice", b"session", Some(host))),
        ("certificate inside", mixed),
        ("data", not_ssh),
        ("trailing data", longer),
    ] {
        assert!(store.sign(SocketId(1), Some(&bound), &bad, now()).is_err(), "{what}");
    }
    let good = request(&offered, "alice", b"session", Some(host));
    assert_eq!(
        store.sign(SocketId(2), Some(&bound), &good, now()).unwrap_err(),
        SignRefusal::NotReserved,
        "another socket"
    );
    let late = now().saturating_add(std::time::Duration::from_secs(181));
    assert_eq!(store.sign(SocketId(1), Some(&bound), &good, late).unwrap_err(), SignRefusal::Ended);
    // None of the attempts used anything up.
    assert!(store.sign(SocketId(1), Some(&bound), &good, now()).is_ok());
}

#[test]
fn signs_no_other_service_method_or_algorithm() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let (bound, peer) = (session(1), lineage(SSH, &[30, 1]));
    let offered = store.offer(SocketId(1), Some(&bound), &peer, now()).unwrap().blob;
    let good = request(&offered, "alice", b"session", None);
    for (from, to) in [
        (b"ssh-connection".as_slice(), b"ssh-userauth--".as_slice()),
        (b"publickey", b"hostbased"),
        (b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519-cert-v02@openssh.com"),
    ] {
        let mut bad = good.clone();
        let start = bad.data.windows(from.len()).position(|window| window == from).unwrap();
        bad.data[start..start + to.len()].copy_from_slice(to);
        assert!(
            matches!(store.sign(SocketId(1), Some(&bound), &bad, now()), Err(SignRefusal::Data(_))),
            "{}",
            String::from_utf8_lossy(to)
        );
    }
}

#[test]
fn expired_identities_are_never_offered() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let late = now().saturating_add(std::time::Duration::from_secs(181));
    assert_eq!(store.offer(SocketId(1), Some(&session(1)), &lineage(SSH, &[30, 1]), late), None);
    assert!(store.is_empty());
}

/// Two routes through two bastions to one target.
fn two_routes(store: &mut Store) -> Handle {
    let (ca, keys) = (Ca::new(), keys());
    let route = |bastion: u8| Route {
        legs: vec![leg(&ca, &keys, bastion, "usher-hop", 1), leg(&ca, &keys, 1, "alice", 0)],
    };
    let new = NewConnection {
        connection: connection(vec![route(2), route(3)]),
        keys: keys.clone(),
        names: ["server-1".to_owned(), "server-1.acme.usher".to_owned()].into(),
        proxy: proxy_of(SSH),
    };
    store.add(new).unwrap()
}

#[test]
fn hops_get_their_identity_from_below_the_proxy_and_the_target_waits_for_its_route() {
    let mut store = Store::default();
    let handle = two_routes(&mut store);
    let proxy = PROXY + SSH;
    store.started(handle, 0, 600);
    store.started(handle, 1, 601);
    let hop = |pid| lineage(pid, &[proxy, SSH, 30, 1]);
    assert_eq!(
        store.offer(SocketId(1), Some(&session(1)), &lineage(SSH, &[30, 1]), now()),
        None,
        "too early"
    );
    assert_eq!(store.offer(SocketId(1), Some(&session(2)), &hop(601), now()), None, "the other route's ssh");
    assert_eq!(
        store.offer(SocketId(1), Some(&session(2)), &lineage(SSH, &[30, 1]), now()),
        None,
        "not a hop"
    );
    assert!(store.offer(SocketId(1), Some(&session(2)), &hop(600), now()).is_some());
    assert!(store.offer(SocketId(2), Some(&session(3)), &hop(601), now()).is_some());
    store.choose(handle, 1);
    assert_eq!(store.len(), 1, "only the chosen target's identity is left");
    assert!(store.offer(SocketId(3), Some(&session(1)), &lineage(SSH, &[30, 1]), now()).is_some());
}

#[test]
fn where_processes_cannot_be_told_apart_no_hop_is_guessed() {
    let mut store = Store::default();
    let unknown = Lineage::default();
    for target in [1, 4] {
        let (ca, keys) = (Ca::new(), keys());
        let legs = vec![leg(&ca, &keys, 2, "usher-hop", 1), leg(&ca, &keys, target, "alice", 0)];
        let new = NewConnection {
            connection: connection(vec![Route { legs }]),
            keys,
            names: [format!("server-{target}")].into(),
            proxy: unknown.clone(),
        };
        store.add(new).unwrap();
    }
    // Each hop certificate opens one target only: a wrong one would fail later, and look like a broken server.
    assert_eq!(store.offer(SocketId(1), Some(&session(2)), &unknown, now()), None);
}

#[test]
fn knows_exactly_the_hosts_of_its_connections() {
    let mut store = Store::default();
    two_routes(&mut store);
    let known_hosts = lineage(700, &[SSH, 30, 1]);
    assert_eq!(store.known_hosts("SERVER-1", &known_hosts), [host_line(1)]);
    assert_eq!(store.known_hosts("server-1.acme.usher", &known_hosts), [host_line(1)]);
    assert_eq!(store.known_hosts(&server_id(2).to_string(), &known_hosts), [host_line(2)]);
    for foreign in ["server-2", "server-1.beta.usher", "github.com", ""] {
        assert!(store.known_hosts(foreign, &known_hosts).is_empty(), "{foreign}");
    }
}

#[test]
fn an_answer_for_other_keys_is_not_taken_in() {
    let (ca, keys, other) = (Ca::new(), keys(), keys());
    let new = |leg: Leg, keys: &[ConnectionKey]| NewConnection {
        connection: connection(vec![Route { legs: vec![leg] }]),
        keys: keys.to_vec(),
        names: ["server-1".to_owned()].into(),
        proxy: proxy_of(SSH),
    };
    let mut store = Store::default();
    let foreign = leg(&ca, &other, 1, "alice", 0);
    assert!(matches!(store.add(new(foreign, &keys)), Err(AnswerError::Certificate(_))));
    let mut keyless = leg(&ca, &keys, 1, "alice", 0);
    keyless.host_keys = vec!["not a key".to_owned()];
    assert!(matches!(store.add(new(keyless, &keys)), Err(AnswerError::HostKey(_))));
    let mut out_of_range = leg(&ca, &keys, 1, "alice", 0);
    out_of_range.key = 9;
    assert!(matches!(store.add(new(out_of_range, &keys)), Err(AnswerError::Certificate(_))));
    assert!(store.is_empty());
}

#[test]
fn keys_do_not_show_in_debug_output() {
    let mut store = Store::default();
    add(&mut store, 1, "alice", proxy_of(SSH));
    let shown = format!("{store:?}");
    assert!(shown.contains("[secret]"), "{shown}");
}
