//! In front of moto, for what it lacks or gets wrong: Ed25519 keys, refusing keys that are disabled or wait for their
//! deletion, throttling; and for faults that no server makes on demand: slow answers, no answers, wrong signatures.
//! Everything else is moto's, passed through byte for byte.

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};

use super::{ACCOUNT, Moto, REGION, http::Message};

/// See the module.
#[derive(Debug)]
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What the stub saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Signatures, by key id.
    pub signatures: BTreeMap<String, u32>,
    /// Requests that were throttled.
    pub throttled: u32,
    /// All requests.
    pub requests: u32,
    /// Tags of the last key that was made.
    pub tags: BTreeMap<String, String>,
    /// Policy of the last key that was made.
    pub policy: String,
}

#[derive(Debug)]
struct Shared {
    moto: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Ed25519 keys by id.
    keys: BTreeMap<String, SigningKey>,
    /// Key states that differ from `Enabled`.
    states: BTreeMap<String, &'static str>,
    quota: Option<u32>,
    second: Option<(Instant, u32)>,
    hangs: bool,
    broken: bool,
    lies: bool,
    delay: Duration,
    /// How often a key is not known yet.
    late: u32,
    lasts: Option<u32>,
    denies: bool,
    lacks_ed25519: bool,
    served: Served,
    /// Connections, to be cut at the end.
    open: Vec<TcpStream>,
    stopped: bool,
}

impl Stub {
    /// A stub of its own in front of the shared server.
    ///
    /// # Panics
    /// When there is no port to be had.
    #[must_use]
    pub fn start(moto: &Moto) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            moto: moto.address(),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let mut state = own.state();
                if state.stopped {
                    return;
                }
                state.open.extend(stream.try_clone());
                drop(state);
                let own = Arc::clone(&own);
                std::thread::spawn(move || drop(own.converse(&stream)));
            }
        });
        Self { address, shared }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it saw so far.
    #[must_use]
    pub fn served(&self) -> Served {
        self.shared.state().served.clone()
    }

    /// So many signatures a second, then `ThrottlingException`.
    pub fn throttle(&self, quota: Option<u32>) {
        self.set(|state| state.quota = quota);
    }

    /// Breaks down after so many signatures more; only signing does.
    pub fn last(&self, signatures: Option<u32>) {
        self.set(|state| state.lasts = signatures);
    }

    /// Accepts requests and does not answer them, until it is told otherwise.
    pub fn hang(&self, hangs: bool) {
        self.set(|state| state.hangs = hangs);
    }

    /// Answers everything with an internal error.
    pub fn break_down(&self, broken: bool) {
        self.set(|state| state.broken = broken);
    }

    /// Takes this long for every answer.
    pub fn delay(&self, delay: Duration) {
        self.set(|state| state.delay = delay);
    }

    /// So many requests do not find the key that they name, as when it is new.
    pub fn forget(&self, requests: u32) {
        self.set(|state| state.late = requests);
    }

    /// Whether there are Ed25519 keys in this region.
    pub fn offer_ed25519(&self, offers: bool) {
        self.set(|state| state.lacks_ed25519 = !offers);
    }

    /// Denies everything, as when the role's policy was taken away.
    pub fn deny(&self, denies: bool) {
        self.set(|state| state.denies = denies);
    }

    /// Signs something else than it was asked to.
    pub fn lie(&self, lies: bool) {
        self.set(|state| state.lies = lies);
    }

    /// What an administrator in the AWS console does to a key: `Disabled`, `PendingDeletion` or `Enabled`.
    pub fn set_key_state(&self, arn: &str, key_state: &'static str) {
        self.set(|state| state.states.insert(key_id(arn), key_state));
    }

    fn set<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.shared.state());
        self.shared.changed.notify_all();
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.stopped = true;
        for stream in state.open.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both).is_err();
        }
        drop(state);
        self.shared.changed.notify_all();
        // The listener looks up once more.
        drop(TcpStream::connect(self.address));
    }
}

