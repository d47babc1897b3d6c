//! The loopback end of a sign-in (RFC 8252 section 7.3): a random port and a random path that only the sign-in page's
//! address names, one acceptance, and a page that says how it went. Another local process that guesses the port learns
//! and ends nothing.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    time::Duration,
};

use crate::{
    exit::{Exit, Failure},
    random,
};

const MAX_REQUEST: usize = 8192;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests looked at per sign-in: a browser needs one or two.
const MAX_REQUESTS: usize = 64;

/// The listener of one sign-in.
#[derive(Debug)]
pub struct Loopback {
    listener: TcpListener,
    path: String,
    redirect_uri: String,
}

/// The browser's waiting request.
#[derive(Debug)]
pub struct Responder(TcpStream);

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// No session.
    Failed,
    /// There is a session.
    SignedIn,
}

impl Loopback {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn bind() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::io("cannot listen on 127.0.0.1", &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let path = format!("/{}", random::text()?);
        Ok(Self { redirect_uri: format!("http://127.0.0.1:{port}{path}"), listener, path })
    }

    /// Where the sign-in page sends the browser.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the browser and checks what it brings. Whatever comes to the right path ends the wait.
    ///
    /// # Errors
    /// When the page refused, the answer is not to this sign-in, or nobody came.
    pub fn wait(
        &self,
        state: &str,
        issuer: &str,
        patience: Duration,
    ) -> Result<(String, Responder), Failure> {
        let listener = self.listener.try_clone().map_err(|error| Failure::io("cannot wait", &error))?;
        let path = self.path.clone();
        let (sender, arrivals) = mpsc::channel();
        std::thread::spawn(move || accept(&listener, &path, &sender));
        let (query, responder) = arrivals.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                Failure::new(Exit::LoginNeeded, "nobody signed in within five minutes")
                    .next("run `usher login` again")
            }
            RecvTimeoutError::Disconnected => Failure::new(
                Exit::LoginNeeded,
                "too many requests came to the sign-in's port, none of them right",
            ),
        })?;
        match check(&query, state, issuer) {
            Ok(code) => Ok((code, responder)),
            Err(failure) => {
                responder.finish(Page::Failed);
                Err(failure)
            }
        }
    }
}

fn accept(listener: &TcpListener, path: &str, arrivals: &Sender<(String, Responder)>) {
    for stream in listener.incoming().take(MAX_REQUESTS) {
        let Ok(stream) = stream else { continue };
        let (path, arrivals) = (path.to_owned(), arrivals.clone());
        // Each on its own: one that says nothing must not keep the browser waiting.
        std::thread::spawn(move || {
            if let Some(arrival) = read_request(stream, &path) {
                // Somebody was first: that one counts.
                let _ = arrivals.send(arrival);
            }
        });
    }
}

/// The query of a `GET` to the right path; everything else is answered here.
fn read_request(mut stream: TcpStream, path: &str) -> Option<(String, Responder)> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT)).ok()?;
    let mut request = Vec::new();
    let mut buffer = [0_u8; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).ok()?;
        if read == 0 || request.len() > MAX_REQUEST {
            return None;
        }
        request.extend(buffer.iter().take(read));
    }
    let text = String::from_utf8_lossy(&request);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (asked, query) = target.split_once('?').unwrap_or((target, ""));
    if method == "GET" && asked == path {
        return Some((query.to_owned(), Responder(stream)));
    }
    respond(&mut stream, "404 Not Found", "Not found", "There is nothing here.");
    None
}

/// RFC 6749 section 4.1.2 and RFC 9207: our state, our broker, one code.
fn check(query: &str, state: &str, issuer: &str) -> Result<String, Failure> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let one = |name: &str| {
        let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    };
    let foreign = || {
        Failure::new(Exit::LoginNeeded, "the browser brought an answer to another sign-in")
            .next("run `usher login` again; if it happens twice, somebody may be interfering")
    };
    if one("state").is_none_or(|value| value != state) || one("iss").is_none_or(|value| value != issuer) {
        return Err(foreign());
    }
    if let Some(error) = one("error") {
        let text = one("error_description").unwrap_or(error);
        return Err(Failure::new(Exit::LoginNeeded, format!("the sign-in was refused: {text}")));
    }
    one("code").filter(|code| !code.is_empty()).cloned().ok_or_else(foreign)
}

impl Responder {
    /// Tells the person in the browser how it went.
    pub fn finish(mut self, page: Page) {
        match page {
            Page::SignedIn => {
                respond(
                    &mut self.0,
                    "200 OK",
                    "Signed in",
                    "You may close this page and go back to the terminal.",
                );
            }
            Page::Failed => {
                respond(
                    &mut self.0,
                    "400 Bad Request",
                    "Not signed in",
                    "The terminal says why. Nothing was changed.",
                );
            }
        }
    }
}

fn respond(stream: &mut TcpStream, status: &str, title: &str, text: &str) {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title} - Usher</title>\
         <style>body{{font:18px/1.5 system-ui,sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{text}</p></html>"
    );
    // The browser may have gone: the terminal tells the same.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         content-security-policy: default-src 'none'; style-src 'unsafe-inline'\r\nreferrer-policy: no-referrer\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}
