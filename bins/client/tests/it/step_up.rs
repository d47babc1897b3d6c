//! Several commands need a fresh sign-in at once: one leads, the others wait, and nobody is left behind.

use std::{collections::BTreeSet, thread::JoinHandle};

use usher::{
    exit::{Exit, Failure},
    ssh_agent::control::{Answer, ControlClient, Request},
};
use usher_types::HostName;

use crate::support::{Client, wait_for};

fn client() -> Client {
    Client::new(|_| Err(Failure::other("nobody connects here")))
}

fn names(names: &[&str]) -> BTreeSet<HostName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn ask(control: &mut ControlClient, server: &str) -> Result<Answer, Failure> {
    control.ask(&Request::StepUp { team: "acme".parse().unwrap(), server: server.parse().unwrap() })
}

/// A command that needs a sign-in for `server`; its connection ends with the thread.
fn command(client: &Client, server: &'static str) -> JoinHandle<Result<Answer, Failure>> {
    let mut control = client.control();
    std::thread::spawn(move || ask(&mut control, server))
}

/// One that leads, for `server` alone.
fn leader(client: &Client, server: &str) -> ControlClient {
    let mut control = client.control();
    let answer = ask(&mut control, server).unwrap();
    assert!(matches!(&answer, Answer::Lead { servers } if *servers == names(&[server])), "{answer:?}");
    control
}

#[test]
fn others_wait_for_the_one_that_leads_and_go_on_with_it() {
    let client = client();
    let leader = leader(&client, "web-1");
    let others = [command(&client, "web-2"), command(&client, "web-3")];
    wait_for("both others wait", || (client.status().waiting == names(&["web-2", "web-3"])).then_some(()));
    client.sign_in();
    drop(leader);
    for other in others {
        let answer = other.join().unwrap();
        assert!(matches!(answer, Ok(Answer::Done)), "{answer:?}");
    }
    assert!(client.status().waiting.is_empty());
}

#[test]
fn who_gives_up_ends_the_wait_of_all_and_the_next_sign_in_is_not_for_them() {
    let client = client();
    let gives_up = leader(&client, "web-1");
    let other = command(&client, "web-2");
    wait_for("the other waits", || (client.status().waiting == names(&["web-2"])).then_some(()));
    drop(gives_up);
    let failure = other.join().unwrap().unwrap_err();
    assert_eq!(failure.exit, Exit::LoginNeeded, "{failure:?}");
    // Nobody waits for web-2 any more: no page may ask for it.
    leader(&client, "web-3");
}

#[test]
fn who_leads_signs_in_for_all_that_came_at_the_same_time() {
    let client = client();
    wait_for("two commands come within one moment", || {
        let both = [command(&client, "web-1"), command(&client, "web-2")];
        let answers = both.map(|command| command.join().unwrap());
        let for_all = |answer: &Result<Answer, Failure>| matches!(answer, Ok(Answer::Lead { servers }) if *servers == names(&["web-1", "web-2"]));
        answers.iter().any(for_all).then_some(())
    });
}
