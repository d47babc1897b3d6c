//! Who is asked about a certificate: our verifier, two libraries about the signature alone, `ssh-keygen -L`, and stock
//! `ssh` and `sshd` at work.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ssh_key::private::{Ed25519Keypair, PrivateKey};
use tempfile::TempDir;
use usher_ca::{CaPublicKey, LocalKey as _, Signature, SubjectKey};
use usher_testkit::{
    namespace::wait_until,
    sshd::{SSHD, Sshd},
};

use super::aws_lc::{self, Authority};

/// The name that hosts have here.
pub(super) const HOST: &str = "web-1.example.com";

/// What becomes of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Accepted,
    /// By sshd, which says this.
    Refused(&'static str),
    /// By the stock client, which reads and checks as sshd does and finds nothing that it could send.
    HeldBack,
}

impl Login {
    /// What sshd says when it refuses.
    pub(super) fn why(self) -> &'static str {
        if let Self::Refused(why) = self { why } else { "" }
    }
}

/// One machine, one person with a key, and the authorities that the machine trusts.
pub(super) struct World {
    pub(super) ed25519: Authority,
    pub(super) p256: Authority,
    pub(super) subject: SubjectKey,
    pub(super) host: SubjectKey,
    account: String,
    folder: TempDir,
    sshd: Sshd,
}

impl World {
    /// `principal` may log in to the account that runs the test.
    pub(super) fn start(principal: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (ed25519, p256) = (Authority::ed25519(), Authority::p256());
        let subject = write_key(&path("key"), [11; 32]);
        let host = write_key(&path("host"), [12; 32]);
        run("/usr/bin/ssh-keygen", |keygen| {
            keygen.args(["-q", "-N", "", "-t", "rsa", "-b", "2048", "-f"]).arg(path("rsa"))
        });
        let rsa = fs::read_to_string(path("rsa.pub")).unwrap();
        let authorities = [ed25519.public_key().to_openssh(), p256.public_key().to_openssh(), rsa];
        fs::write(path("authorities"), authorities.join("\n")).unwrap();
        fs::write(path("principals"), format!("{principal}\n")).unwrap();
        let sshd = Sshd::start(
            folder.path(),
            &format!(
                "HostKey {}\nTrustedUserCAKeys {}\nAuthorizedPrincipalsFile {}",
                path("host").display(),
                path("authorities").display(),
                path("principals").display()
            ),
        );
        let account = run("/usr/bin/id", |id| id.arg("-un"));
        let account = String::from_utf8(account.stdout).unwrap().trim().to_owned();
        Self { ed25519, p256, subject, host, account, folder, sshd }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authorities that this crate can be told to trust; RSA cannot.
    pub(super) fn trusted(&self) -> [CaPublicKey; 2] {
        [self.ed25519.public_key(), self.p256.public_key()]
    }

    /// A certificate that `ssh-keygen` makes with the RSA authority.
    pub(super) fn rsa(&self, algorithm: &str, principal: &str) -> String {
        let key = self.path("subject.pub");
        fs::write(&key, self.subject.to_openssh()).unwrap();
        run("/usr/bin/ssh-keygen", |keygen| {
            keygen
                .args(["-q", "-t", algorithm, "-I", "payments", "-n", principal, "-V", "-1m:+3m", "-z", "7"]);
            keygen.arg("-s").arg(self.path("rsa")).arg(&key)
        });
        fs::read_to_string(self.path("subject-cert.pub")).unwrap().trim_end().to_owned()
    }

    /// Whether `ssh-keygen -L` shows it. It checks the signature, by whatever key the certificate names, and nothing else.
    pub(super) fn ssh_keygen_shows(&self, text: &str) -> bool {
        let file = self.path("shown");
        fs::write(&file, text).unwrap();
        let output = Command::new("/usr/bin/ssh-keygen").arg("-L").arg("-f").arg(file).output().unwrap();
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(" certificate")
    }

    /// Logs in with it.
    pub(super) fn login(&self, text: &str, why: &'static str) -> Login {
        fs::write(self.path("key-cert.pub"), text).unwrap();
        let before = self.sshd.log().len();
        let target = format!("{}@127.0.0.1", self.account);
        let output = self
            .ssh()
            .args([
                "-v",
                "-o",
                "PubkeyAcceptedAlgorithms=*-cert-v01@openssh.com",
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-i",
            ])
            .arg(self.path("key"))
            .args(["-p", &self.sshd.port.to_string(), &target, "true"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            return Login::Accepted;
        }
        assert!(said.contains("Permission denied"), "the login did not get as far as the keys: {said}");
        if !said.contains("Offering public key") {
            return Login::HeldBack;
        }
        // Its log may be behind what it has answered.
        wait_until(&format!("sshd says `{why}`, not\n{}", &self.sshd.log()[before..]), || {
            self.sshd.log()[before..].contains(why)
        });
        Login::Refused(why)
    }

    /// Whether a client that trusts both authorities for this host believes a server that shows it.
    pub(super) fn host_is_believed(&self, text: &str) -> bool {
        fs::write(self.path("host-cert.pub"), text).unwrap();
        let lines = self.trusted().map(|key| format!("@cert-authority {HOST} {}\n", key.to_openssh()));
        fs::write(self.path("known_hosts"), lines.concat()).unwrap();
        let server = self.path("inetd");
        fs::create_dir_all(&server).unwrap();
        let config = Sshd::configure(
            &server,
            &format!(
                "HostKey {}\nHostCertificate {}",
                self.path("host").display(),
                self.path("host-cert.pub").display()
            ),
        );
        let output = self
            .ssh()
            .args(["-o", "StrictHostKeyChecking=yes", "-o", &format!("HostKeyAlias={HOST}"), "-o"])
            .arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()))
            .arg("-o")
            .arg(format!("ProxyCommand={SSHD} -i -f {}", config.display()))
            .args([&format!("{}@{HOST}", self.account), "true"])
            .output()
            .unwrap();
        // Nobody can log in to that server; what counts is how far the client goes.
        let said = String::from_utf8_lossy(&output.stderr);
        let believed = said.contains("Permission denied");
        assert!(believed || said.contains("Host key verification failed"), "{said}");
        believed
    }

