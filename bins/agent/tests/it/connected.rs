//! An agent and its broker: enrolling with lost answers, news, reports, removal, and a broker that goes away.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use usher_enrollment::PastedToken;
use usher_testkit::{
    fixture,
    namespace::{inside, sh, try_sh, wait_until},
};
use usher_types::{SecretToken, TokenKind};

use crate::{broker::Broker, program};

struct Running(Child);

impl Running {
    fn start() -> Self {
        let log = fs::File::options().create(true).append(true).open("/tmp/agent.log").unwrap();
        Self(Command::new(program()).arg("run").stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn secret() -> SecretToken {
    SecretToken::new(TokenKind::Enrollment, fixture::token(1), [7; 32])
}

fn enroll(broker: &Broker) -> (bool, String) {
    let token = PastedToken::new(&broker.url(), Some(broker.pin()), secret()).unwrap().reveal();
    fs::write("/tmp/token", token.as_bytes()).unwrap();
    try_sh(&format!(
        "{agent} enroll --token-file - --name web-1 --address 10.0.0.7 < /tmp/token",
        agent = program()
    ))
}

fn status(field: &str) -> String {
    let status = fs::read("/run/usher-agent/status.json").ok();
    let status: Option<Value> = status.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    status.and_then(|status| status.pointer(field).map(ToString::to_string)).unwrap_or_default()
}

fn last_report(broker: &Broker) -> Value {
    broker.desk(|desk| desk.reports.last().cloned()).unwrap_or_default()
}

#[test]
fn an_enrolled_host_follows_its_broker() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        let broker = Broker::start();
        broker.desk(|desk| desk.lose_answers = 2);
        let (ok, said) = enroll(&broker);
        assert!(ok && said.contains("enrolled as web-1 in project prod of team acme"), "{said}");
        let asked = broker.desk(|desk| desk.enrolled.clone());
        assert_eq!(asked.len(), 3, "a lost answer is asked for again");
        assert!(asked.iter().all(|request| *request == asked[0]), "as the same request");
        assert_eq!(asked[0]["facts"]["addresses"], serde_json::json!([{"ip": "10.0.0.7", "port": 22}]));
        assert!(asked[0]["facts"]["host_keys"][0].as_str().unwrap().starts_with("ssh-ed25519 AAAA"));
        assert!(asked[0]["facts"]["sshd_version"].as_str().unwrap().starts_with("OpenSSH_"));
        assert!(
            !try_sh(&format!("grep -r '{}' /var/lib/usher-agent /run 2>/dev/null", *secret().reveal())).0
        );

        let agent = Running::start();
        broker.desk(|desk| (desk.users, desk.generation) = (vec!["alice".to_owned()], 1));
        wait_until("alice is reported as applied", || last_report(&broker)["applied_generation"] == 1);
        assert_eq!(sh("id -nG alice"), "alice usher-admin usher-managed");
        let report = last_report(&broker);
        assert_eq!(report["facts"], asked[0]["facts"]);
        assert_eq!(report["conflicts"], serde_json::json!([]));

        // In the way of bob: reported, not touched.
        sh("useradd -M -u 1500 bob");
        broker.desk(|desk| (desk.users, desk.generation) = (vec!["alice".to_owned(), "bob".to_owned()], 2));
        wait_until("the conflict is reported", || last_report(&broker)["conflicts"][0]["name"] == "bob");
        assert!(last_report(&broker)["taken_ids"].as_array().unwrap().contains(&Value::from(1500)));
        assert_eq!(sh("id -u bob"), "1500");

        broker.desk(|desk| (desk.users, desk.generation) = (Vec::new(), 3));
        wait_until("alice is gone", || !try_sh("getent passwd alice").0);
        wait_until("that is reported", || last_report(&broker)["applied_generation"] == 3);

        // Another agent process goes on where the last one stopped.
        drop(agent);
        broker.desk(|desk| (desk.users, desk.generation) = (vec!["alice".to_owned()], 4));
        let _agent = Running::start();
        wait_until("alice is back", || last_report(&broker)["applied_generation"] == 4);
        assert_eq!(sh("stat -c '%U %a' /home/alice"), "alice 700");
    });
}

#[test]
fn a_removed_server_keeps_its_state_and_says_so() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        let broker = Broker::start();
        assert!(enroll(&broker).0);
        broker.desk(|desk| (desk.users, desk.generation) = (vec!["alice".to_owned()], 1));
        let _agent = Running::start();
        wait_until("the broker is reached", || status("/broker/state") == "\"reachable\"");
        wait_until("alice is made", || last_report(&broker)["applied_generation"] == 1);
        broker.desk(|desk| desk.removed = true);
        wait_until("the removal is noticed", || status("/broker/state") == "\"removed\"");
        assert!(
            sh(&format!("{agent} status", agent = program())).contains("does not know this server any more")
        );
        assert!(try_sh("getent passwd alice").0, "fail-static");
    });
}

#[test]
fn a_broker_that_wants_to_be_left_alone_is_given_no_reports() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        let broker = Broker::start();
        assert!(enroll(&broker).0);
        broker.desk(|desk| desk.busy = true);
        let _agent = Running::start();
        wait_until("a report is refused", || broker.desk(|desk| desk.refused_reports) > 0);
        let apply = |generation: u64| {
            broker.desk(|desk| desk.generation = generation);
            let applied = || status("/last_pass/applied_generation") == generation.to_string();
            wait_until("it is applied all the same", applied);
        };
        // When the second one is applied, the answer to whatever was on its way has been read.
        apply(1);
        apply(2);
        let before = broker.desk(|desk| desk.refused_reports);
        apply(3);
        apply(4);
        assert_eq!(broker.desk(|desk| desk.refused_reports), before);
    });
}

#[test]
fn a_broker_with_another_root_is_not_believed() {
    inside(|| {
        sh("/usr/sbin/sshd -E /tmp/sshd.log");
        let (broker, impostor) = (Broker::start(), Broker::start());
        let token = PastedToken::new(&impostor.url(), Some(broker.pin()), secret()).unwrap().reveal();
        fs::write("/tmp/token", token.as_bytes()).unwrap();
        let (ok, said) = try_sh(&format!(
            "{agent} enroll --token-file /tmp/token --address 10.0.0.7; test $? = 6",
            agent = program()
        ));
        assert!(ok && said.contains("pinned root"), "{said}");
        assert!(impostor.desk(|desk| desk.enrolled.is_empty()), "the token was not shown to it");
        assert!(!try_sh("test -e /var/lib/usher-agent/enrollment.json").0);
    });
}