/// A key is named by its id, its ARN, or an alias.
fn key_id(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One client's connection, and one to moto behind it.
    fn converse(&self, client: &TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut upstream: Option<BufReader<TcpStream>> = None;
        let mut requests = BufReader::new(client.try_clone()?);
        let mut answers = client.try_clone()?;
        while let Some(request) = Message::read(&mut requests)? {
            let Some(answer) = self.answer(&request, &mut upstream)? else { return Ok(()) };
            answers.write_all(&answer.to_bytes())?;
        }
        Ok(())
    }

    /// `None` when it was told to stop.
    fn answer(
        &self,
        request: &Message,
        upstream: &mut Option<BufReader<TcpStream>>,
    ) -> io::Result<Option<Message>> {
        let target = request.header("x-amz-target").unwrap_or_default();
        let action = target.rsplit('.').next().unwrap_or_default().to_owned();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut state = self.state();
        state.served.requests += 1;
        while state.hangs && !state.stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let delay = state.delay;
        if !delay.is_zero() && !state.stopped {
            let until = self.changed.wait_timeout_while(state, delay, |state| !state.stopped);
            state = until.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.stopped {
            return Ok(None);
        }
        if let Some(answer) = state.own(&action, &body) {
            return Ok(Some(answer));
        }
        let lies = state.lies;
        drop(state);
        let mut answer = forward(self.moto, request, upstream)?;
        if action == "Sign" && answer.status == 200 {
            self.state().count(&body);
            if lies {
                answer = lie(&answer);
            }
        }
        Ok(Some(answer))
    }
}

fn forward(
    moto: SocketAddr,
    request: &Message,
    upstream: &mut Option<BufReader<TcpStream>>,
) -> io::Result<Message> {
    // moto's server closes after each answer.
    let stream = TcpStream::connect(moto)?;
    let upstream = upstream.insert(BufReader::new(stream));
    upstream.get_mut().write_all(&request.to_bytes())?;
    let mut answer = Message::read(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    answer.head = answer
        .head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"))
        .fold(String::new(), |mut head, line| {
            head.push_str(line);
            head.push_str("\r\n");
            head
        });
    Ok(answer)
}

/// The same signature with its last bit turned over.
fn lie(answer: &Message) -> Message {
    let mut body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let text = body.get_mut("Signature").expect("a signature");
    let mut bytes = BASE64.decode(text.as_str().expect("text").as_bytes()).expect("base64");
    *bytes.last_mut().expect("not empty") ^= 1;
    *text = BASE64.encode(&bytes).into();
    Message::answer(200, &body)
}

fn refused(code: &str, message: &str) -> Option<Message> {
    Some(Message::answer(400, &json!({"__type": code, "message": message})))
}

fn broken() -> Message {
    Message::answer(500, &json!({"__type": "KMSInternalException", "message": "broken"}))
}

impl State {
    fn count(&mut self, body: &Value) {
        let id = key_id(body["KeyId"].as_str().unwrap_or_default());
        *self.served.signatures.entry(id).or_default() += 1;
    }

    /// What moto is not asked.
    fn own(&mut self, action: &str, body: &Value) -> Option<Message> {
        if self.broken {
            return Some(broken());
        }
        if self.denies {
            return refused(
                "AccessDeniedException",
                &format!("User: arn is not authorized to perform: kms:{action}"),
            );
        }
        let named = body["KeyId"].as_str().or_else(|| body["TargetKeyId"].as_str());
        let id = key_id(named.unwrap_or_default());
        if named.is_some() && self.late > 0 {
            self.late -= 1;
            return refused("NotFoundException", &format!("Key 'arn:.../{id}' does not exist"));
        }
        if action == "Sign" {
            match &mut self.lasts {
                Some(0) => return Some(broken()),
                Some(left) => *left -= 1,
                None => {}
            }
            if self.over_quota() {
                self.served.throttled += 1;
                return refused("ThrottlingException", "Rate exceeded");
            }
            match self.states.get(&id) {
                Some(&"Disabled") => return refused("DisabledException", &format!("{id} is disabled.")),
                Some(&"PendingDeletion") => {
                    return refused("KMSInvalidStateException", &format!("{id} is pending deletion."));
                }
                Some(_) | None => {}
            }
            if BASE64.decode(body["Message"].as_str()?.as_bytes()).is_ok_and(|message| message.len() > 4096) {
                return refused("ValidationException", "Message is longer than 4096 bytes");
            }
        }
        if action == "CreateKey" {
            self.served.policy = body["Policy"].as_str().unwrap_or_default().to_owned();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let tags = body["Tags"].as_array().into_iter().flatten();
            self.served.tags = tags.map(|tag| (text(&tag["TagKey"]), text(&tag["TagValue"]))).collect();
        }
        if action == "CreateKey" && body["KeySpec"] == "ECC_NIST_EDWARDS25519" && !self.lacks_ed25519 {
            return Some(self.create());
        }
        let key = self.keys.get(&id)?.clone();
        match action {
            "CreateAlias" => Some(Message::answer(200, &json!({}))),
            "GetPublicKey" => {
                let head = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\0";
                let spki = [head.as_slice(), key.verifying_key().as_bytes()].concat();
                Some(Message::answer(
                    200,
                    &json!({"KeyId": id, "PublicKey": BASE64.encode(&spki), "KeySpec": "ECC_NIST_EDWARDS25519"}),
                ))
            }
            "Sign" => {
                if body["SigningAlgorithm"] != "ED25519_SHA_512" || body["MessageType"] != "RAW" {
                    return refused("ValidationException", "ED25519_SHA_512 needs MessageType RAW");
                }
                let message = BASE64.decode(body["Message"].as_str()?.as_bytes()).ok()?;
                self.count(body);
                let mut signature = key.sign(&message).to_bytes();
                signature[63] ^= u8::from(self.lies);
                Some(Message::answer(200, &json!({"KeyId": id, "Signature": BASE64.encode(&signature)})))
            }
            _ => refused("UnsupportedOperationException", action),
        }
    }

    fn create(&mut self) -> Message {
        // In the form of a UUID, and no more than different from the others.
        let number = u32::try_from(self.keys.len()).expect("few keys");
        let id = format!("ed255190-0000-4000-8000-0000{number:08x}");
        let mut secret = [0x5a; 32];
        secret[..4].copy_from_slice(&number.to_be_bytes());
        self.keys.insert(id.clone(), SigningKey::from_bytes(&secret));
        let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}");
        Message::answer(200, &json!({"KeyMetadata": {"KeyId": id, "Arn": arn, "KeyState": "Enabled"}}))
    }

    /// A second begins with its first signature.
    fn over_quota(&mut self) -> bool {
        let Some(quota) = self.quota else { return false };
        let now = Instant::now();
        let (_, used) = match &mut self.second {
            Some(second) if now.duration_since(second.0) < Duration::from_secs(1) => second,
            second => second.insert((now, 0)),
        };
        *used += 1;
        *used > quota
    }
}
