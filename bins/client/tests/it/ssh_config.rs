//! The installed ssh configuration: byte-exact in and out, and read by the real ssh.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use crate::support::{USHER, home, in_home, text};

const TEAM: &str = "current_team = \"acme\"\n[teams.acme]\nurl = \"https://broker.example\"\n\
                    device_key = \"device.key\"\nlogin = \"alice\"\n";

fn usher(home: &Path, arguments: &[&str]) -> String {
    let output = in_home(home, USHER).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn with_team() -> tempfile::TempDir {
    let home = home();
    fs::write(home.path().join("config/usher/config.toml"), TEAM).unwrap();
    home
}

#[test]
fn what_was_there_comes_back_byte_for_byte() {
    let odd = b"\xef\xbb\xbf# caf\xe9\r\nHost *\n\tUser bob\r\n\n\n  Include other\nMatch all";
    for before in [b"".as_slice(), b"\n", b"Host a\n", b"Host a", odd] {
        let home = with_team();
        fs::create_dir(home.path().join(".ssh")).unwrap();
        let path = home.path().join(".ssh/config");
        fs::write(&path, before).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        usher(home.path(), &["ssh-config", "install"]);
        let once = fs::read(&path).unwrap();
        let line = format!("Include \"{}/config/usher/ssh_config\"\n", home.path().display());
        assert_eq!(once, [line.as_bytes(), before].concat());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        usher(home.path(), &["ssh-config", "install"]);
        assert_eq!(fs::read(&path).unwrap(), once, "twice is once");
        usher(home.path(), &["ssh-config", "remove"]);
        assert_eq!(fs::read(&path).unwrap(), before);
        assert!(!home.path().join("config/usher/ssh_config").exists());
        usher(home.path(), &["ssh-config", "remove"]);
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_file_that_was_not_there_is_gone_again() {
    let home = with_team();
    let path = home.path().join(".ssh/config");
    usher(home.path(), &["ssh-config", "install"]);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    usher(home.path(), &["ssh-config", "install"]);
    usher(home.path(), &["ssh-config", "remove"]);
    assert!(!path.exists());
}

#[test]
fn moves_its_line_to_the_top_and_writes_through_links() {
    let home = with_team();
    fs::create_dir_all(home.path().join(".ssh")).unwrap();
    let real = home.path().join("dotfiles-config");
    let line = format!("Include \"{}/config/usher/ssh_config\"\n", home.path().display());
    fs::write(&real, format!("Host a\n{line}Host b\n")).unwrap();
    let path = home.path().join(".ssh/config");
    symlink(&real, &path).unwrap();
    usher(home.path(), &["ssh-config", "install"]);
    assert_eq!(fs::read_to_string(&real).unwrap(), format!("{line}Host a\nHost b\n"));
    assert!(path.symlink_metadata().unwrap().is_symlink());
}

/// What ssh would do for a destination.
fn effective(home: &Path, arguments: &[&str]) -> String {
    let output = in_home(home, "/usr/bin/ssh")
        .arg("-F")
        .arg(home.join(".ssh/config"))
        .arg("-G")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn ssh_takes_our_names_and_leaves_the_others() {
    let home = with_team();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::write(home.path().join(".ssh/config"), "Host *\n  User bob\n  IdentityFile ~/.ssh/mine\n").unwrap();
    fs::create_dir_all(home.path().join("data/usher")).unwrap();
    fs::write(home.path().join("data/usher/names.idx"), "#usher-names-v1\ngone-1\tacme\t-\nweb-1\tacme\t+\n")
        .unwrap();
    usher(home.path(), &["ssh-config", "install"]);
    for ours in ["web-1", "WEB-1", "gone-1", "anything.acme.usher"] {
        let options = effective(home.path(), &[ours]);
        assert!(options.contains("proxycommand '"), "{ours}: {options}");
        assert!(options.contains("user alice\n"), "{ours}: {options}");
        assert!(options.contains("stricthostkeychecking true\n"), "{ours}: {options}");
        assert!(options.contains("identitiesonly no\n"), "{ours}: {options}");
        assert!(options.contains("updatehostkeys false\n"), "{ours}: {options}");
        assert!(options.contains("/run/usher/ssh.sock\n"), "{ours}: {options}");
    }
    assert!(effective(home.path(), &["-l", "carol", "web-1"]).contains("user carol\n"));
    for other in ["web-2", "github.com", "web-1.example.com", "x.acme.usher.evil.example", "10.0.0.1"] {
        let options = effective(home.path(), &[other]);
        assert!(!options.contains("proxycommand"), "{other}: {options}");
        assert!(options.contains("user bob\n"), "{other}: {options}");
    }
}

/// CVE-2023-51385: what was typed as host or user reached a shell.
#[test]
fn names_with_shell_characters_run_nothing() {
    let home = with_team();
    usher(home.path(), &["ssh-config", "install"]);
    let witness = home.path().join("witness");
    let command = format!("touch${{IFS}}{}", witness.display());
    for host in [
        format!("x'`{command}`'.acme.usher"),
        format!("x'$({command})'"),
        format!("'$({command})'.acme.usher"),
        format!("$({command})"),
    ] {
        let _ = in_home(home.path(), "/usr/bin/ssh")
            .arg("-F")
            .arg(home.path().join(".ssh/config"))
            .args(["--", &host, "true"])
            .output()
            .unwrap();
        assert!(!witness.exists(), "{host}");
    }
    for user in [format!("a'$({command})'"), format!("$({command})"), format!("a'`{command}`'")] {
        let _ = in_home(home.path(), "/usr/bin/ssh")
            .arg("-F")
            .arg(home.path().join(".ssh/config"))
            .args(["-l", &user, "--", "web-1.acme.usher", "true"])
            .output()
            .unwrap();
        assert!(!witness.exists(), "{user}");
    }
}

#[test]
fn paths_with_spaces_and_percent_signs_work() {
    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("my 100%h home");
    for directory in ["config/usher", "data/usher", "cache", "run"] {
        fs::create_dir_all(home.join(directory)).unwrap();
    }
    fs::write(home.join("config/usher/config.toml"), TEAM).unwrap();
    fs::write(home.join("data/usher/names.idx"), "#usher-names-v1\nweb-1\tacme\t+\n").unwrap();
    let binary = home.join("usher");
    fs::copy(USHER, &binary).unwrap();
    let output = in_home(&home, binary.to_str().unwrap()).args(["ssh-config", "install"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let options = effective(&home, &["web-1"]);
    assert!(options.contains("proxycommand '"), "{options}");
    // The proxy itself starts from there, and says what is missing.
    let output = in_home(&home, "/usr/bin/ssh")
        .arg("-F")
        .arg(home.join(".ssh/config"))
        .args(["web-1", "true"])
        .output()
        .unwrap();
    assert!(text(&output).contains("not signed in to team `acme`"), "{}", text(&output));
}

#[test]
fn paths_that_cannot_be_quoted_are_refused() {
    let outer = tempfile::tempdir().unwrap();
    let home = outer.path().join("it's");
    for directory in ["config/usher", "data", "cache", "run"] {
        fs::create_dir_all(home.join(directory)).unwrap();
    }
    let output = in_home(&home, USHER).args(["ssh-config", "install"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("cannot be written into an ssh configuration"), "{}", text(&output));
    assert!(!home.join(".ssh").exists(), "nothing was changed");
}
