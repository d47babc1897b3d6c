//! A broker of its own for each test, with its first administrator, and the way through the forms.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use url::Url;
use usher_broker::{
    AppState, Clock, Config, SealConfig, Server,
    init::{InitOptions, Made, init},
};
use usher_identity::{PrivateKey, pkce::CodeVerifier};
use usher_keystore::Custody;
use usher_sign_in::TotpSecret;
use usher_types::UnixTime;

use crate::{
    Caller,
    caller::random,
    team::{POSTGRES, database},
};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A broker that serves until it is dropped.
pub(crate) struct Broker {
    pub(crate) app: AppState,
    pub(crate) clock: Clock,
    pub(crate) http: reqwest::Client,
    pub(crate) made: Made,
    pub(crate) origin: String,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

/// Somebody who has been through set-up.
pub(crate) struct Person {
    pub(crate) user_name: String,
    pub(crate) password: String,
    pub(crate) totp: TotpSecret,
    pub(crate) recovery_codes: Vec<String>,
}

impl Broker {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_config| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at("127.0.0.1", change).await
    }

    /// The same under a name of this machine.
    pub(crate) async fn start_at(host: &str, change: impl FnOnce(&mut Config)) -> Self {
        // Only the first test of a process finds none.
        let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default().is_ok();
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origin = format!("https://{host}:{}", address.port());
        let now = system_now();
        let options = InitOptions {
            team: "acme".parse().unwrap(),
            data_dir: directory.path().join("data"),
            public_url: origin.parse().unwrap(),
            listen: Some(address),
            admin: "admin".parse().unwrap(),
            admin_unix_name: None,
            database: POSTGRES.then(database),
            custody: Custody::Software,
            kms: None,
            seal: SealConfig::default(),
        };
        let made = init(&options, now).await.unwrap();
        let mut config = Config::load(&made.config_file).unwrap();
        config.server.shutdown_timeout_seconds = 2;
        change(&mut config);
        let clock = Clock::fixed(now);
        let app = AppState::open(config, clock.clone()).await.unwrap();
        let http = browser(&app, None);
        let server = Server::on(app.clone(), listener).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            server.run(async { drop(stopped.await) }).await.unwrap();
        });
        Self { app, clock, http, made, origin, directory, stop: Some(stop), served: Some(served) }
    }

    /// The same broker as a browser at another address sees it.
    pub(crate) fn browser_at(&self, address: &str) -> reqwest::Client {
        browser(&self.app, Some(address.parse().unwrap()))
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Ends the broker in an orderly way.
    pub(crate) async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        self.served.take().unwrap().await.unwrap();
        let Self { directory, .. } = self;
        directory
    }

    pub(crate) fn now(&self) -> UnixTime {
        // The state's clock is the same one.
        let Self { clock, .. } = self;
        clock.now()
    }

    /// The clock goes on: sessions age, codes change.
    pub(crate) fn later(&self, seconds: u64) {
        self.clock.set(self.now().saturating_add(Duration::from_secs(seconds)));
    }

    pub(crate) async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        self.http.post(format!("{}{path}", self.origin)).form(fields).send().await.unwrap()
    }

    /// Through both pages of set-up.
    pub(crate) async fn set_up(&self, user_name: &str, code: &str, password: &str) -> Person {
        let page = self.post_form("/set-up", &[("code", code)]).await;
        assert_eq!(page.status(), 200);
        let html = page.text().await.unwrap();
        let totp = totp_of(&html);
        let request = hidden(&html, "request");
        let shown = totp.code_at(self.now());
        let fields = [
            ("request", request.as_str()),
            ("password", password),
            ("password_again", password),
            ("totp", shown.as_str()),
        ];
        let done = self.post_form("/set-up/finish", &fields).await;
        assert_eq!(done.status(), 200);
        let recovery_codes = recovery_codes_of(&done.text().await.unwrap());
        // The code that proved the authenticator is used up.
        self.later(30);
        Person { user_name: user_name.into(), password: password.into(), totp, recovery_codes }
    }

    /// The first administrator, set up.
    pub(crate) async fn admin(&self) -> Person {
        self.set_up("admin", &self.made.set_up_code, PASSWORD).await
    }

    /// Opens the sign-in page as a client's browser would; gives the hidden field.
    pub(crate) async fn authorize(&self, client: &Client) -> String {
        let page = self.http.get(client.authorize_url(&self.origin)).send().await.unwrap();
        assert_eq!(page.status(), 200);
        hidden(&page.text().await.unwrap(), "request")
    }

    pub(crate) async fn submit(
        &self,
        request: &str,
        user_name: &str,
        password: &str,
        code: &str,
    ) -> reqwest::Response {
        let fields = [("request", request), ("user_name", user_name), ("password", password), ("code", code)];
        self.post_form("/sign-in", &fields).await
    }

    /// Through the sign-in page; gives the authorization code.
    pub(crate) async fn sign_in(&self, client: &Client, person: &Person) -> String {
        let request = self.authorize(client).await;
        let code = person.totp.code_at(self.now());
        let answer = self.submit(&request, &person.user_name, &person.password, &code).await;
        let code = client.code_of(&answer);
        self.later(30);
        code
    }

    /// Signed in, on a device of its own.
    pub(crate) async fn session(&self, person: &Person) -> Caller {
        self.session_on(&Client::new(), person).await
    }

    /// Signed in on this device.
    pub(crate) async fn session_on(&self, client: &Client, person: &Person) -> Caller {
        let code = self.sign_in(client, person).await;
        let mut caller = Caller::new(self, Arc::clone(&client.key));
        let answer = caller.call("POST", "/v1/token", &client.token_request(&code)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        caller.token = Some(answer.body["session_token"].as_str().unwrap().to_owned());
        caller.device_id = answer.body["device"]["id"].as_str().unwrap().to_owned();
        caller
    }
}

