//! Somebody else's reading of SCIM: scim2-cli, which asks a service for everything that the standard says. From PyPI.
#![expect(clippy::disallowed_methods, clippy::expect_used, reason = "for tests only: starts a program")]

use std::{path::Path, process::Command};

const PACKAGES: [&str; 2] = ["scim2-cli==0.6.0", "scim2-tester==0.5.2"];

/// Has a service at `url` tested with a token; `root` is the certificate that it believes, in PEM. Gives what was found, one
/// line `STATUS check` each.
///
/// # Panics
/// When the tester cannot be had.
#[must_use]
pub fn test(url: &str, token: &str, root: &Path) -> String {
    let output = Command::new(crate::python::environment(&PACKAGES).join("bin/scim2"))
        .args(["--url", url, "test"])
        .env("SCIM_CLI_HEADERS", format!("Authorization: Bearer {token}"))
        .env("SSL_CERT_FILE", root)
        .output()
        .expect("the tester starts");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
