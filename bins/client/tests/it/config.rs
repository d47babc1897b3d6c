//! `config.toml`, the device key, and names with a team in them.

use std::{fs, os::unix::fs::PermissionsExt as _};

use usher::{
    config::{self, Config},
    exit::Exit,
    ssh_agent::teams::{ConfiguredTeams, Teams as _},
};
use usher_types::Sha256;

const TEXT: &str = "current_team = \"acme\"\n[teams.acme]\nurl = \"https://broker.example:8443\"\n\
                    pin = \"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"\ndevice_key = \"device.key\"\n";

#[test]
fn survives_being_written_and_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), TEXT).unwrap();
    let config = Config::load(directory.path()).unwrap();
    config.save(directory.path()).unwrap();
    assert_eq!(Config::load(directory.path()).unwrap(), config);
    assert_eq!(config.team(None).unwrap().0.as_str(), "acme");
    assert_eq!(config.team(Some("beta")).unwrap_err().exit, Exit::NotFound);
    assert_eq!(config.team(Some("No!")).unwrap_err().exit, Exit::Usage);
}

#[test]
fn roots_that_the_broker_names_take_the_pin_s_place() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), TEXT).unwrap();
    let names = directory.path().join("names");
    let teams = ConfiguredTeams::new(directory.path().to_owned(), names);
    let pins = || Config::load(directory.path()).unwrap().team(None).unwrap().1.pins();
    let (team, enrolled) = ("acme".parse().unwrap(), pins());
    let next = [Sha256::of(b"new"), enrolled[0]];
    teams.keep_pins(&team, &next).unwrap();
    assert_eq!(pins(), next);
    teams.keep_pins(&team, &[]).unwrap();
    assert_eq!(pins(), next, "never none");
    teams.keep_pins(&team, &next[..1]).unwrap();
    assert_eq!(pins(), next[..1]);

    // A client that believes the system's roots is not given pins.
    let unpinned: String =
        TEXT.lines().filter(|line| !line.starts_with("pin")).map(|line| format!("{line}\n")).collect();
    fs::write(directory.path().join("config.toml"), unpinned).unwrap();
    teams.keep_pins(&team, &next).unwrap();
    assert_eq!(pins(), []);
}

#[test]
fn refuses_what_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), format!("{TEXT}token = \"x\"\n")).unwrap();
    let failure = Config::load(directory.path()).unwrap_err();
    assert!(failure.message.contains("unknown field `token`"), "{failure}");
}

#[test]
fn takes_team_names_from_host_names() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), TEXT).unwrap();
    let config = Config::load(directory.path()).unwrap();
    let acme = Some("acme".parse().unwrap());
    assert_eq!(config.split_host("web-1.acme.usher"), ("web-1", acme.clone()));
    assert_eq!(config.split_host("web.prod.acme.usher"), ("web.prod", acme));
    for other in ["web-1", "web-1.beta.usher", "acme.usher", "web-1.acme.usher.example", ".usher"] {
        assert_eq!(config.split_host(other), (other, None));
    }
}

#[test]
fn the_device_key_is_private_from_its_first_moment() {
    let directory = tempfile::tempdir().unwrap();
    config::ensure_device_key(directory.path()).unwrap();
    let path = directory.path().join(config::DEVICE_KEY);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    config::ensure_device_key(directory.path()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before, "a key is never replaced");
}

#[test]
fn refuses_a_device_key_that_others_could_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), TEXT).unwrap();
    config::ensure_device_key(directory.path()).unwrap();
    let configured = Config::load(directory.path()).unwrap();
    let (_, team) = configured.team(None).unwrap();
    assert!(config::device_key(directory.path(), team).is_ok());
    let path = directory.path().join(config::DEVICE_KEY);
    for mode in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(config::device_key(directory.path(), team).is_err(), "{mode:o}");
        assert!(config::ensure_device_key(directory.path()).is_err(), "{mode:o}");
    }
    // Nor through a link to somebody else's file.
    let real = directory.path().join("real.key");
    fs::rename(&path, &real).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink(&real, &path).unwrap();
    assert!(config::device_key(directory.path(), team).is_err());
}
