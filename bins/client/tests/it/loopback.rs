//! The loopback end of a sign-in. Attacks of threat row 36: another local process that guesses the port.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use usher::{
    exit::{Exit, Failure},
    login::loopback::{Loopback, Page},
};

const STATE: &str = "the-state";
const ISSUER: &str = "https://broker.example:8443";

fn split(uri: &str) -> (String, String) {
    let rest = uri.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    (authority.to_owned(), format!("/{path}"))
}

fn request(authority: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(authority).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn get(uri: &str, query: &str) -> String {
    let (authority, path) = split(uri);
    request(&authority, &format!("GET {path}?{query} HTTP/1.1\r\nhost: {authority}\r\n\r\n"))
}

/// Waits for a browser that asks for `query`.
fn visit(query: &str) -> (Result<String, Failure>, String) {
    let loopback = Loopback::bind().unwrap();
    let uri = loopback.redirect_uri().to_owned();
    let query = query.to_owned();
    let browser = std::thread::spawn(move || get(&uri, &query));
    let outcome = loopback.wait(STATE, ISSUER, Duration::from_secs(60)).map(|(code, responder)| {
        responder.finish(Page::SignedIn);
        code
    });
    (outcome, browser.join().unwrap())
}

fn encoded(issuer: &str) -> String {
    url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect()
}

#[test]
fn takes_the_code_that_belongs_to_this_sign_in() {
    let (outcome, page) = visit(&format!("code=abc&state={STATE}&iss={}", encoded(ISSUER)));
    assert_eq!(outcome.unwrap(), "abc");
    assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    assert!(page.contains("Signed in"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
}

#[test]
fn refuses_another_state_another_broker_and_doubled_parameters() {
    let iss = encoded(ISSUER);
    for query in [
        format!("code=abc&state=other&iss={iss}"),
        format!("code=abc&iss={iss}"),
        format!("code=abc&state={STATE}"),
        format!("code=abc&state={STATE}&iss={}", encoded("https://evil.example")),
        format!("code=abc&code=def&state={STATE}&iss={iss}"),
        format!("code=abc&state={STATE}&state={STATE}&iss={iss}"),
        format!("code=&state={STATE}&iss={iss}"),
        format!("state={STATE}&iss={iss}"),
    ] {
        let (outcome, page) = visit(&query);
        assert_eq!(outcome.unwrap_err().exit, Exit::LoginNeeded, "{query}");
        assert!(page.starts_with("HTTP/1.1 400"), "{query}: {page}");
    }
}

#[test]
fn passes_on_why_the_page_refused() {
    let iss = encoded(ISSUER);
    let (outcome, _) =
        visit(&format!("error=access_denied&error_description=user+is+disabled&state={STATE}&iss={iss}"));
    assert_eq!(outcome.unwrap_err().message, "the sign-in was refused: user is disabled");
}

#[test]
fn a_process_that_knows_the_port_but_not_the_path_ends_nothing() {
    let loopback = Loopback::bind().unwrap();
    let uri = loopback.redirect_uri().to_owned();
    let (authority, path) = split(&uri);
    let waiting = std::thread::spawn(move || {
        loopback.wait(STATE, ISSUER, Duration::from_secs(60)).map(|(code, responder)| {
            responder.finish(Page::SignedIn);
            code
        })
    });
    let stolen = format!("code=evil&state={STATE}&iss={}", encoded(ISSUER));
    // One that says nothing must not be in anybody's way.
    let _silent = TcpStream::connect(&authority).unwrap();
    let (shorter, _) = path.split_at(path.len() - 1);
    for target in ["/", "/callback", "/favicon.ico", shorter, &format!("{path}/")] {
        let answer = request(&authority, &format!("GET {target}?{stolen} HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{target}: {answer}");
    }
    let answer = request(&authority, &format!("POST {path}?{stolen} HTTP/1.1\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(!waiting.is_finished());
    get(&uri, &format!("code=good&state={STATE}&iss={}", encoded(ISSUER)));
    assert_eq!(waiting.join().unwrap().unwrap(), "good");
}

#[test]
fn paths_cannot_be_guessed_and_differ() {
    let (one, two) = (Loopback::bind().unwrap(), Loopback::bind().unwrap());
    let (_, one) = split(one.redirect_uri());
    let (_, two) = split(two.redirect_uri());
    assert_ne!(one, two);
    assert_eq!(one.len(), 44, "256 bits");
}

#[test]
fn does_not_wait_for_ever() {
    let loopback = Loopback::bind().unwrap();
    let failure = loopback.wait(STATE, ISSUER, Duration::from_millis(20)).unwrap_err();
    assert_eq!(failure.exit, Exit::LoginNeeded);
}
