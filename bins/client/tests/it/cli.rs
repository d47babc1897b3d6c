//! The command line as people and scripts meet it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect, expect_file};
use serde_json::Value;

use crate::support::{Client, USHER, home, in_home, text};

#[track_caller]
fn check(arguments: &[&str], code: i32, stdout: &Expect, stderr: &Expect) {
    let home = home();
    let output = in_home(home.path(), USHER).args(arguments).output().unwrap();
    stdout.assert_eq(&String::from_utf8_lossy(&output.stdout));
    stderr.assert_eq(&String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
}

#[test]
fn help_is_golden() {
    for (arguments, file) in [
        (vec!["--help"], "help.txt"),
        (vec!["ssh", "--help"], "help-ssh.txt"),
        (vec!["token", "create", "--help"], "help-token-create.txt"),
        (vec!["group", "--help"], "help-group.txt"),
        (vec!["lock", "user", "--help"], "help-lock-user.txt"),
        (vec!["project", "retire-ca", "--help"], "help-project-retire-ca.txt"),
        (vec!["team", "--help"], "help-team.txt"),
    ] {
        let home = home();
        let output = in_home(home.path(), USHER).args(&arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        expect_file![format!("../golden/{file}")].assert_eq(&String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn without_a_team_commands_say_how_to_get_one() {
    for arguments in [vec!["login"], vec!["whoami"], vec!["servers"], vec!["project", "list"], vec!["logout"]]
    {
        check(
            &arguments,
            1,
            &expect![[""]],
            &expect![[r#"
                error: this client belongs to no team yet
                next: enroll with `usher enroll https://broker#pin`
            "#]],
        );
    }
}

#[test]
fn errors_are_json_when_asked_for() {
    check(
        &["--output", "json", "whoami"],
        1,
        &expect![[""]],
        &expect![[r#"
            {"error":{"exit":"other","message":"this client belongs to no team yet","next":"enroll with `usher enroll https://broker#pin`"}}
        "#]],
    );
}

#[test]
fn bad_addresses_and_pins_are_usage_errors() {
    for address in [
        "http://broker.example",
        "broker",
        "https://b.example/path",
        "https://b.example#pin",
        "https://u@b.example",
    ] {
        let home = home();
        let output = in_home(home.path(), USHER).args(["enroll", address]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{address}: {}", text(&output));
        assert!(!home.path().join("config/usher/device.key").exists(), "{address}: nothing was made");
    }
}

#[test]
fn a_broker_that_is_not_there_is_a_network_error() {
    let home = home();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("https://127.0.0.1:{closed}#47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
    let output = in_home(home.path(), USHER).args(["enroll", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(!home.path().join("config/usher/config.toml").exists());
}

#[test]
fn bad_names_never_reach_the_broker() {
    let client = Client::new(|_| Ok(Vec::new()));
    for name in ["..", "../x", "root ", "ALL", "a b", "a,b", "a\nb", "\u{430}lice", "-x", "", "a/b", "%2e"] {
        for noun in ["user", "group", "server", "project"] {
            let output = client.usher().args([noun, "show", "--", name]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{noun} {name:?}: {}", text(&output));
        }
    }
    for arguments in [
        ["user", "create", "root!"],
        ["project", "create", "0day"],
        ["group", "create", "Ops"],
        ["token", "delete", "tok_1"],
        ["device", "approve", "dev_ILOU"],
    ] {
        let output = client.usher().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
    }
    assert!(client.broker.calls.lock().unwrap().is_empty());
}

#[test]
fn admin_commands_call_the_api() {
    let client = Client::new(|_| Ok(Vec::new()));
    let run = |arguments: &[&str]| {
        let output = client.usher().args(arguments).output().unwrap();
        // The canned broker knows none of this.
        assert_eq!(output.status.code(), Some(5), "{arguments:?}: {}", text(&output));
        let calls = std::mem::take(&mut *client.broker.calls.lock().unwrap());
        let [call] = calls.as_slice() else { panic!("{arguments:?}: {calls:?}") };
        // By name: in which order a map of JSON is depends on what else is built.
        let body = call.body.as_ref().map(|body| {
            let members: BTreeMap<String, Value> = serde_json::from_value(body.clone()).unwrap();
            serde_json::to_string(&members).unwrap()
        });
        format!("{} {} {}", call.method, call.path, body.unwrap_or_default())
    };
    let said: Vec<String> = [
        vec!["project", "create", "pay"],
        vec!["project", "delete", "pay"],
        vec!["group", "create", "ops"],
        vec!["group", "add", "ops", "bob"],
        vec!["group", "remove", "ops", "bob"],
        vec!["group", "assign", "ops", "--project", "pay", "--admin"],
        vec!["group", "unassign", "ops", "--project", "pay"],
        vec!["user", "create", "bob", "--role", "admin"],
        vec!["user", "disable", "bob"],
        vec!["user", "set-up-code", "bob"],
        vec![
            "token",
            "create",
            "--project",
            "pay",
            "--description",
            "web",
            "--ttl",
            "2h",
            "--max-uses",
            "50",
        ],
        vec![
            "token",
            "create",
            "--project",
            "pay",
            "--description",
            "b",
            "--role",
            "bastion",
            "--bastion-group",
            "edge",
        ],
        vec!["server", "set", "web-1", "--via", "none"],
        vec!["server", "delete", "srv_01kcz9k3000r3gw2068r3gr60r"],
        vec!["device", "list"],
        vec!["policy", "remove", "night"],
        vec!["policy", "schema"],
    ]
    .iter()
    .map(|arguments| run(arguments))
    .collect();
    expect![[r#"
        POST /v1/projects {"admin_sudo":"passwordless","name":"pay","port_forwarding":"local","ssh_certificate_type":"ed25519"}
        DELETE /v1/projects/pay 
        POST /v1/groups {"name":"ops"}
        PUT /v1/groups/ops/members/bob 
        DELETE /v1/groups/ops/members/bob 
        PUT /v1/projects/pay/groups/ops {"server_access":true,"server_admin":true}
        DELETE /v1/projects/pay/groups/ops 
        POST /v1/users {"team_role":"admin","user_name":"bob"}
        PATCH /v1/users/bob {"status":"disabled"}
        POST /v1/users/bob/set-up-code 
        POST /v1/tokens {"description":"web","labels":{},"max_uses":50,"project":"pay","role":"target","ttl_seconds":7200}
        POST /v1/tokens {"bastion_group":"edge","description":"b","labels":{},"project":"pay","role":"bastion"}
        PATCH /v1/servers/web-1 {"via":""}
        DELETE /v1/servers/srv_01kcz9k3000r3gw2068r3gr60r 
        GET /v1/devices 
        DELETE /v1/policies/night 
        GET /v1/policy-schema "#]].assert_eq(&said.join("\n"));
}

#[test]
fn durations_are_read_as_people_write_them() {
    use usher::cli::duration_seconds;
    assert_eq!(duration_seconds("90"), Ok(90));
    assert_eq!(duration_seconds("15m"), Ok(900));
    assert_eq!(duration_seconds("1h"), Ok(3600));
    assert_eq!(duration_seconds("7d"), Ok(604_800));
    for wrong in ["", "h", "1w", "-1", "1.5h", "0", "99999999999", "1hh", "200000d"] {
        assert!(duration_seconds(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn completions_are_scripts() {
    let home = home();
    for shell in ["bash", "zsh", "fish"] {
        let output = in_home(home.path(), USHER).args(["completions", shell]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 1000, "{}", text(&output));
    }
}

#[test]
fn inspect_says_what_is_no_certificate() {
    check(
        &["inspect", "/dev/null"],
        1,
        &expect![[""]],
        &expect![[r#"
        error: not an OpenSSH certificate
    "#]],
    );
}

#[test]
fn usage_errors_of_ssh_are_255_like_its_other_errors() {
    let home = home();
    let output = in_home(home.path(), USHER).args(["ssh", "--no-such-option"]).output().unwrap();
    assert_eq!(output.status.code(), Some(255));
    let output = in_home(home.path(), USHER).args(["servers", "--no-such-option"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn resolve_answers_by_its_status_alone() {
    let home = home();
    std::fs::create_dir_all(home.path().join("data/usher")).unwrap();
    std::fs::write(home.path().join("data/usher/names.idx"), "#usher-names-v1\nweb-1\tacme\t+\n").unwrap();
    for (name, code) in [("web-1", 0), ("WEB-1", 0), ("web-2", 5), ("", 5)] {
        let output = in_home(home.path(), USHER).args(["resolve", "-q", name]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{}", text(&output));
    }
}
