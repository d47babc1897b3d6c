//! What an operator relies on: `init` after a crash and twice at once, `next:` lines, an orderly end.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use usher_audit::Checkpoint;
use usher_store::{Store, audit};

use crate::Broker;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher-broker"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn init(directory: &Path) -> Child {
    let place = directory.to_str().unwrap();
    let url = "https://broker.example:8443";
    program(&["init", "--team", "acme", "--data-dir", place, "--public-url", url]).spawn().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const WHOLE: [&str; 3] = ["broker.toml", "seal.key", "usher.db"];

#[test]
fn an_init_that_was_killed_can_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let stage = data.join(".init");
    let mut first = init(&data);
    // Killed as soon as it has begun; it may be anywhere from there to the end.
    while !stage.exists() && first.try_wait().unwrap().is_none() {
        std::hint::spin_loop();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    if names(&data) != WHOLE {
        assert_eq!(names(&data), [".init"], "nothing that looks like a team");
        // What else a killed one may have left.
        fs::write(stage.join("seal.key"), "half").unwrap();
        let second = init(&data).wait_with_output().unwrap();
        assert!(second.status.success(), "{}", stderr(&second));
    }
    assert_eq!(names(&data), WHOLE);
    let place = data.to_str().unwrap();
    assert!(program(&["client-url", "--data-dir", place]).output().unwrap().status.success());
}

#[test]
fn inits_at_once_make_one_team() {
    let directory = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (0..4).map(|_number| init(directory.path())).collect();
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert_eq!(outputs.iter().filter(|output| output.status.success()).count(), 1);
    for refused in outputs.iter().filter(|output| !output.status.success()) {
        let said = stderr(refused);
        assert!(said.contains("another init is at work") || said.contains("never overwrites"), "{said}");
    }
    assert_eq!(names(directory.path()), WHOLE);
}

#[test]
fn errors_say_what_to_do_next() {
    let directory = tempfile::tempdir().unwrap();
    assert!(init(directory.path()).wait_with_output().unwrap().status.success());
    let place = directory.path().to_str().unwrap();
    let again = init(directory.path()).wait_with_output().unwrap();
    let nobody = program(&["user", "set-up-code", "nobody", "--data-dir", place]).output().unwrap();
    let no_file = program(&["serve", "--config", "/nonexistent/broker.toml"]).output().unwrap();
    for (output, error, next) in [
        (again, "never overwrites a team", "next: serve it with `usher-broker serve`"),
        (nobody, "there is no user `nobody`", "next: compare the name"),
        (no_file, "cannot read `/nonexistent/broker.toml`", "next: name the file with --config"),
    ] {
        let said = stderr(&output);
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            matches!(*lines, [first, second] if first.contains(error) && second.starts_with(next)),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

/// Guarantee 1: what was written down is also signed when the broker ends in an orderly way.
#[tokio::test]
async fn the_last_checkpoint_covers_the_whole_log() {
    let broker = Broker::start().await;
    let key = <[u8; 65]>::try_from(broker_audit_key(&broker).await).unwrap();
    broker.admin().await;
    let directory = broker.stop().await;
    let store = Store::open(&directory.path().join("data").join("usher.db")).await.unwrap();
    let mut reader = store.read().await.unwrap();
    let verified = audit::verify(&mut reader, &[key]).await.unwrap();
    let mut signed = BTreeMap::new();
    for stored in audit::checkpoints::page(&mut reader, 0, 100).await.unwrap() {
        let checkpoint = Checkpoint::decode(&stored.signed.bytes).unwrap();
        signed.extend(checkpoint.heads.into_iter().map(|head| (head.writer, head)));
    }
    assert_eq!(verified.heads, signed.into_values().collect::<Vec<_>>());
    assert_eq!((verified.is_good(), verified.unsigned_rows), (true, 0));
    assert!(verified.rows > 6, "more than init's own rows");
}

async fn broker_audit_key(broker: &Broker) -> Vec<u8> {
    let mut reader = broker.app.store().read().await.unwrap();
    let keys = usher_store::keys::of_team(&mut reader, usher_store::KeyPurpose::Audit).await.unwrap();
    keys.into_iter().next().unwrap().public
}

#[tokio::test]
async fn programs_get_json_and_people_get_a_page_where_nothing_is() {
    let broker = Broker::start().await;
    let get = async |path: &str| broker.http.get(format!("{}{path}", broker.origin)).send().await.unwrap();
    for (path, status, kind) in [
        ("/v1", 404, "application/json"),
        ("/v1/nothing", 404, "application/json"),
        ("/", 404, "text/html; charset=utf-8"),
        ("/v1x", 404, "text/html; charset=utf-8"),
        ("/sign-in", 405, "text/html; charset=utf-8"),
        ("/v1/connections", 405, "application/json"),
    ] {
        let answer = get(path).await;
        let found = (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap());
        assert_eq!(found, (status, kind), "{path}");
        if kind.starts_with("text/html") {
            assert!(answer.headers().contains_key("content-security-policy"), "{path}");
        }
    }
    // What is asked for is not shown again on a page.
    let page = get("/%3Cscript%3E").await.text().await.unwrap();
    assert!(page.contains("Nothing here") && !page.contains("script"));
}