    fn ssh(&self) -> Command {
        let mut ssh = Command::new("/usr/bin/ssh");
        ssh.env_clear().env("HOME", self.folder.path());
        ssh.args([
            "-F",
            "none",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
        ]);
        ssh
    }
}

/// What a signature is good for by itself, whoever made it: `None` where it is of no algorithm of ours. Both libraries must
/// agree.
#[track_caller]
pub(super) fn signature(name: &str, text: &str) -> Option<bool> {
    let blob = text.split(' ').nth(1).unwrap();
    let blob = data_encoding::BASE64.decode(blob.as_bytes()).unwrap();
    let mut rest = blob.as_slice();
    let [_type, _nonce, _key] = [(); 3].map(|()| take(&mut rest));
    rest = &rest[12..];
    let [_key_id, _principals] = [(); 2].map(|()| take(&mut rest));
    rest = &rest[16..];
    let [_critical, _extensions, _reserved, key] = [(); 4].map(|()| take(&mut rest));
    let signed = &blob[..blob.len() - rest.len()];
    let mut signature = take(&mut rest);
    let line =
        format!("{} {}", String::from_utf8_lossy(take(&mut { key })), data_encoding::BASE64.encode(key));
    let public = CaPublicKey::parse(&line).ok()?;
    let algorithm = take(&mut signature);
    let mut value = take(&mut signature);
    let (raw, portable) = if algorithm == b"ssh-ed25519" {
        let raw: [u8; 64] = value.try_into().unwrap();
        (raw, Some(Signature::ed25519(raw)))
    } else {
        let raw: Vec<u8> = [take(&mut value), take(&mut value)].map(scalar).concat();
        let raw: [u8; 64] = raw.try_into().unwrap();
        (raw, Signature::ecdsa_p256(&raw).ok())
    };
    let portable = portable.is_some_and(|signature| public.verify(signed, &signature).is_ok());
    let mut key = key;
    // The key itself stands last.
    let mut point: &[u8] = &[];
    while !key.is_empty() {
        point = take(&mut key);
    }
    let aws_lc = aws_lc::verifies(point, signed, &raw);
    assert_eq!(portable, aws_lc, "{name}: the libraries disagree about the signature");
    Some(aws_lc)
}

/// A multiple-precision integer as 32 bytes.
fn scalar(mpint: &[u8]) -> [u8; 32] {
    let digits = mpint.strip_prefix(&[0]).unwrap_or(mpint);
    let mut bytes = [0; 32];
    bytes[32 - digits.len()..].copy_from_slice(digits);
    bytes
}

fn take<'a>(from: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = from.split_at(4);
    let (taken, rest) = rest.split_at(u32::from_be_bytes(length.try_into().unwrap()).try_into().unwrap());
    *from = rest;
    taken
}

fn write_key(file: &Path, seed: [u8; 32]) -> SubjectKey {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
    key.write_openssh_file(file, ssh_key::LineEnding::LF).unwrap();
    SubjectKey::parse(&key.public_key().to_openssh().unwrap()).unwrap()
}

fn run(program: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Output {
    assert!(Path::new(program).exists(), "this test needs {program} (package openssh-client)");
    let output = arguments(&mut Command::new(program)).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
