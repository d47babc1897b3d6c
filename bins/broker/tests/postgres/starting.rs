//! `usher-broker` as an operator types it, with a database server.

use std::{os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::Value;
use usher_testkit::postgres::{PASSWORD, Postgres};

fn run(args: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_usher-broker")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn ok(args: &[&str]) -> String {
    let (success, stdout, stderr) = run(args);
    assert!(success, "{args:?}: {stderr}");
    stdout
}

#[track_caller]
fn refused(args: &[&str]) -> String {
    let (success, stdout, stderr) = run(args);
    assert!(!success, "{args:?}: {stdout}");
    stderr
}

fn init<'a>(directory: &'a str, url: &'a str) -> Vec<&'a str> {
    let public = "https://broker.example:8443";
    vec!["init", "--team", "acme", "--data-dir", directory, "--public-url", public, "--database", url]
}

#[test]
fn a_second_broker_needs_two_files_of_the_first_and_serves_the_same_team() {
    let cluster = Postgres::shared();
    let url = cluster.url(&cluster.create_database());
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let (first_text, second_text) = (first.to_str().unwrap(), second.to_str().unwrap());
    ok(&init(first_text, &url));
    assert!(!first.join("usher.db").exists());
    let config = std::fs::read_to_string(first.join("broker.toml")).unwrap();
    assert!(config.contains(&format!("[database]\nurl = \"{url}\"\ntls = \"verify-full\"\n")), "{config}");

    std::fs::create_dir(&second).unwrap();
    for name in ["broker.toml", "seal.key"] {
        std::fs::copy(first.join(name), second.join(name)).unwrap();
    }
    let client_url = ok(&["client-url", "--data-dir", first_text]);
    assert_eq!(ok(&["client-url", "--data-dir", second_text]), client_url);
    // What an operator does on one host is there on the other.
    ok(&["user", "set-up-code", "admin", "--data-dir", second_text]);
    let verified = ok(&["audit", "verify", "--data-dir", first_text, "--output", "json"]);
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!(verified["writers"], 2, "{verified}");

    // Another team does not take the database over.
    let third = place.path().join("third");
    let message = refused(&init(third.to_str().unwrap(), &url));
    assert!(message.contains("holds a team already") && message.contains("seal.key"), "{message}");
    assert!(!third.join("seal.key").exists());
    assert_eq!(ok(&["client-url", "--data-dir", first_text]), client_url);
}

#[test]
fn after_a_re_seal_on_one_host_the_others_need_the_new_key() {
    let cluster = Postgres::shared();
    let url = cluster.url(&cluster.create_database());
    let place = tempfile::tempdir().unwrap();
    let host = |name: &str| place.path().join(name);
    let text = |name: &str| host(name).to_str().unwrap().to_owned();
    ok(&init(&text("first"), &url));
    for name in ["told", "untold"] {
        std::fs::create_dir(host(name)).unwrap();
        for file in ["broker.toml", "seal.key"] {
            std::fs::copy(host("first").join(file), host(name).join(file)).unwrap();
        }
    }
    for name in ["first", "told"] {
        let next = host(name).join("seal.key.next");
        std::fs::write(&next, [9; 32]).unwrap();
        std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    ok(&["re-seal", "--data-dir", &text("first")]);
    for name in ["first", "told"] {
        ok(&["client-url", "--data-dir", &text(name)]);
        assert_eq!(std::fs::read(host(name).join("seal.key")).unwrap(), [9; 32], "{name}");
        assert!(!host(name).join("seal.key.next").exists(), "{name}");
    }
    let message = refused(&["client-url", "--data-dir", &text("untold")]);
    assert!(message.contains("the seal key cannot be used"), "{message}");
}

#[test]
fn what_is_wrong_with_the_database_is_said_with_what_to_do() {
    let cluster = Postgres::shared();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let directory = directory.to_str().unwrap();
    let missing = cluster.url("nowhere");
    for (url, what, next) in [
        ("mysql://usher@db.example/usher", "must be postgres://", "write it like"),
        ("postgres://usher:secret@db.example/usher", "no password", "password_file"),
        ("postgres://usher@db.example/usher?sslmode=disable", "nothing behind it", "write it like"),
        ("postgres://usher@%2Fnonexistent/usher", "cannot be reached", "compare the host and port"),
        (&missing, "refuses the login", "create the database"),
    ] {
        let message = refused(&init(directory, url));
        assert!(message.contains(what), "{url}: {message}");
        assert!(message.contains("next: ") && message.contains(next), "{url}: {message}");
        assert!(!message.contains("secret"), "{message}");
        assert!(!Path::new(directory).join("seal.key").exists(), "{url}");
    }
}

#[test]
fn a_server_with_tls_is_told_from_an_impostor() {
    let certificates = tempfile::tempdir().unwrap();
    let path = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    let openssl = |args: &[&str]| {
        let output = Command::new("openssl").args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    for name in ["ca", "other"] {
        let (key, certificate) = (path(&format!("{name}.key")), path(&format!("{name}.pem")));
        let made =
            ["req", "-x509", "-days", "30", "-subj", "/CN=test", "-keyout", &key, "-out", &certificate];
        openssl(&[&made[..], &curve].concat());
    }
    let (key, request, names) = (path("server.key"), path("server.csr"), path("names"));
    let asked = ["req", "-subj", "/CN=server", "-keyout", &key, "-out", &request];
    openssl(&[&asked[..], &curve].concat());
    std::fs::write(&names, "subjectAltName=DNS:localhost\n").unwrap();
    let (ca, ca_key, certificate) = (path("ca.pem"), path("ca.key"), path("server.pem"));
    let signed =
        ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial", "-days", "30"];
    openssl(&[&signed[..], &["-extfile", &names, "-out", &certificate]].concat());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let cluster = Postgres::start_with(&[&format!("port={port}"), "listen_addresses=127.0.0.1"]);
    cluster.use_tls(&read(&certificate), &read(&key));
    let database = cluster.create_database();

    let password = path("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("data");
    let directory = directory.to_str().unwrap();
    let url = format!("postgres://usher@localhost:{port}/{database}");
    let by_address = format!("postgres://usher@127.0.0.1:{port}/{database}");
    let with = |url, password, root| {
        let mut args = init(directory, url);
        args.extend(["--database-password-file", password, "--database-root-certificate", root]);
        args
    };
    let (root, other) = (ca, path("other.pem"));

    let message = refused(&with(&url, &password, &root));
    assert!(message.contains("others may read") && message.contains("chmod 0600"), "{message}");
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    for args in [with(&url, &password, &other), with(&by_address, &password, &root), init(directory, &url)] {
        let message = refused(&args);
        assert!(message.contains("no protected connection"), "{args:?}: {message}");
    }
    let wrong = path("wrong");
    std::fs::write(&wrong, "wrong").unwrap();
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).unwrap();
    let message = refused(&with(&url, &wrong, &root));
    assert!(message.contains("refuses the login"), "{message}");

    ok(&with(&url, &password, &root));
    let verified = ok(&["audit", "verify", "--data-dir", directory]);
    assert!(verified.contains("The audit log is good"), "{verified}");
}
