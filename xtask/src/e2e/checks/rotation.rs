//! Keys are replaced while people work.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::super::{
    admin::items,
    ssh::keygen,
    stack::{PROJECT, ROOT, SERVERS, Stack},
};
use crate::{
    clock::{self, PATIENCE, Stopwatch},
    lab::Background,
};

/// Between the beginnings of two connections.
const EVERY: Duration = Duration::from_millis(50);
/// Sessions that are being made at one time.
const SESSIONS: u32 = 3;

/// Keys of one kind, newest first.
fn keys(stack: &Stack, show: &[&str], kind: &str) -> Result<Vec<Value>> {
    let all = items(&stack.admin(show)?)?;
    Ok(all.into_iter().filter(|key| key.get("kind").and_then(Value::as_str) == Some(kind)).collect())
}

fn lacking(key: &Value) -> BTreeSet<&str> {
    let names = key.get("lacking").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Waits until exactly these servers lack the newest key.
fn wait_until_only(stack: &Stack, show: &[&str], kind: &str, missing: &[&str]) -> Result<()> {
    let wanted: BTreeSet<&str> = missing.iter().copied().collect();
    clock::wait_for_ok(&format!("servers to know the newest {kind}"), PATIENCE, || {
        let keys = keys(stack, show, kind)?;
        let newest = keys.first().context("no key")?;
        if lacking(newest) == wanted { Ok(()) } else { bail!("{newest}") }
    })
}

/// The CA lines that a server's sshd trusts.
fn trusted(stack: &Stack, server: &str) -> Result<usize> {
    let file = stack.host(server)?.read("/etc/ssh/usher/user_ca.pub");
    Ok(file.lines().filter(|line| line.starts_with("ssh-") || line.starts_with("ecdsa-")).count())
}

const CA: [&str; 3] = ["project", "ca", PROJECT];
const RETIRE: [&str; 3] = ["project", "retire-ca", PROJECT];
const TEAM: [&str; 2] = ["team", "keys"];

/// Both CAs of the project are rotated and the old ones retired, while a client asks for a connection to one of the
/// targets every 50 ms, with certificates of both kinds, and as many ssh sessions as fit are made besides.
pub(super) fn under_connections(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    for target in ["target-1", "target-2"] {
        stack.usher("alice", &["ssh", target, "--", "true"])?.read()?;
    }
    let (shared, mut stream) = (&*stack, Stream::start(stack)?);
    let (done, made, failures) = (AtomicBool::new(false), AtomicU32::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while !done.load(Ordering::SeqCst) {
            let number = made.fetch_add(1, Ordering::SeqCst);
            let target = if number % 2 == 0 { "target-1" } else { "target-2" };
            let session = shared.usher("alice", &["ssh", target, "--", "echo", "in"]);
            let fault = match session.and_then(|session| session.output()) {
                Ok(output) if output.status == 0 && output.stdout.trim() == "in" => continue,
                Ok(output) => output.to_string(),
                Err(error) => format!("{error:#}"),
            };
            failures.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
        }
    };
    let more = |what: &str| {
        let sessions = made.load(Ordering::SeqCst);
        stream.wait_for_more(shared, what)?;
        clock::wait_for(what, PATIENCE, || (made.load(Ordering::SeqCst) > sessions + SESSIONS).then_some(()))
    };
    let rotated = std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(worker)).collect();
        let rotated = (|| {
            more("connections before")?;
            for (kind, key) in [("ssh", "ssh-user-ca"), ("x509", "x509-ca")] {
                shared.admin(&["project", "rotate-ca", PROJECT, "--kind", kind])?;
                wait_until_only(shared, &CA, key, &[])?;
                more("connections by the new key")?;
                shared.admin(&[&RETIRE[..], &["--kind", kind]].concat())?;
            }
            for server in SERVERS {
                clock::wait_for(&format!("{server} to forget the old key"), PATIENCE, || {
                    trusted(shared, server).ok().filter(|count| *count == 1)
                })?;
            }
            more("connections after")
        })();
        done.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().map_err(|_panic| anyhow::anyhow!("a thread panicked"))?;
        }
        rotated
    });
    let asked = stream.finish(stack);
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let made = made.load(Ordering::SeqCst);
    if let Some(first) = failures.first() {
        bail!("{} of {made} sessions failed, the first: {first}", failures.len());
    }
    rotated?;
    for key in ["ssh-user-ca", "x509-ca"] {
        let keys = keys(stack, &CA, key)?;
        let states: Vec<_> = keys.iter().filter_map(|key| key.get("state").and_then(Value::as_str)).collect();
        if states != ["active", "retired"] {
            bail!("{key}: {states:?}");
        }
    }
    Ok(format!("{}; {made} ssh sessions meanwhile", asked?))
}

