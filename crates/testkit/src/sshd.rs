//! A stock sshd in the foreground of a test: on a loopback port of its own, with nothing but the given configuration. Ends
//! with the value.
//!
//! Needs Debian's `openssh-server`; says so when it is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "for tests only: starts programs, and a server that does not start is a failed test"
)]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::namespace::wait_until;

/// The program; as root it wants to be called by its full name.
pub const SSHD: &str = "/usr/sbin/sshd";

/// What every test's sshd has: the account that runs the test may log in, with a certificate and nothing else.
const CONFIG: &str = "PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nAuthorizedKeysFile none\n\
                      PasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel VERBOSE\n";

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    child: Child,
    log: PathBuf,
}

impl Sshd {
    /// Starts one that keeps its files in `folder`; `config` names at least a host key.
    ///
    /// # Panics
    /// When there is no sshd, or it does not start.
    #[must_use]
    pub fn start(folder: &Path, config: &str) -> Self {
        for _ in 0..5 {
            if let Some(sshd) = Self::try_start(folder, config) {
                return sshd;
            }
        }
        panic!(
            "sshd did not start five times: {}",
            fs::read_to_string(folder.join("log")).unwrap_or_default()
        );
    }

    /// Writes the configuration of a server that is started by somebody else: `sshd -i -f FILE` on its standard input.
    ///
    /// # Panics
    /// When there is no sshd.
    #[must_use]
    pub fn configure(folder: &Path, config: &str) -> PathBuf {
        assert!(Path::new(SSHD).exists(), "this test needs {SSHD} (package openssh-server)");
        // As root it wants its empty directory, which the distribution's service makes; nobody else needs or can make it.
        let _made = fs::create_dir_all("/run/sshd");
        let file = folder.join("sshd_config");
        fs::write(&file, format!("{CONFIG}{config}\n")).expect("the folder can be written");
        file
    }

    fn try_start(folder: &Path, config: &str) -> Option<Self> {
        // A port that was free a moment ago; another test may be faster.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let file = Self::configure(folder, &format!("ListenAddress 127.0.0.1:{port}\n{config}"));
        let log = folder.join("log");
        let child = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("the folder can be written"))
            .spawn()
            .expect("sshd can be run");
        let mut sshd = Self { port, child, log };
        let mut ended = false;
        wait_until("sshd listens", || {
            ended = sshd.child.try_wait().expect("it is our child").is_some();
            ended || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        (!ended).then_some(sshd)
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
