//! A KMS for tests: moto, a server that speaks AWS's API, with its check of signatures and IAM policies turned on; and
//! in front of it [`Stub`], for the few things that moto lacks or gets wrong. Nothing here reaches AWS.
//!
//! moto comes from PyPI into a virtual environment in the build directory, once. Needs `python3` with `venv`; says what
//! is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "for tests only: starts a server, and a server that cannot be had is a failed test"
)]

mod http;
mod stub;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

pub use self::stub::{Served, Stub};

const MOTO: &str = "moto[server]==5.2.5";
/// Where its keys are.
pub const REGION: &str = "eu-central-1";
/// The account that moto plays.
pub const ACCOUNT: &str = "123456789012";

/// What the broker's role may do, as it is shipped.
const BROKER_POLICY: &str = include_str!("../../../bins/broker/packaging/aws-kms-policy.json");

const STRANGER_POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}"#;

/// moto's server; one per test process.
#[derive(Debug)]
pub struct Moto {
    address: SocketAddr,
    broker: Identity,
    stranger: Identity,
    wrapping_key: String,
}

/// Somebody who signs requests to AWS.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its ARN.
    pub arn: String,
    credentials: String,
}

impl Identity {
    /// Its credentials, in the form of `~/.aws/credentials`.
    #[must_use]
    pub fn credentials(&self) -> &str {
        &self.credentials
    }

    /// Writes its credentials into `directory`, in the form of `~/.aws/credentials`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn credentials_file(&self, directory: &Path) -> PathBuf {
        let name = self.arn.rsplit('/').next().expect("a name");
        let path = directory.join(format!("{name}.credentials"));
        fs::write(&path, &self.credentials).expect("credentials are written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        path
    }
}

impl Moto {
    /// Installs it if need be; starting it needs no network after that.
    ///
    /// # Panics
    /// When it cannot be installed.
    pub fn install() {
        let _program = installed();
    }

    /// The server of this test process; started the first time, gone with the process. Nothing passes it without a good
    /// signature of somebody whose IAM policy allows it.
    ///
    /// # Panics
    /// When moto cannot be installed or started.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(|| {
            let setup = Setup(start(&installed()));
            let moto = Self {
                address: setup.0,
                broker: setup.identity("usher-broker", &without_places(BROKER_POLICY)),
                stranger: setup.identity("stranger", STRANGER_POLICY),
                wrapping_key: setup.wrapping_key(),
            };
            setup.call("/moto-api/reset-auth", "text/plain", "iam", "", "0");
            moto
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// May do what the broker's role may.
    #[must_use]
    pub fn broker(&self) -> &Identity {
        &self.broker
    }

    /// May do nothing.
    #[must_use]
    pub fn stranger(&self) -> &Identity {
        &self.stranger
    }

    /// ARN of a symmetric key.
    #[must_use]
    pub fn wrapping_key(&self) -> &str {
        &self.wrapping_key
    }
}

/// The server before it looks at signatures.
struct Setup(SocketAddr);

impl Setup {
    fn identity(&self, name: &str, policy: &str) -> Identity {
        self.iam(&format!("Action=CreateUser&UserName={name}"));
        let policy = http::form_encoded(policy);
        self.iam(&format!("Action=PutUserPolicy&UserName={name}&PolicyName=p&PolicyDocument={policy}"));
        let answer = self.iam(&format!("Action=CreateAccessKey&UserName={name}"));
        let field = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).expect("the answer has the field");
            rest.split('<').next().expect("a part").to_owned()
        };
        let (id, secret) = (field("AccessKeyId"), field("SecretAccessKey"));
        Identity {
            arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            credentials: format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"),
        }
    }

    fn wrapping_key(&self) -> String {
        let answer = self.call("/", "application/x-amz-json-1.1", "kms", "TrentService.CreateKey", "{}");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        answer.pointer("/KeyMetadata/Arn").and_then(|arn| arn.as_str()).expect("an ARN").to_owned()
    }

    fn iam(&self, form: &str) -> String {
        let body = format!("{form}&Version=2010-05-08");
        self.call("/", "application/x-www-form-urlencoded", "iam", "", &body)
    }

    fn call(&self, path: &str, content_type: &str, service: &str, target: &str, body: &str) -> String {
        // The signature is not looked at yet, but region and service in it are.
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\nX-Amz-Target: \
             {target}\r\nAuthorization: AWS4-HMAC-SHA256 Credential=none/20260101/{REGION}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.0,
            body.len()
        );
        let answer = http::ask(self.0, &[head.as_bytes(), body.as_bytes()].concat()).expect("moto answers");
        let text = String::from_utf8(answer.body).expect("text");
        assert_eq!(answer.status, 200, "{text}");
        text
    }
}

/// moto looks at actions only, matches no ARN and no condition, and knows no key policies: what those let the broker do is
/// put into its own policy here.
fn without_places(policy: &str) -> String {
    let mut policy: serde_json::Value = serde_json::from_str(policy).expect("JSON");
    let statements = policy.get_mut("Statement").and_then(|all| all.as_array_mut()).expect("statements");
    for statement in statements.iter_mut().filter_map(|statement| statement.as_object_mut()) {
        statement.insert("Resource".to_owned(), "*".into());
        statement.remove("Condition");
    }
    statements.push(serde_json::json!({
        "Effect": "Allow",
        "Action": ["kms:CreateAlias", "kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"],
        "Resource": "*",
    }));
    policy.to_string()
}

/// The program, installed if need be.
fn installed() -> PathBuf {
    crate::python::environment(&[MOTO]).join("bin/moto_server")
}

/// Starts the server on a free port. It ends with this process: its standard input does.
fn start(program: &Path) -> SocketAddr {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "\"$@\" & server=$!; cat > /dev/null; kill $server", "sh"])
        .arg(program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .env("PYTHONUNBUFFERED", "1")
        .env_remove("AWS_ACCESS_KEY_ID")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("moto starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped"));
    let mut said = String::new();
    let address = loop {
        let mut line = String::new();
        let read = log.read_line(&mut line).expect("moto's log");
        assert_ne!(read, 0, "moto ended: {said}");
        said.push_str(&line);
        if let Some((_, rest)) = line.split_once("http://") {
            let rest = rest.split(|char: char| char != ':' && char != '.' && !char.is_ascii_digit());
            break rest.into_iter().next().expect("a part").parse().expect("an address");
        }
    };
    // Nobody may be stopped by a full pipe, and the pipe on its standard input must stay open.
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ended = log.read_to_end(&mut rest).is_ok();
        drop(child);
    });
    address
}