/// The program that asks every 50 ms.
struct Stream(Background);

const STREAM: [&str; 4] =
    ["/root/stream.csr", "/root/stream.progress", "/root/stream.end", "/root/stream.key"];

impl Stream {
    fn start(stack: &Stack) -> Result<Self> {
        let (client, dir) = (stack.client()?, stack.own_device("alice")?);
        let [csr, progress, end, key] = STREAM;
        let new =
            ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        client.cmd(new.iter().chain(&["-subj", "/CN=stream", "-keyout", "/dev/null", "-out", csr])).read()?;
        let keys: Vec<_> = (0..3).map(|n| keygen(client, &format!("{key}-{n}"))).collect::<Result<_>>()?;
        let every = EVERY.as_millis().to_string();
        let mut args = vec!["visit", "stream", "--dir", &dir, "--server", "target-1", "--server", "target-2"];
        args.extend(["--csr", csr, "--every", &every, "--progress", progress, "--until", end]);
        keys.iter().for_each(|key| args.extend(["--key", key]));
        Ok(Self(client.xtask(args).limit(Duration::MAX).start()?))
    }

    fn wait_for_more(&self, stack: &Stack, what: &str) -> Result<()> {
        let answered = || stack.client().map(|client| client.read(STREAM[1]).parse().unwrap_or(0_u64));
        let before = answered()?;
        clock::wait_for(what, PATIENCE, || answered().ok().filter(|now| *now >= before + 20)).map(drop)
    }

    /// Wants every request to have been answered with certificates, at the end by other keys than at the beginning.
    fn finish(&mut self, stack: &Stack) -> Result<String> {
        let client = stack.client()?;
        client.write(STREAM[2], 0o600, "")?;
        let status = self.0.wait(PATIENCE)?;
        let printed = self.0.text();
        let outcome: Value =
            serde_json::from_str(&printed).with_context(|| format!("{status}: {printed}"))?;
        let number = |key: &str| outcome.get(key).and_then(Value::as_u64).unwrap_or_default();
        let refused = outcome.get("refused").and_then(Value::as_array).context("no `refused`")?;
        if let Some(first) = refused.first() {
            bail!("{} of {} requests refused, the first: {first}", refused.len(), number("answered"));
        }
        let at = |which: &str, field: &str| {
            let found = outcome.pointer(&format!("/{which}/{field}")).and_then(Value::as_str);
            found.map(str::to_owned).with_context(|| format!("no {field}: {outcome}"))
        };
        let mut signers = BTreeSet::new();
        for which in ["first", "last"] {
            let ssh = at(which, "routes/0/legs/0/certificate")?;
            let shown = client.cmd(["ssh-keygen", "-L", "-f", "-"]).stdin(ssh).read()?;
            let signer = shown.lines().find(|line| line.contains("Signing CA")).context("no signing CA")?;
            signers.insert(signer.to_owned());
        }
        if signers.len() != 2 {
            bail!("the SSH CA is the same before and after: {signers:?}");
        }
        client.write("/root/stream.ca", 0o600, &at("last", "client_certificate/authorities/0")?)?;
        for (which, good) in [("first", false), ("last", true)] {
            client.write("/root/stream.pem", 0o600, &at(which, "client_certificate/certificate")?)?;
            let verify = ["openssl", "verify", "-CAfile", "/root/stream.ca", "/root/stream.pem"];
            let verified = client.run(verify)?;
            if (verified.status == 0) != good {
                bail!("the {which} X.509 certificate by the last authority: {verified}");
            }
        }
        let (answered, ms, slowest) = (number("answered"), number("ms"), number("slowest_ms"));
        Ok(format!("{answered} requests in {ms} ms, none refused, the slowest {slowest} ms"))
    }
}

/// Its agent is dead from before the rotation until after all others know the new key.
pub(super) fn server_was_off(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    stack.host("target-2")?.kill_dead("usher-agent")?;
    let seen = while_off(stack);
    // Whatever was seen: the checks behind this one need it.
    stack.start_agent("target-2")?;
    seen?;
    wait_until_only(stack, &CA, "ssh-user-ca", &[])?;
    stack.usher("alice", &["ssh", "target-2", "--", "true"])?.read()?;
    stack.admin(&RETIRE)?;
    stack.usher("alice", &["ssh", "target-2", "--", "true"])?.read()?;
    Ok("listed, and good until it was back".to_owned())
}

