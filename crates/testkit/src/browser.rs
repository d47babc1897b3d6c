//! A real browser for tests: Debian's Chromium, driven by npm's `playwright-core`. It signs in by the provider of
//! [`crate::idp`] as a person does. Whom it believes is in the certificate store of its home directory.
#![expect(
    clippy::disallowed_methods,
    reason = "for tests only: starts a browser, and a browser that cannot be had is a failed test"
)]

use std::process::{Command, Stdio};

use crate::npm::installed;

const PACKAGE: &str = "playwright-core@1.65.1";
const SCRIPT: &str = include_str!("browser/sign_in.mjs");

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
    let output = Command::new("node")
        .arg(home.join("sign_in.mjs"))
        .args([address, connector, name, names])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("this test needs the package nodejs: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
}
