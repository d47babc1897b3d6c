//! Packages of npm in the build directory, each once. Needs `npm`; says what is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "for tests only: a package that cannot be had is a failed test"
)]

use std::{
    env, fs,
    fs::File,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The directory in which `package` (`name@version`) is installed, and a script with this name and text lies.
pub(crate) fn installed(package: &str, script: &str, text: &str) -> PathBuf {
    let program = env::current_exe().expect("the test's own program");
    // Tests are in `target/debug/deps`, other programs one above.
    let mut directories = program.ancestors().skip(1).filter(|directory| !directory.ends_with("deps"));
    let target = directories.nth(1).expect("the test's program is in a build directory");
    let home = target.join("node").join(package);
    fs::create_dir_all(&home).expect("a directory for the package");
    let lock = File::create(home.join("lock")).expect("a lock file");
    lock.lock().expect("a lock");
    let complete = home.join("complete");
    if !complete.exists() {
        let options =
            ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", "."];
        let npm = Command::new("npm")
            .args(options)
            .arg(package)
            .current_dir(&home)
            .stdin(Stdio::null())
            .output()
            .expect("this test needs the package npm");
        let said = [npm.stdout.as_slice(), &npm.stderr].concat();
        assert!(
            npm.status.success(),
            "this test needs {package} from npm: {}",
            String::from_utf8_lossy(&said)
        );
        fs::write(complete, "").expect("a mark");
    }
    let script = home.join(script);
    // Others may be reading it, and in a laboratory it cannot be written.
    if fs::read_to_string(&script).ok().as_deref() != Some(text) {
        fs::write(&script, text).expect("the script");
    }
    home
}
