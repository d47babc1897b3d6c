//! A real browser for tests: Debian's Chromium, driven by npm's `playwright-core`. It signs in by the provider of
//! [`crate::idp`] as a person does. Whom it believes is in the certificate store of its home directory.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "for tests only: starts a browser, and a browser that cannot be had is a failed test"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::npm::installed;

const PACKAGE: &str = "playwright-core@1.65.1";
const SCRIPT: &str = include_str!("browser/sign_in.mjs");
const PASSKEY_SCRIPT: &str = include_str!("browser/passkey.mjs");

/// Installs its driver if need be; starting it needs no network after that.
///
/// # Panics
/// When it cannot be installed.
pub fn install() {
    let _home = installed(PACKAGE, "sign_in.mjs", SCRIPT);
}

/// Signs in by `connector` as `name`, from this address on; `names` says where names are, in Chromium's words. JSON: `host`, `text` of the last page, and `foreign`, which other
/// origins the first page loaded from.
///
/// # Errors
/// What the driver said when it did not get there.
pub fn sign_in(address: &str, connector: &str, name: &str, names: &str) -> Result<String, String> {
    let home = installed(PACKAGE, "sign_in.mjs", SCRIPT);
    let mut command = Command::new("node");
    ran(command.arg(home.join("sign_in.mjs")).args([address, connector, name, names]))
}

/// Sets up with a passkey and signs in with it, as `passkey.mjs` says, with this home directory; JSON.
///
/// # Errors
/// What the driver said when it did not get there.
pub fn passkey(home: &Path, arguments: &[&str]) -> Result<String, String> {
    let installed = installed(PACKAGE, "passkey.mjs", PASSKEY_SCRIPT);
    ran(Command::new("node").arg(installed.join("passkey.mjs")).args(arguments).env("HOME", home))
}

/// The same as [`sign_in`] with this home directory; a fifth argument is a directory for pictures.
///
/// # Errors
/// What the driver said when it did not get there.
pub fn sign_in_at(home: &Path, arguments: &[&str]) -> Result<String, String> {
    let installed = installed(PACKAGE, "sign_in.mjs", SCRIPT);
    ran(Command::new("node").arg(installed.join("sign_in.mjs")).args(arguments).env("HOME", home))
}

/// Lets a browser with this home directory believe the authority whose certificate is in this PEM file.
///
/// # Panics
/// When the certificate store cannot be made.
pub fn trust(home: &Path, authority: &Path) {
    let store = home.join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("a directory for certificates");
    let place = format!("sql:{}", store.display());
    let file = authority.display().to_string();
    for arguments in [
        &["-N", "--empty-password", "-d", &place][..],
        &["-A", "-t", "C,,", "-n", "team", "-i", &file, "-d", &place],
    ] {
        let status = Command::new("certutil").args(arguments).stdin(Stdio::null()).status();
        assert!(status.expect("this test needs the package libnss3-tools").success(), "{arguments:?}");
    }
}

fn ran(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("this test needs the package nodejs: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}
