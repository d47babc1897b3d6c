//! Programs that sign in: with a key, with a token that is there, and with one of GitHub's, which a stand-in of this test
//! gives out. No browser, no terminal, nothing on the disk.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::Output,
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
};

use usher::workload::Credential;
use usher_api::v1::{Route, SubjectTokenType};
use usher_types::{Secret, SecretToken, TokenId, TokenKind, UnixTime};

use crate::support::{Ca, Client, Sshd, USHER, in_home, principal, text};

fn api_key(number: u8) -> String {
    let id = TokenId::new(UnixTime::from_secs(1_800_000_000), [number; 10]);
    SecretToken::new(TokenKind::ApiKey, id, [number; 32]).reveal().to_string()
}

fn of_key(key: &str) -> Credential {
    Credential::ApiKey(Secret::new(key.to_owned()))
}

fn nowhere(key: &str) -> Client {
    Client::program(&of_key(key), |_| Ok(Vec::new()))
}

#[test]
fn a_key_in_the_environment_is_enough_for_ssh() {
    let (ca, key) = (Ca::new(), api_key(1));
    let sshd = Arc::new(Sshd::simple(&ca, 1));
    let target = Arc::clone(&sshd);
    let client = Client::program(&of_key(&key), move |request| {
        Ok(vec![Route { legs: vec![target.leg(&ca, &request.keys, 0, &principal(1))] }])
    });
    for _ in 0..2 {
        let output = client.ssh("server-1", &["true"]).env("USHER_API_KEY", &key).output().unwrap();
        assert!(output.status.success(), "{}\n{}", text(&output), sshd.log());
    }
    let exchanges = client.broker.exchanges.lock().unwrap();
    assert_eq!(exchanges.len(), 1, "the session is used until it ends");
    assert_eq!(
        (exchanges[0].subject_token_type, &exchanges[0].subject_token),
        (SubjectTokenType::ApiKey, &key)
    );
    assert_eq!(exchanges[0].service_user, None, "the key says whose it is");
}

fn servers(client: &Client, variables: &[(&str, &str)]) -> Output {
    let mut command = client.usher();
    command.arg("servers").envs(variables.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_key_comes_from_a_file_or_from_systemd_too() {
    let key = api_key(2);
    let client = nowhere(&key);
    let file = client.home.path().join("usher-api-key");
    fs::write(&file, format!("{key}\n")).unwrap();
    let directory = client.home.path().to_str().unwrap().to_owned();
    let named = servers(&client, &[("USHER_API_KEY_FILE", file.to_str().unwrap())]);
    assert!(named.status.success(), "{}", text(&named));
    let loaded = servers(&client, &[("CREDENTIALS_DIRECTORY", &directory)]);
    assert!(loaded.status.success(), "{}", text(&loaded));
    assert_eq!(client.broker.exchanges.lock().unwrap().len(), 1, "one key, one session");
    let missing = servers(&client, &[("USHER_API_KEY_FILE", "/nonexistent/key")]);
    assert_eq!(missing.status.code(), Some(1), "{}", text(&missing));
}

/// Whoever works under the same account, a person or another job, has a process of their own.
#[test]
fn a_program_does_not_get_the_session_of_a_person_nor_of_another_program() {
    let person = Client::new(|_| Ok(Vec::new()));
    for key in [api_key(3), api_key(4)] {
        // A real background process starts, and the team's broker is not there.
        let output = servers(&person, &[("USHER_API_KEY", &key)]);
        assert_eq!(output.status.code(), Some(6), "{}", text(&output));
        assert!(!text(&output).contains(&key));
    }
    assert!(person.broker.calls.lock().unwrap().is_empty());
    assert!(person.broker.exchanges.lock().unwrap().is_empty());
    let own = servers(&person, &[]);
    assert!(own.status.success(), "{}", text(&own));
    for key in [api_key(3), api_key(4)] {
        let mut stop = in_home(person.home.path(), USHER);
        stop.args(["ssh-agent", "--stop"]).env("USHER_API_KEY", key);
        assert!(stop.output().unwrap().status.success());
    }
}

#[test]
fn what_is_no_key_is_sent_nowhere_and_not_repeated() {
    let broken = api_key(5).replace("uk1_", "uk1_x");
    let client = nowhere(&broken);
    let output = servers(&client, &[("USHER_API_KEY", &broken)]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(!text(&output).contains(&broken), "{}", text(&output));
    assert!(client.broker.exchanges.lock().unwrap().is_empty());

    let key = api_key(6);
    let client = nowhere(&key);
    client.broker.refuses_exchange.store(true, Ordering::Relaxed);
    let output = servers(&client, &[("USHER_API_KEY", &key)]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(!text(&output).contains(&key), "{}", text(&output));
}

/// Answers one request as GitHub's endpoint does, and gives what it was asked.
fn stand_in(answer: &'static str) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token?api-version=2", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let asked: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let length = answer.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}")
            .unwrap();
        asked
    });
    (url, served)
}

#[test]
fn a_job_of_github_signs_in_with_what_github_says_about_it() {
    let (url, served) = stand_in(r#"{"count": 1, "value": "header.claims.signature"}"#);
    let request_token = "request-token-of-the-job";
    let credential = Credential::GitHub {
        url: url.clone(),
        request_token: Secret::new(request_token.to_owned()),
        service_user: "deploy".parse().unwrap(),
    };
    let client = Client::program(&credential, |_| Ok(Vec::new()));
    let mut login = client.usher();
    login.args(["login", "--workload"]);
    let output = login
        .env("USHER_SERVICE_USER", "deploy")
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", request_token)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let asked = served.join().unwrap();
    // For this broker and nobody else.
    assert_eq!(asked[0], "GET /token?api-version=2&audience=https%3A%2F%2F127.0.0.1%3A1 HTTP/1.1");
    let bearer = format!("authorization: bearer {request_token}");
    assert!(asked.iter().any(|line| line.to_lowercase() == bearer), "{asked:?}");
    let exchanges = client.broker.exchanges.lock().unwrap();
    assert_eq!(exchanges[0].subject_token, "header.claims.signature");
    assert_eq!(exchanges[0].service_user.as_ref().unwrap().as_str(), "deploy");
    assert_eq!(exchanges[0].subject_token_type, SubjectTokenType::Jwt);
}

#[test]
fn a_request_token_is_sent_over_https_only() {
    let url = "http://token.example/token";
    let credential = Credential::GitHub {
        url: url.to_owned(),
        request_token: Secret::new("secret".to_owned()),
        service_user: "deploy".parse().unwrap(),
    };
    let client = Client::program(&credential, |_| Ok(Vec::new()));
    let variables = [
        ("USHER_SERVICE_USER", "deploy"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret"),
    ];
    let output = servers(&client, &variables);
    assert_eq!(output.status.code(), Some(6), "{}", text(&output));
    assert!(text(&output).contains("https"), "{}", text(&output));
}

#[test]
fn without_anything_to_sign_in_with_a_program_is_told_so() {
    let client = Client::signed_out(|_| Ok(Vec::new()));
    let mut login = client.usher();
    let output = login.args(["login", "--workload"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let output = servers(&client, &[("USHER_SERVICE_USER", "deploy")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}
