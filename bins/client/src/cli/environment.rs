//! What the client takes from its environment: places (XDG base directories) and whether a browser can be shown. The
//! only file that reads environment variables.

use std::{ffi::OsString, path::PathBuf};

use usher_types::Secret;

use crate::{exit::Failure, files, workload::Credential};

/// Places of the client's files, and what the surroundings allow.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The user's home.
    pub home: PathBuf,
    /// `config.toml`, `device.key`, `ssh_config`.
    pub config: PathBuf,
    /// `names.idx`.
    pub data: PathBuf,
    /// Sockets; private to the user.
    pub runtime: PathBuf,
    /// Whether there is a screen for a browser.
    pub display: bool,
    /// Where programs are looked for.
    pub path: OsString,
    /// Whether output must stay plain.
    pub no_color: bool,
    /// Team chosen by the environment.
    pub team: Option<String>,
    /// What a program signs in with; none for a person.
    pub credential: Option<Credential>,
}

/// Variables that hold a secret. Programs that are started here do not get them: what they need is in the background
/// process.
pub const SECRETS: [&str; 3] = ["USHER_API_KEY", "USHER_OIDC_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"];

/// What a program signs in with: the file or the variable that its platform gave it. A variable is taken because CI systems
/// hand out secrets in no other way; a file is better, for others of the same user can read a process's variables.
fn credential() -> Result<Option<Credential>, Failure> {
    let file = |path: PathBuf| {
        let failed = |error| Failure::io(format_args!("cannot read `{}`", path.display()), &error);
        std::fs::read_to_string(&path).map(|text| Secret::new(text.trim().to_owned())).map_err(failed)
    };
    if let Some(path) = variable("USHER_API_KEY_FILE") {
        return Ok(Some(Credential::ApiKey(file(path.into())?)));
    }
    if let Some(key) = variable("USHER_API_KEY") {
        return Ok(Some(Credential::ApiKey(Secret::new(key))));
    }
    // systemd's `LoadCredential=usher-api-key:...`.
    let loaded = directory("CREDENTIALS_DIRECTORY").map(|path| path.join("usher-api-key"));
    if let Some(path) = loaded.filter(|path| path.exists()) {
        return Ok(Some(Credential::ApiKey(file(path)?)));
    }
    let Some(name) = variable("USHER_SERVICE_USER") else { return Ok(None) };
    let service_user =
        name.parse().map_err(|error| Failure::usage(format!("USHER_SERVICE_USER: {error}")))?;
    if let Some(path) = variable("USHER_OIDC_TOKEN_FILE") {
        return Ok(Some(Credential::Token { token: file(path.into())?, service_user }));
    }
    if let Some(token) = variable("USHER_OIDC_TOKEN") {
        return Ok(Some(Credential::Token { token: Secret::new(token), service_user }));
    }
    let github = variable("ACTIONS_ID_TOKEN_REQUEST_URL").zip(variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    match github {
        Some((url, token)) => {
            Ok(Some(Credential::GitHub { url, request_token: Secret::new(token), service_user }))
        }
        None => Err(Failure::usage("USHER_SERVICE_USER is set, but there is nothing to sign in with").next(
            "name a token in USHER_OIDC_TOKEN_FILE; in GitHub Actions, give the job `id-token: write`",
        )),
    }
}

#[expect(clippy::disallowed_methods, reason = "the program's one reading of the environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// XDG base directories must be absolute; others are to be ignored.
fn directory(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

impl Environment {
    /// Reads the environment.
    ///
    /// # Errors
    /// Without an absolute `HOME`.
    pub fn read() -> Result<Self, Failure> {
        let home = directory("HOME").ok_or_else(|| Failure::other("HOME is not set to an absolute path"))?;
        let base = |name: &str, fallback: &str| directory(name).unwrap_or_else(|| home.join(fallback));
        let runtime = directory("XDG_RUNTIME_DIR")
            .filter(|path| path.is_dir())
            .unwrap_or_else(|| base("XDG_CACHE_HOME", ".cache"));
        let credential = credential()?;
        // Programs do not share the sessions of people, nor of each other.
        let own = credential
            .as_ref()
            .map_or_else(|| "usher".to_owned(), |credential| format!("usher-{}", credential.fingerprint()));
        Ok(Self {
            config: base("XDG_CONFIG_HOME", ".config").join("usher"),
            data: base("XDG_DATA_HOME", ".local/share").join("usher"),
            runtime: runtime.join(own),
            display: variable("DISPLAY").is_some() || variable("WAYLAND_DISPLAY").is_some(),
            path: variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()).into(),
            no_color: variable("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb"),
            team: variable("USHER_TEAM"),
            credential,
            home,
        })
    }

    /// The index of server names.
    #[must_use]
    pub fn names(&self) -> PathBuf {
        self.data.join("names.idx")
    }

    /// The OpenSSH agent protocol.
    #[must_use]
    pub fn ssh_socket(&self) -> PathBuf {
        self.runtime.join(SSH_SOCKET)
    }

    /// The ssh configuration that `usher ssh-config install` writes.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.config.join("ssh_config")
    }

    /// The user's own ssh configuration.
    #[must_use]
    pub fn user_ssh_config(&self) -> PathBuf {
        self.home.join(".ssh").join("config")
    }

    /// Makes sure that the sockets' directory exists and is private.
    ///
    /// # Errors
    /// When somebody else could have prepared it.
    pub fn prepare_runtime(&self) -> Result<(), Failure> {
        files::private_directory(&self.runtime)
    }
}

/// File name of the OpenSSH agent socket.
pub const SSH_SOCKET: &str = "ssh.sock";
/// File name of the control socket, next to it.
pub const CONTROL_SOCKET: &str = "control.sock";
