//! An identity provider for tests: npm `oidc-provider`, which is certified, with one client (`usher`) and people who need
//! no password. It comes from npm into the build directory, once. Needs `node` and `npm`; says what is missing, and never
//! skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests only: starts a server, and a server that cannot be had is a failed test"
)]

use std::{
    env, fs,
    fs::File,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const PACKAGE: &str = "oidc-provider@9.13.3";
const SCRIPT: &str = include_str!("idp/provider.mjs");

/// The client's id there.
pub const CLIENT_ID: &str = "usher";
/// The client's secret there.
pub const CLIENT_SECRET: &str = "a-secret-of-more-than-thirty-two-characters";

/// A provider that runs until it is dropped.
#[derive(Debug)]
pub struct Idp {
    issuer: String,
    child: Child,
}

impl Idp {
    /// Installs it if need be; starting it needs no network after that.
    ///
    /// # Panics
    /// When it cannot be installed.
    pub fn install() {
        let _home = installed();
    }

    /// Starts a provider whose client comes back to `redirect_uri` and hears of logouts at `logout_uri`, whose certificate
    /// comes from the authority in the PEM file `trust`.
    ///
    /// # Panics
    /// When it cannot be installed or started.
    #[must_use]
    pub fn start(redirect_uri: &str, logout_uri: &str, trust: &Path) -> Self {
        let home = installed();
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .args([redirect_uri, logout_uri])
            .current_dir(home)
            .env("NODE_EXTRA_CA_CERTS", trust)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs the package nodejs");
        let mut first = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let read = said.read_line(&mut first).expect("the provider says its issuer");
        let mut log = child.stderr.take().expect("piped");
        if read == 0 {
            let mut text = String::new();
            log.read_to_string(&mut text).expect("the provider's log");
            panic!("the provider ended: {text}");
        }
        // Nobody may be stopped by a full pipe; and what it says belongs to the test that fails.
        std::thread::spawn(move || {
            let mut lines = BufReader::new(log).lines();
            while let Some(Ok(line)) = lines.next() {
                let _written = writeln!(std::io::stderr(), "provider: {line}").is_ok();
            }
        });
        Self { issuer: first.trim().to_owned(), child }
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

/// Where the provider is, installed if need be.
fn installed() -> PathBuf {
    let program = env::current_exe().expect("the test's own program");
    // Tests are in `target/debug/deps`, other programs one above.
    let mut directories = program.ancestors().skip(1).filter(|directory| !directory.ends_with("deps"));
    let target = directories.nth(1).expect("the test's program is in a build directory");
    let home = target.join("node").join(PACKAGE);
    fs::create_dir_all(&home).expect("a directory for the provider");
    let lock = File::create(home.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let complete = home.join("complete");
    if !complete.exists() {
        let npm = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--ignore-scripts",
                "--prefix",
                ".",
                PACKAGE,
            ])
            .current_dir(&home)
            .stdin(Stdio::null())
            .output()
            .expect("this test needs the package npm");
        let text = [npm.stdout.as_slice(), &npm.stderr].concat();
        assert!(
            npm.status.success(),
            "this test needs {PACKAGE} from npm: {}",
            String::from_utf8_lossy(&text)
        );
        fs::write(complete, "").expect("a mark");
    }
    fs::write(home.join("provider.mjs"), SCRIPT).expect("the provider's script");
    home
}
