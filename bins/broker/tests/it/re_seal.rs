//! `usher-broker re-seal`: everything under a new seal key, whatever happens meanwhile, on either engine.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use usher_broker::{AppState, CONFIG_NAME, Clock, Config, StartError};
use usher_store::{Store, StoreError, audit, sealed};
use usher_testkit::NOW;
use usher_types::SealKeyId;

use crate::{
    Broker,
    team::{POSTGRES, database, store_of},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_usher-broker");

struct Data {
    directory: TempDir,
    credentials: PathBuf,
}

impl Data {
    /// A team that the program made.
    fn new(more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let credentials = directory.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        let data = Self { directory, credentials };
        data.secret("credentials/usher-seal-key", &[3; 32]);
        data.secret("credentials/next", &[4; 32]);
        data.secret("passphrase", b"correct horse battery staple");
        data.secret("other passphrase", b"incorrect horse battery staple");
        let fixed = ["--team", "acme", "--public-url", "https://127.0.0.1:8443", "--listen", "127.0.0.1:0"];
        let mut more: Vec<String> =
            more.iter().map(|arg| arg.replace("DIR", data.directory.path().to_str().unwrap())).collect();
        if POSTGRES {
            more.extend(["--database".to_owned(), database().url.to_string()]);
        }
        let made = data.run(&[&["init"][..], &fixed].concat(), &more);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        data
    }

    fn secret(&self, name: &str, bytes: &[u8]) {
        let path = self.directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env("CREDENTIALS_DIRECTORY", &self.credentials);
        command
    }

    fn run(&self, args: &[&str], more: &[String]) -> Output {
        self.command().args(args).args(more).arg("--data-dir").arg(self.path()).output().unwrap()
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn re_seal(&self) -> Output {
        self.run(&["re-seal"], &[])
    }

    #[track_caller]
    fn re_seals(&self) {
        let output = self.re_seal();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `[seal]` says from here on.
    fn configure(&self, seal: &str) {
        let path = self.file(CONFIG_NAME);
        let text = fs::read_to_string(&path).unwrap();
        let head = text.split("\n[seal]").next().unwrap();
        let seal = seal.replace("DIR", self.directory.path().to_str().unwrap());
        fs::write(&path, format!("{head}\n[seal]\n{seal}\n")).unwrap();
    }

    fn config(&self) -> Config {
        let mut config = Config::load(&self.file(CONFIG_NAME)).unwrap();
        config.seal.credentials_directory = Some(self.credentials.clone());
        config
    }

    async fn open(&self) -> Result<AppState, StartError> {
        AppState::open(self.config(), Clock::fixed(NOW)).await
    }

    async fn opens(&self) {
        self.open().await.unwrap();
    }

    async fn id(&self) -> SealKeyId {
        sealed::seal_key(&mut self.store().await.read().await.unwrap()).await.unwrap().unwrap()
    }

    async fn store(&self) -> Store {
        store_of(&self.config()).await
    }

    async fn events(&self, kind: &str) -> Vec<Value> {
        let rows = audit::page(&mut self.store().await.read().await.unwrap(), 0, 10_000).await.unwrap();
        let events = rows.iter().map(|row| serde_json::from_slice::<Value>(&row.bytes).unwrap());
        events.map(|row| row["event"].clone()).filter(|event| event["type"] == kind).collect()
    }

    async fn rows(&self) -> BTreeMap<String, Vec<u8>> {
        let all = sealed::all(&mut self.store().await.read().await.unwrap()).await.unwrap();
        all.into_iter().map(|sealed| (format!("{:?}", sealed.place), sealed.bytes)).collect()
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[tokio::test]
async fn every_secret_gets_a_new_seal_and_the_old_key_opens_nothing() {
    let data = Data::new(&[]);
    let (before, old, rows) = (data.id().await, read(&data.file("seal.key")), data.rows().await);
    data.re_seals();
    data.opens().await;
    assert_ne!(data.id().await, before);
    assert_ne!(read(&data.file("seal.key")), old);
    assert!(!data.file("seal.key.next").exists());
    let events = data.events("seal_key.change").await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["before"], before.to_string());
    assert_eq!(events[0]["after"], data.id().await.to_string());
    let after = data.rows().await;
    assert_eq!(events[0]["secrets"], after.len());
    assert_eq!(rows.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (place, bytes) in &after {
        assert_eq!(SealKeyId::of_sealed(bytes), Some(data.id().await), "{place}");
        assert_ne!(rows[place], *bytes);
    }
    fs::write(data.file("seal.key"), old).unwrap();
    assert!(matches!(data.open().await, Err(StartError::Sealing(_))));
}

/// Killed after the new key was written: it is not in force, and the next re-seal uses it.
#[tokio::test]
async fn interrupted_before_the_commit_the_old_key_holds() {
    let data = Data::new(&[]);
    let before = data.id().await;
    data.secret("data/seal.key.next", &[9; 32]);
    data.opens().await;
    assert_eq!(data.id().await, before);
    data.re_seals();
    data.opens().await;
    assert_eq!(read(&data.file("seal.key")), [9; 32]);
}

/// Killed between the commit and the move of the file.
#[tokio::test]
async fn interrupted_after_the_commit_the_new_key_holds() {
    let data = Data::new(&[]);
    let old = read(&data.file("seal.key"));
    data.re_seals();
    fs::rename(data.file("seal.key"), data.file("seal.key.next")).unwrap();
    data.secret("data/seal.key", &old);
    data.opens().await;
    assert!(!data.file("seal.key.next").exists(), "the start made up for it");
    assert_ne!(read(&data.file("seal.key")), old);
    data.re_seals();
    data.opens().await;
}

/// How far it has come, as the files show it.
#[derive(Clone, Copy, Debug)]
enum Step {
    Started,
    KeyMade,
    Writing,
    KeyInPlace,
}

/// Killed whenever: the next start finds the right key, and nothing is half sealed.
#[tokio::test]
async fn killed_at_any_step_it_leaves_a_team_that_opens() {
    let data = Data::new(&[]);
    let mut changes = 0;
    for step in [Step::Started, Step::KeyMade, Step::Writing, Step::KeyInPlace].repeat(4) {
        let (key, log) = (read(&data.file("seal.key")), data.file("usher.db-wal"));
        let length = || fs::metadata(&log).map_or(0, |file| file.len());
        let before = (length(), data.id().await);
        let mut child = data
            .command()
            .args(["re-seal", "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let reached = || match step {
            Step::Started => true,
            Step::KeyMade => data.file("seal.key.next").exists(),
            Step::Writing => length() != before.0,
            Step::KeyInPlace => read(&data.file("seal.key")) != key,
        };
        // It may be past the step, or done, before anybody looks.
        while !reached() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        data.opens().await;
        let id = data.id().await;
        assert!(data.rows().await.values().all(|bytes| SealKeyId::of_sealed(bytes) == Some(id)), "{step:?}");
        changes += usize::from(id != before.1);
        assert_eq!(
            data.events("seal_key.change").await.len(),
            changes,
            "{step:?}: written down with the change"
        );
    }
    data.re_seals();
    data.opens().await;
}

#[tokio::test]
async fn a_secret_that_does_not_open_stops_it_before_anything_is_changed() {
    let data = Data::new(&[]);
    let store = data.store().await;
    let mut tx = store.begin().await.unwrap();
    let mut all = sealed::all(&mut tx).await.unwrap();
    let id = sealed::seal_key(&mut tx).await.unwrap().unwrap();
    *all[0].bytes.last_mut().unwrap() ^= 1;
    sealed::replace_all(&mut tx, &all, id).await.unwrap();
    tx.commit().await.unwrap();
    let rows = data.rows().await;
    let output = data.re_seal();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not open"));
    assert_eq!((data.rows().await, data.id().await), (rows, id));
}

#[tokio::test]
async fn from_a_file_to_a_passphrase_to_another_one_and_to_a_credential() {
    let data = Data::new(&[]);
    data.configure("next_passphrase_file = \"DIR/passphrase\"");
    data.re_seals();
    data.opens().await;
    let output = data.re_seal();
    assert!(String::from_utf8_lossy(&output.stderr).contains("in force already"), "{output:?}");
    // The old key's file is not needed any more.
    fs::remove_file(data.file("seal.key")).unwrap();
    data.configure("passphrase_file = \"DIR/passphrase\"\nnext_passphrase_file = \"DIR/other passphrase\"");
    data.opens().await;
    data.re_seals();
    data.opens().await;
    data.configure("passphrase_file = \"DIR/other passphrase\"\nnext_credential = \"next\"");
    data.opens().await;
    data.re_seals();
    data.configure("credential = \"next\"");
    data.opens().await;
    // And back into a file of the data directory.
    data.re_seals();
    data.opens().await;
    data.configure("");
    data.opens().await;
    // A passphrase that was in force once opens nothing now.
    data.configure("passphrase_file = \"DIR/passphrase\"");
    fs::remove_file(data.file("seal.key")).unwrap();
    assert!(matches!(data.open().await, Err(StartError::Sealing(_))));
}

#[tokio::test]
async fn a_team_begins_with_a_passphrase_or_a_credential() {
    for options in [["--seal-passphrase-file", "DIR/passphrase"], ["--seal-credential", "usher-seal-key"]] {
        let data = Data::new(&options);
        assert!(!data.file("seal.key").exists());
        data.opens().await;
        let output = data.run(&["client-url"], &[]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A broker that serves goes on: what it opens again is under the new key, and what it seals too.
#[tokio::test]
async fn a_serving_broker_takes_over_the_new_key() {
    let broker = Broker::start().await;
    let admin = broker.admin().await;
    let mut caller = broker.session(&admin).await;
    assert_eq!(caller.call("POST", "/v1/projects", &json!({"name": "web"})).await.status, 201);
    let run = |data_dir: PathBuf| {
        let output = Command::new(PROGRAM).args(["re-seal", "--data-dir"]).arg(data_dir).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    run(broker.data_dir());
    // As long as it has the old key in its hand, what that seals is refused by the database, not lost.
    let answer = caller.call("POST", "/v1/projects", &json!({"name": "far"})).await;
    assert!(answer.status == 201 || answer.code() == "unavailable", "{answer:?}");
    // Signing in opens the second factor, and with that it knows.
    broker.session(&admin).await;
    assert_eq!(caller.call("POST", "/v1/projects", &json!({"name": "farther"})).await.status, 201);
    let store = broker.app.store();
    let mut reader = store.read().await.unwrap();
    let id = sealed::seal_key(&mut reader).await.unwrap().unwrap();
    let all = sealed::all(&mut reader).await.unwrap();
    assert!(all.len() > 5);
    assert!(all.iter().all(|sealed| SealKeyId::of_sealed(&sealed.bytes) == Some(id)));
}

#[tokio::test]
async fn the_store_refuses_what_another_key_sealed() {
    let data = Data::new(&[]);
    let store = data.store().await;
    let mut tx = store.begin().await.unwrap();
    let key = usher_store::keys::of_team(&mut tx, usher_store::KeyPurpose::State).await.unwrap().remove(0);
    let other = SealKeyId::new([1; 8]);
    let stale = usher_store::keys::StoredKey {
        id: "team/state/2".to_owned(),
        sealed: [&other.head()[..], &[0; 40]].concat(),
        ..key
    };
    let refused = usher_store::keys::insert(&mut tx, &stale).await;
    assert!(matches!(refused, Err(StoreError::SealKey)), "{refused:?}");
}
