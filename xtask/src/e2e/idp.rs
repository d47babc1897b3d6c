//! The variant with an identity provider: npm's `oidc-provider` with TLS beside the broker, and people who sign in there
//! with a real browser (Debian's Chromium) on the client's network.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Value, json};
use usher_testkit::{
    browser,
    idp::{CLIENT_ID, CLIENT_SECRET},
};

use super::{
    checks::SOON,
    report::Report,
    stack::{PROJECT, SERVERS, Stack, URL, text},
};
use crate::{
    clock::{self, Stopwatch},
    process::Cmd,
    workspace,
};

/// Where the provider is: on the broker's host, under a name of its own.
const ISSUER: &str = "https://idp.lab.test:9443";
const NETWORK: &str = "10.77.1.0/24";
/// The browser is told where names are: it sees the machine's files, and those do not know the laboratory.
const NAMES: &str = "MAP broker.lab.test 10.77.1.5, MAP idp.lab.test 10.77.1.5";
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Somebody whom only the provider knows.
const NEWCOMER: &str = "grace";

/// Which identity provider people sign in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Provider {
    /// One that speaks OpenID Connect.
    Oidc,
}

fn run(argv: &[&str], directory: &Path) -> Result<()> {
    Cmd::new(argv).dir(directory).read().map(drop)
}

impl Stack {
    /// Starts the provider and connects it, as an administrator does.
    pub(super) fn start_provider(&mut self, report: &mut Report) -> Result<()> {
        let [first, ..] = self.brokers() else { bail!("no broker") };
        let host = self.host(first)?;
        let directory = host.tools().join("idp");
        std::fs::create_dir_all(&directory)?;
        let ca = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=lab-authority -keyout ca.key -out ca.pem";
        let leaf = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=idp.lab.test -CA ca.pem -CAkey ca.key -keyout idp.key -out idp.pem \
                    -addext subjectAltName=DNS:idp.lab.test -addext basicConstraints=critical,CA:FALSE";
        for arguments in [ca, leaf] {
            let argv: Vec<&str> = ["openssl"].into_iter().chain(arguments.split_whitespace()).collect();
            run(&argv, &directory)?;
        }
        let believed = host.read(TRUSTED) + &std::fs::read_to_string(directory.join("ca.pem"))?;
        host.write(TRUSTED, 0o644, &believed)?;
        std::fs::write(directory.join("root.pem"), self.operator(&["root-certificate"])?)?;

        let program = workspace::own_executable()?;
        let argv = [program.as_os_str(), "visit".as_ref(), "idp".as_ref(), directory.as_os_str()];
        let settings = ["--issuer", ISSUER, "--broker", URL].map(std::ffi::OsStr::new);
        host.beside("idp.log", argv.into_iter().chain(settings))?;
        let log = host.tools().join("idp.log");
        clock::wait_for("the identity provider to serve", clock::PATIENCE, || {
            std::fs::read_to_string(&log).ok().filter(|said| said.contains(ISSUER))
        })?;

        let secret = "/home/carol/client-secret";
        self.client()?.write(secret, 0o644, CLIENT_SECRET)?;
        let create = ["connector", "create", "example", "--join-rule", "first-login", "--issuer", ISSUER];
        let client = ["--client-id", CLIENT_ID, "--client-secret-file", secret, "--groups-claim", "groups"];
        self.admin(&[&create[..], &client, &["--private-network", NETWORK]].concat())?;
        report.step("an identity provider is connected", ISSUER);
        Ok(())
    }

    /// The home of a browser on the client that believes the team's root and the provider's authority.
    fn browser_home(&self) -> Result<PathBuf> {
        let home = self.client()?.tools().join("browser");
        let store = home.join(".pki/nssdb");
        if store.exists() {
            return Ok(home);
        }
        std::fs::create_dir_all(&store)?;
        let [first, ..] = self.brokers() else { bail!("no broker") };
        let authorities = self.host(first)?.tools().join("idp");
        let place = format!("sql:{}", store.display());
        run(&["certutil", "-N", "--empty-password", "-d", &place], &authorities)?;
        for (name, file) in [("team", "root.pem"), ("lab", "ca.pem")] {
            run(&["certutil", "-A", "-t", "C,,", "-n", name, "-i", file, "-d", &place], &authorities)?;
        }
        Ok(home)
    }

