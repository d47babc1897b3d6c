//! The built program.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_usher-broker")).args(arguments).output().unwrap()
}

fn init(directory: &Path) -> Value {
    let output = run(&[
        "init",
        "--team",
        "acme",
        "--data-dir",
        directory.to_str().unwrap(),
        "--public-url",
        "https://broker.example:8443",
        "--output",
        "json",
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn init_makes_a_private_directory_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let made = init(&data);
    assert_eq!(made["schema"], 1);
    assert_eq!(made["admin"], "admin");
    assert_eq!(made["set_up"]["url"], "https://broker.example:8443/set-up");
    assert_eq!(made["set_up"]["code"].as_str().unwrap().len(), 23);
    let (url, pin) = made["client_url"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(url, "https://broker.example:8443");
    assert_eq!(pin, made["pin"].as_str().unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("seal.key")), 0o600);
    assert_eq!(mode(&data.join("usher.db")), 0o600);

    let place = data.to_str().unwrap();
    let client_url = run(&["client-url", "--data-dir", place]);
    assert_eq!(String::from_utf8(client_url.stdout).unwrap().trim(), made["client_url"].as_str().unwrap());
    let root = run(&["root-certificate", "--data-dir", place]);
    assert!(root.stdout.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let verified = run(&["audit", "verify", "--data-dir", place]);
    assert!(verified.status.success() && verified.stdout.starts_with(b"The audit log is good"));
}

#[test]
fn init_never_overwrites() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path());
    let before = std::fs::read(directory.path().join("seal.key")).unwrap();
    let again = run(&[
        "init",
        "--team",
        "other",
        "--data-dir",
        directory.path().to_str().unwrap(),
        "--public-url",
        "https://other.example",
    ]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8(again.stderr).unwrap().starts_with("error: "));
    assert_eq!(std::fs::read(directory.path().join("seal.key")).unwrap(), before);
}

#[test]
fn bad_options_are_usage_errors_and_leave_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let place = data.to_str().unwrap();
    for (team, url) in [("../x", "https://a.example"), ("ACME", "https://a.example"), ("acme", "not a url")] {
        let output = run(&["init", "--team", team, "--data-dir", place, "--public-url", url]);
        assert_eq!(output.status.code(), Some(2), "{team} {url}");
    }
    for url in ["http://a.example", "https://a.example/path", "https://u:p@a.example", "https://a.example/?q"]
    {
        let output = run(&["init", "--team", "acme", "--data-dir", place, "--public-url", url]);
        assert_eq!(output.status.code(), Some(1), "{url}");
    }
    assert!(!data.exists());
    assert_eq!(run(&["serve", "--bogus"]).status.code(), Some(2));
    assert_eq!(run(&[]).status.code(), Some(2));
}

/// Threat 1.
#[test]
fn a_seal_key_that_others_can_read_stops_everything() {
    let directory = tempfile::tempdir().unwrap();
    init(directory.path());
    let key = directory.path().join("seal.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    for command in [&["serve"][..], &["client-url"], &["root-certificate"]] {
        let arguments = [command, &["--data-dir", directory.path().to_str().unwrap()]].concat();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8(output.stderr).unwrap().contains("0600"));
    }
}

#[test]
fn operators_get_people_back_in() {
    let directory = tempfile::tempdir().unwrap();
    let made = init(directory.path());
    let place = directory.path().to_str().unwrap();
    let output = run(&["user", "set-up-code", "admin", "--data-dir", place, "--output", "json"]);
    let code: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(code["set_up"]["code"], made["set_up"]["code"]);
    assert_eq!(run(&["user", "set-up-code", "nobody", "--data-dir", place]).status.code(), Some(5));
    assert_eq!(run(&["user", "set-up-code", "../x", "--data-dir", place]).status.code(), Some(2));
    let device = "dev_00000000000000000000000000";
    assert_eq!(run(&["device", "approve", device, "--data-dir", place]).status.code(), Some(5));
}

#[test]
fn configuration_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        run(&["config", "check", "--config", path.to_str().unwrap()])
    };
    let default = run(&["config", "default"]);
    let default = String::from_utf8(default.stdout).unwrap();
    assert!(check(&default).status.success());
    // Every setting as it is, uncommented: names and defaults of the file are those of the program.
    // Sections that are optional as a whole have their own tests.
    let mut optional = false;
    let set: String = default
        .lines()
        .filter(|line| {
            let head = line.strip_prefix('#').unwrap_or(line).starts_with('[');
            optional = if head { line.starts_with('#') } else { optional };
            !optional
        })
        .map(|line| line.strip_prefix('#').filter(|rest| rest.contains(" = ")).unwrap_or(line))
        .filter(|line| !line.contains("_file") && !line.starts_with("push_url"))
        .filter(|line| !line.starts_with("cloudtrail"))
        .collect::<Vec<_>>()
        .join("\n");
    let parsed: usher_broker::Config = toml::from_str(&set).unwrap();
    let bare: usher_broker::Config =
        toml::from_str("public_url = \"https://usher.example.com:8443\"").unwrap();
    assert_eq!(format!("{parsed:?}"), format!("{bare:?}"));
    for bad in [
        "",
        "public_url = \"https://a.example\"\nunknown = 1\n",
        "public_url = \"https://a.example\"\n[limits]\nsign_ins_burst = 0\n",
        "public_url = \"https://a.example\"\n[log]\nformat = \"xml\"\n",
        "public_url = \"https://a.example\"\n[tls]\ncertificate_file = \"/x\"\n",
        "public_url = \"http://a.example\"\n",
        "public_url = 7\n",
    ] {
        let output = check(bad);
        assert_eq!(output.status.code(), Some(1), "{bad}");
        assert!(output.stderr.starts_with(b"error: "), "{bad}");
    }
}

/// Threat 50: what is shown once is nowhere else.
#[test]
fn the_set_up_code_is_not_in_the_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let made = init(directory.path());
    let code = made["set_up"]["code"].as_str().unwrap().to_owned();
    for needle in [code.clone(), code.replace('-', "")] {
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
        }
    }
}