fn browser(app: &AppState, from: Option<IpAddr>) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(app.authority().to_pem().unwrap().as_bytes()).unwrap();
    reqwest::Client::builder()
        .tls_certs_only([root])
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .local_address(from)
        .build()
        .unwrap()
}

/// `usher login` as the broker sees it.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) key: Arc<PrivateKey>,
    verifier: String,
    pub(crate) state: String,
    pub(crate) redirect_uri: String,
    servers: String,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            key: Arc::new(PrivateKey::generate(&mut rand_core::UnwrapErr(getrandom::SysRng))),
            verifier: CodeVerifier::new(random()).reveal().to_owned(),
            state: data_encoding::BASE64URL_NOPAD.encode(&random::<12>()),
            redirect_uri: "http://127.0.0.1:49152/callback".into(),
            servers: String::new(),
        }
    }

    /// The same client, which signs in for these servers; commas between them.
    pub(crate) fn for_servers(&self, servers: &str) -> Self {
        Self { servers: servers.to_owned(), ..self.clone() }
    }

    pub(crate) fn authorize_url(&self, origin: &str) -> Url {
        let mut url = Url::parse(&format!("{origin}/authorize")).unwrap();
        let challenge = CodeVerifier::parse(&self.verifier).unwrap().challenge().to_string();
        url.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", "usher-cli"),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
            ("dpop_jkt", &self.key.public().thumbprint().to_string()),
            ("device_name", "laptop"),
        ]);
        if !self.servers.is_empty() {
            url.query_pairs_mut().append_pair("servers", &self.servers);
        }
        url
    }

    /// The code in the redirect, whose other parameters are checked.
    #[track_caller]
    pub(crate) fn code_of(&self, answer: &reqwest::Response) -> String {
        assert_eq!(answer.status(), 303);
        let location = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        assert!(location.as_str().starts_with(&format!("{}?", self.redirect_uri)));
        let parameters: std::collections::BTreeMap<String, String> =
            location.query_pairs().into_owned().collect();
        assert_eq!(parameters["state"], self.state);
        assert!(
            ["https://127.0.0.1:", "https://localhost:"]
                .iter()
                .any(|origin| parameters["iss"].starts_with(origin))
        );
        parameters["code"].clone()
    }

    pub(crate) fn token_request(&self, code: &str) -> serde_json::Value {
        serde_json::json!({
            "code": code, "code_verifier": self.verifier, "redirect_uri": self.redirect_uri, "device_name": "laptop",
        })
    }
}

/// Value of a hidden input.
#[track_caller]
pub(crate) fn hidden(html: &str, name: &str) -> String {
    let start = format!("name=\"{name}\" value=\"");
    let (_, rest) = html.split_once(&start).unwrap_or_else(|| panic!("no {name} in {html}"));
    rest.split_once('"').unwrap().0.to_owned()
}

/// The codes of a page that shows some.
pub(crate) fn recovery_codes_of(html: &str) -> Vec<String> {
    let codes = html.split("<li><code>").skip(1).map(|rest| rest.split_once('<').unwrap().0.to_owned());
    let codes: Vec<String> = codes.collect();
    assert_eq!(codes.len(), 10, "{html}");
    codes
}

/// The second factor that a set-up page shows as text.
pub(crate) fn totp_of(html: &str) -> TotpSecret {
    let (_, rest) = html.split_once("<code id=\"totp-secret\">").unwrap();
    let text = rest.split_once('<').unwrap().0.replace(' ', "");
    TotpSecret::from_bytes(&data_encoding::BASE32_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

fn system_now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap())
}