fn while_off(stack: &Stack) -> Result<()> {
    stack.admin(&["project", "rotate-ca", PROJECT])?;
    wait_until_only(stack, &CA, "ssh-user-ca", &["target-2"])?;
    let refused = stack.usher(super::super::admin::ADMIN, &RETIRE)?.output()?;
    if refused.status == 0 || !refused.stderr.contains("target-2") || refused.stderr.contains("target-1") {
        bail!("the old key could be retired, or target-2 was not named: {refused}");
    }
    for target in ["target-1", "target-2"] {
        stack.usher("alice", &["ssh", target, "--", "true"])?.read().context("while target-2 is off")?;
    }
    Ok(())
}

/// The broker is killed between the two halves; agents and clients follow the new keys, a client that did not hear of the
/// new root enrolls again.
pub(super) fn team_keys(stack: &mut Stack) -> Result<String> {
    stack.ready("alice")?;
    let watch = Stopwatch::start();
    for key in ["state", "tls", "audit"] {
        stack.admin(&["team", "rotate", key])?;
    }
    stack.kill_brokers()?;
    stack.serve()?;
    for kind in ["state", "tls-root"] {
        wait_until_only(stack, &TEAM, kind, &[])?;
    }
    // Clients hear of the new root while they work.
    for person in ["alice", super::super::admin::ADMIN] {
        clock::wait_for_ok(&format!("{person}'s client to know the new root"), PATIENCE, || {
            stack.usher(person, &["servers"])?.read()?;
            let config = stack.client()?.read(&format!("/home/{person}/.config/usher/config.toml"));
            if config.contains("pins") { Ok(()) } else { bail!("{config}") }
        })?;
    }
    for key in ["state", "tls", "audit"] {
        stack.admin(&["team", "retire", key])?;
    }
    let old = stack.client_url.clone();
    let url = stack.operator(&["client-url"])?.trim().to_owned();
    if url == old {
        bail!("the pin is the old one: {url}");
    }
    let verified = stack.operator(&["audit", "verify"])?;
    let root = stack.operator(&["root-certificate"])?;
    for host in stack.lab.hosts() {
        host.write(ROOT, 0o644, &root)?;
    }
    stack.client_url = url;
    // The harness's own devices know one pin only: they sign in anew.
    stack.client()?.cmd(["sh", "-c", "rm -rf /root/device-*"]).read()?;
    // New processes begin with what they wrote down.
    for server in ["target-1", "bastion-1"] {
        stack.host(server)?.kill_dead("usher-agent")?;
        stack.start_agent(server)?;
    }
    stack.admin(&["user", "create", "rotated"])?;
    stack.admin(&["group", "add", "developers", "rotated"])?;
    for server in SERVERS {
        let host = stack.host(server)?;
        clock::wait_for(&format!("{server} to follow the new state key"), PATIENCE, || {
            host.run(["getent", "passwd", "rotated"]).ok().filter(|output| output.status == 0)
        })?;
    }
    stack.admin(&["user", "disable", "rotated"])?;
    stack.usher("alice", &["ssh", "target-1", "--", "true"])?.read()?;
    old_pin_is_told(stack, &old)?;
    Ok(format!("{} ms; {}", watch.ms(), verified.trim()))
}

/// A client that was off: it is refused, says what to do, and enrolls again.
fn old_pin_is_told(stack: &Stack, old: &str) -> Result<()> {
    let client = stack.client()?;
    client.cmd(["useradd", "--create-home", "sleeper"]).read()?;
    client.cmd(["install", "-d", "-m", "700", "-o", "sleeper", "/run/user/sleeper"]).read()?;
    // Where there are several brokers, the last of them hears of it a moment later.
    clock::wait_for_ok("the old root not to be believed", PATIENCE, || {
        let refused = stack.as_person("sleeper", &["usher", "enroll", old])?.output()?;
        if refused.status == 0 {
            bail!("{refused}");
        }
        refused.says("enroll again").map(drop)
    })?;
    stack.as_person("sleeper", &["usher", "enroll", "--replace", &stack.client_url])?.read().map(drop)
}
