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
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::npm::installed;

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
        let _home = home();
    }

    /// Starts a provider whose client comes back to `redirect_uri` and hears of logouts at `logout_uri`, whose certificate
    /// comes from the authority in the PEM file `trust`.
    ///
    /// # Panics
    /// When it cannot be installed or started.
    #[must_use]
    pub fn start(redirect_uri: &str, logout_uri: &str, trust: &Path) -> Self {
        Self::run(&[redirect_uri, logout_uri], trust)
    }

    /// The same at an address of its own, with TLS: `directory` has `idp.pem`, `idp.key`, and `root.pem` to trust.
    ///
    /// # Panics
    /// When it cannot be installed or started.
    #[must_use]
    pub fn with_tls(redirect_uri: &str, logout_uri: &str, issuer: &str, directory: &Path) -> Self {
        let file = |name: &str| directory.join(name).display().to_string();
        let (key, certificate) = (file("idp.key"), file("idp.pem"));
        Self::run(&[redirect_uri, logout_uri, issuer, &key, &certificate], &directory.join("root.pem"))
    }

    fn run(arguments: &[&str], trust: &Path) -> Self {
        let home = home();
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .args(arguments)
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

fn home() -> PathBuf {
    installed(PACKAGE, "provider.mjs", SCRIPT)
}
