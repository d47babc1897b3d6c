//! `usher-agent run`: works without a broker, in two processes, and survives being killed at any moment.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use usher_testkit::namespace::{inside, sh, try_sh, wait_until};

use crate::{program, state::enroll};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("user{n}")).collect()
}

fn start() -> Child {
    let log = fs::File::options().create(true).append(true).open("/tmp/agent.log").unwrap();
    Command::new(program()).arg("run").stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

/// A process's own share of memory, in KiB.
fn pss(pid: u64) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn status() -> Option<Value> {
    serde_json::from_slice(&fs::read("/run/usher-agent/status.json").ok()?).ok()
}

fn wait_for_status(what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    wait_until(what, || status().is_some_and(|status| condition(&status)));
    status().unwrap()
}

#[test]
fn the_last_state_holds_without_a_broker() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        enroll(&names(3), 7);
        let mut agent = start();
        let seen =
            wait_for_status("the broker is missed", |status| status["broker"]["state"] == "unreachable");
        assert_eq!(seen["last_pass"]["applied_generation"], 7, "{seen:#}");
        assert_eq!(seen["last_pass"]["failed"], serde_json::json!([]), "{seen:#}");
        assert_eq!(sh("id -nG user0"), "user0 usher-admin usher-managed");

        // Two processes, one of them with no rights at all.
        let (helper, network) = (seen["helper_pid"].as_u64().unwrap(), seen["network_pid"].as_u64().unwrap());
        let status_of =
            |pid: u64, field: &str| sh(&format!("sed -n 's/^{field}:[[:space:]]*//p' /proc/{pid}/status"));
        let uid = sh("id -u usher-agent");
        assert_eq!(status_of(network, "Uid"), [uid.as_str(); 4].join("\t"));
        assert_eq!(status_of(network, "Groups"), "");
        assert_eq!(
            (status_of(network, "CapEff"), status_of(network, "NoNewPrivs")),
            ("0000000000000000".to_owned(), "1".to_owned())
        );
        assert_eq!(status_of(helper, "Uid"), "0\t0\t0\t0");
        assert_eq!(
            sh(&format!("ls -l /proc/{helper}/fd | grep -c socket:")),
            "1",
            "the helper has only its socket pair"
        );
        assert_eq!(
            sh(&format!("tr '\\0' ' ' < /proc/{network}/cmdline")).split_whitespace().last(),
            Some("network")
        );
        let (helper_memory, network_memory) = (pss(helper), pss(network));
        println!("memory (PSS): helper {helper_memory} KiB, network process {network_memory} KiB");

        let shown = sh(&format!("{agent} status", agent = program()));
        for line in [
            "server     web-1",
            "agent      running",
            "state      generation 7 and 1, applied 7 and 1",
            "accounts   3",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        let shown: Value =
            serde_json::from_str(&sh(&format!("{agent} status --output json", agent = program()))).unwrap();
        assert_eq!((&shown["v"], &shown["running"]), (&Value::from(1), &Value::from(true)));

        // The network half dies: the helper starts another.
        sh(&format!("kill -9 {network}"));
        let again = wait_for_status("there is another", |status| {
            status["network_pid"].as_u64().is_some_and(|pid| pid != network)
        });
        // The helper dies: its network half goes with it.
        agent.kill().unwrap();
        agent.wait().unwrap();
        let network = again["network_pid"].as_u64().unwrap();
        wait_until("the network process is gone", || !try_sh(&format!("kill -0 {network}")).0);
        assert!(sh(&format!("{agent} status", agent = program())).contains("agent      not running"));
    });
}

#[test]
fn killed_at_any_moment_it_leaves_no_half_made_account() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        let users = names(12);
        enroll(&users, 1);
        for delay in (0..10).map(|n| n * 60) {
            let mut agent = start();
            // A moment, not a wait: this is when the power goes.
            std::thread::park_timeout(Duration::from_millis(delay));
            agent.kill().unwrap();
            agent.wait().unwrap();
            sh("sshd -t; visudo -c");
        }
        let mut agent = start();
        let seen =
            wait_for_status("everything is applied", |status| status["last_pass"]["applied_generation"] == 1);
        assert_eq!(seen["last_pass"]["conflicts"], serde_json::json!([]), "{seen:#}");
        for user in &users {
            let facts = sh(&format!(
                "stat -c '%U %a' /home/{user}; id -nG {user}; getent shadow {user} | cut -d: -f2"
            ));
            assert!(
                facts.starts_with(&format!("{user} 700\n{user} "))
                    && facts.contains("usher-managed")
                    && facts.ends_with("\n*"),
                "{facts}"
            );
        }
        assert_eq!(sh("ls -A /home | wc -l"), "12");
        assert_eq!(sh("ls /etc/ssh/usher/principals | wc -l"), "12");
        agent.kill().unwrap();
        agent.wait().unwrap();
    });
}

#[test]
fn a_second_agent_refuses_to_start() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        enroll(&names(1), 1);
        let mut agent = start();
        wait_for_status("it runs", |status| status["network_pid"].is_u64());
        let (ok, text) = try_sh(&format!("{agent} run", agent = program()));
        assert!(!ok && text.contains("another usher-agent holds"), "{text}");
        agent.kill().unwrap();
        agent.wait().unwrap();
    });
}