    /// `usher login` with a person at a browser who signs in by the provider.
    fn login_by_provider(&self, name: &str) -> Result<Value> {
        let mut login = self.usher(name, &["login", "--no-browser"])?.start()?;
        let url = clock::wait_for_ok("usher login to print an address", clock::PATIENCE, || {
            let printed = login.text();
            let found = printed.split_whitespace().find(|word| word.contains("/authorize?"));
            found.map(str::to_owned).with_context(|| format!("it printed: {printed}"))
        })?;
        let home = self.browser_home()?;
        let program = workspace::own_executable()?;
        let argv = [program.as_os_str(), "visit".as_ref(), "browse".as_ref()];
        let places = ["--url", url.as_str(), "--connector", "example", "--name", name, "--names", NAMES];
        let browse = self.client()?.networked(argv)?.args(places).env("HOME", home);
        let output = browse.output()?;
        if output.status != 0 {
            bail!("the browser did not arrive: {output}\nusher login: {}", login.text());
        }
        let outcome: Value = serde_json::from_str(&output.stdout)?;
        let status = login.wait(clock::PATIENCE)?;
        // 7: signed in, but the device waits for approval.
        if status != 0 && status != 7 {
            bail!("usher login ended with {status}: {}; the browser shows: {outcome}", login.text());
        }
        Ok(outcome)
    }
}

/// From a browser at the provider's page to a shell on a server.
pub(super) fn signs_in(stack: &mut Stack) -> Result<String> {
    stack.add_person(NEWCOMER)?;
    let url = stack.client_url.clone();
    stack.usher(NEWCOMER, &["enroll", &url])?.read()?;
    let outcome = stack.login_by_provider(NEWCOMER)?;
    if outcome.get("foreign") != Some(&Value::Array(Vec::new())) {
        bail!("the sign-in page loads from elsewhere: {outcome}");
    }
    for device in stack.devices_of(NEWCOMER, "pending")? {
        stack.approve_device(&device)?;
    }
    stack.admin(&["group", "assign", "example.site-reliability", "--project", PROJECT])?;
    stack.wait_until_applied(SERVERS)?;
    stack.usher(NEWCOMER, &["servers"])?.read()?;
    let who = clock::wait_for_ok("the account on the target", clock::PATIENCE, || {
        stack.usher(NEWCOMER, &["ssh", "target-1", "--", "id", "-un"])?.read()
    })?;
    if who.trim() != NEWCOMER {
        bail!("{who}");
    }
    Ok(format!("{who} on target-1; the browser at {}: {}", text(&outcome, "host")?, text(&outcome, "text")?))
}

/// The provider's directory says that somebody has left, as Entra spells it, while a session of theirs is open.
pub(super) fn leaves(stack: &mut Stack) -> Result<String> {
    let created =
        stack.admin(&["scim-token", "create", "--connector", "example", "--description", "directory"])?;
    let place = "/root/scim-token";
    stack.client()?.write(place, 0o600, &text(&created, "token")?)?;
    let say = |method: &str, path: &str, body: &Value| -> Result<Value> {
        let (url, body) = (format!("{URL}/scim/v2{path}"), body.to_string());
        let arguments = ["scim", "--token-file", place, "--method", method, "--url", &url, "--body", &body];
        stack.visit("client", &arguments)
    };
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": format!("{NEWCOMER}@example.test"), "externalId": NEWCOMER, "active": true,
    });
    let known = say("POST", "/Users", &user)?;
    let Some(id) = known.pointer("/body/id").and_then(Value::as_str) else {
        bail!("not provisioned: {known}")
    };

    let open = ["ssh", "target-1", "--", "echo", "here;", "sleep", "600"];
    let mut session = stack.usher(NEWCOMER, &open)?.start()?;
    clock::wait_for_ok("the session", clock::PATIENCE, || {
        if session.text().contains("here") { Ok(()) } else { bail!("{}", session.text()) }
    })?;
    let left = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "Replace", "path": "active", "value": "False"}],
    });
    let watch = Stopwatch::start();
    let answer = say("PATCH", &format!("/Users/{id}"), &left)?;
    if answer.pointer("/body/active") != Some(&Value::Bool(false)) {
        bail!("still active: {answer}");
    }
    let answered = watch.ms();
    let status = session.wait(SOON)?;
    let ended = watch.ms();
    if status == 0 {
        bail!("the session came to an end of its own");
    }
    stack.usher(NEWCOMER, &["ssh", "target-1", "--", "true"])?.output()?.exits_with(255)?;
    Ok(format!("answered after {answered} ms; the session ended after {ended} ms, and no other was opened"))
}

pub(super) fn install() {
    browser::install();
    usher_testkit::idp::Idp::install();
}
