//! What a thief of the disk, of a core dump or of the broker's memory limits finds (threats 1, 41).

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use usher_keystore::{Custody, KeyLabel, Keystore, Purpose, SealKey};
use usher_store::{KeyPurpose, keys};

use crate::Broker;

/// After keys were made and used: no private key, no seal key and no second factor in any other file.
#[tokio::test]
async fn no_file_but_the_seal_key_is_worth_stealing() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    assert_eq!(caller.call("POST", "/v1/projects", &json!({"name": "web"})).await.status, 201);

    let seal_path = broker.data_dir().join("seal.key");
    let keystore = Keystore::new(SealKey::load(&seal_path).unwrap());
    let mut secrets = vec![std::fs::read(&seal_path).unwrap(), admin.totp.expose().to_vec()];
    let mut reader = broker.app.store().read().await.unwrap();
    for (stored_as, purpose) in [
        (KeyPurpose::TlsRoot, Purpose::TlsRoot),
        (KeyPurpose::State, Purpose::State),
        (KeyPurpose::Audit, Purpose::Audit),
        (KeyPurpose::SshUserCa, Purpose::SshUserCa),
    ] {
        let rows = keys::all(&mut reader, stored_as).await.unwrap();
        assert!(!rows.is_empty(), "{stored_as:?}");
        for row in rows {
            let label = KeyLabel::new(&row.id, purpose);
            let key = keystore.load(&label, Custody::Software, &row.sealed).await.unwrap();
            // Behind the algorithm's tag the private half, 32 bytes.
            secrets.push(key.software().unwrap().to_secret_bytes().unwrap()[1..33].to_vec());
        }
    }
    drop(reader);
    for entry in std::fs::read_dir(broker.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for (index, secret) in secrets.iter().enumerate() {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_slice());
            assert!(!found || (index == 0 && path == seal_path), "secret {index} is in {}", path.display());
        }
    }
}

#[test]
fn the_serving_process_leaves_no_core_dump() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_usher-broker");
    let made = Command::new(program)
        .args(["init", "--team", "acme", "--data-dir", place])
        .args(["--public-url", "https://127.0.0.1:8443", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut broker =
        Command::new(program).args(["serve", "--data-dir", place]).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut log = BufReader::new(broker.stderr.take().unwrap());
    while !line.contains("the broker serves") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "the broker ended");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.id())).unwrap();
    broker.kill().unwrap();
    broker.wait().unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Bodies that claim to be a gigabyte, or never end, cost no memory worth speaking of.
#[tokio::test]
async fn huge_requests_do_not_fill_the_memory() {
    let broker = Broker::start().await;
    let client = broker.http.get(format!("{}/healthz", broker.origin)).send().await.unwrap();
    assert!(client.status().is_success());
    let before = resident_kib();
    let root = rustls::RootCertStore::from_iter(webpki_anchor(&broker));
    let config = rustls::ClientConfig::builder().with_root_certificates(root).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let address = broker.origin.trim_start_matches("https://").to_owned();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    for head in [
        "POST /v1/token HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n",
        "POST /v1/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /sign-in HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 1073741824\r\n\r\n",
    ] {
        let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        let mut stream = connector.connect(name.clone(), stream).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // Until the broker has had enough.
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        for _ in 0..2048 {
            if stream.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _cut = stream.read_to_end(&mut answer).await.is_ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
}

fn webpki_anchor(broker: &Broker) -> Vec<rustls_pki_types::TrustAnchor<'static>> {
    let mut store = rustls::RootCertStore::empty();
    store.add(broker.app.authority().der().to_vec().into()).unwrap();
    store.roots
}
