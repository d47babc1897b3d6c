//! Programs from PyPI, each in a virtual environment of its own in the build directory, made once. Needs `python3` with
//! `venv`; says what is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests only: a program that cannot be had is a failed test"
)]

use std::{
    env, fs,
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
};

const PYTHON: &str = "/usr/bin/python3";

/// Where exactly these packages are installed, with the programs in `bin`.
#[track_caller]
pub(crate) fn environment(packages: &[&str]) -> PathBuf {
    let program = env::current_exe().expect("the test's own program");
    // Tests are in `target/debug/deps`, other programs one above.
    let mut directories = program.ancestors().skip(1).filter(|directory| !directory.ends_with("deps"));
    let target = directories.nth(1).expect("the test's program is in a build directory");
    let home = target.join("python").join(packages.join("+").replace(['[', ']', '='], "-"));
    fs::create_dir_all(&home).expect("a directory for it");
    let lock = File::create(home.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let (venv, complete) = (home.join("venv"), home.join("complete"));
    if !complete.exists() {
        let made = Command::new(PYTHON).args(["-m", "venv", "--clear"]).arg(&venv).output();
        let made = made.unwrap_or_else(|error| panic!("this test needs `{PYTHON}` with `venv`: {error}"));
        succeeded("this test needs the package python3-venv", &made);
        let pip = Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(packages)
            .stdin(Stdio::null())
            .output()
            .expect("pip starts");
        succeeded(&format!("this test needs {} from PyPI", packages.join(", ")), &pip);
        fs::write(complete, "").expect("a mark");
    }
    venv
}

#[track_caller]
fn succeeded(what: &str, output: &std::process::Output) {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&text));
}
