//! A real MIT Kerberos key distribution center lets people in with smart-card certificates made here: loopback, a realm of
//! its own, a folder that goes away.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use usher_ca::{
    CheckedKey, PortableP256, Signer as _,
    x509::{CaCertificate, prepare_authority, prepare_client},
};
use usher_testkit::rng;
use usher_types::{Period, UnixTime, ValidityWindow};

use super::example::{Person, proven};

const REALM: &str = "USHER.TEST";
const TOOLS: [(&str, &str); 5] = [
    ("/usr/bin/kinit", "krb5-user"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/sbin/kadmin.local", "krb5-admin-server"),
    ("/usr/sbin/kdb5_util", "krb5-kdc"),
    ("/usr/sbin/krb5kdc", "krb5-kdc"),
];

/// A realm with its center at work; ends with the value.
struct Realm {
    folder: tempfile::TempDir,
    center: Option<Child>,
}

impl Drop for Realm {
    fn drop(&mut self) {
        if let Some(center) = &mut self.center {
            let _ = center.kill();
            let _ = center.wait();
        }
    }
}

impl Realm {
    /// A realm with the person `alice`, that trusts `authority` for smart cards. The person's machine knows `other` too, or
    /// would not even ask.
    fn start(authority: &CaCertificate, other: &CaCertificate) -> Self {
        for (tool, package) in TOOLS {
            assert!(Path::new(tool).exists(), "this test needs {tool} (package {package})");
        }
        let mut realm = Self { folder: tempfile::tempdir().unwrap(), center: None };
        fs::write(realm.path("users.pem"), authority.to_pem()).unwrap();
        fs::write(realm.path("other.pem"), other.to_pem()).unwrap();
        realm.make_center_certificate();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        realm.configure(port);
        realm.run("/usr/sbin/kdb5_util", &["create", "-s", "-P", "master", "-r", REALM]);
        let add = ["-r", REALM, "-q", "addprinc -randkey +requires_preauth alice"];
        realm.run("/usr/sbin/kadmin.local", &add);
        let mut center = realm
            .command("/usr/sbin/krb5kdc")
            .args(["-n", "-r", REALM])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(center.stderr.take().unwrap());
        realm.center = Some(center);
        let mut lines = log.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("commencing operation")),
            "the key distribution center did not start (is krb5-pkinit installed?)"
        );
        // Read to its end, or the center would wait for room.
        std::thread::spawn(move || lines.for_each(drop));
        realm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The center's own certificate, of an authority of its own.
    fn make_center_certificate(&self) {
        let new =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let ca = ["-subj", "/CN=KDC CA", "-keyout", "kdc-ca.key", "-out", "kdc-ca.pem"];
        self.run("/usr/bin/openssl", &[&new[..], &ca].concat());
        let leaf = [
            "-subj",
            "/CN=localhost",
            "-keyout",
            "kdc.key",
            "-out",
            "kdc.pem",
            "-CA",
            "kdc-ca.pem",
            "-CAkey",
            "kdc-ca.key",
            "-addext",
            "basicConstraints=critical,CA:false",
            "-addext",
            "keyUsage=digitalSignature,keyAgreement",
            "-addext",
            "extendedKeyUsage=serverAuth,1.3.6.1.5.2.3.5",
            "-addext",
            "subjectAltName=DNS:localhost",
        ];
        self.run("/usr/bin/openssl", &[&new[..], &leaf].concat());
    }

    fn configure(&self, port: u16) {
        let here = self.folder.path().display();
        // In files apart: the center reads both of its own, and must not trust what the person's machine does.
        let common = format!(
            "[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n rdns = false\n\
             [logging]\n kdc = STDERR\n admin_server = STDERR\n default = STDERR\n"
        );
        fs::write(self.path("center.conf"), &common).unwrap();
        let client = format!(
            "{common}[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n  pkinit_anchors = FILE:{here}/kdc-ca.pem\n  \
             pkinit_anchors = FILE:{here}/users.pem\n  pkinit_anchors = FILE:{here}/other.pem\n  \
             pkinit_eku_checking = kpServerAuth\n  pkinit_kdc_hostname = localhost\n }}\n"
        );
        fs::write(self.path("person.conf"), client).unwrap();
        let center = format!(
            "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
             [realms]\n {REALM} = {{\n  database_name = {here}/principal\n  key_stash_file = {here}/stash\n  \
             acl_file = {here}/acl\n  pkinit_identity = FILE:{here}/kdc.pem,{here}/kdc.key\n  \
             pkinit_anchors = FILE:{here}/users.pem\n  pkinit_anchors = FILE:{here}/kdc-ca.pem\n  pkinit_allow_upn = true\n  pkinit_eku_checking = scLogin\n }}\n"
        );
        fs::write(self.path("kdc.conf"), center).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env(
                "KRB5_CONFIG",
                self.path(if program.starts_with("/usr/bin/") { "person.conf" } else { "center.conf" }),
            )
            .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
            .env("KRB5CCNAME", format!("FILE:{}", self.path("tickets").display()))
            .env("KRB5_TRACE", "/dev/stderr")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, program: &str, arguments: &[&str]) {
        let run = self.command(program).args(arguments).output().unwrap();
        assert!(run.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    }

    /// Asks for a ticket of `alice` with this certificate and key.
    fn kinit(&self, certificate: &str, key: &str) -> (bool, String) {
        fs::write(self.path("user.pem"), certificate).unwrap();
        fs::write(self.path("user.key"), key).unwrap();
        let identity = format!(
            "X509_user_identity=FILE:{},{}",
            self.path("user.pem").display(),
            self.path("user.key").display()
        );
        let run = self
            .command("/usr/bin/kinit")
            .args(["-X", &identity, &format!("alice@{REALM}")])
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        (run.status.success(), said)
    }
}

/// The center goes by the real clock.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(i64::try_from(since.as_secs()).unwrap())
}

fn authority(seed: u64) -> (CheckedKey, CaCertificate) {
    let key = CheckedKey::check(PortableP256::generate(&mut rng(seed))).unwrap();
    let period = Period::around(now(), Duration::from_secs(3600), Duration::from_secs(86400)).unwrap();
    let name = "Usher CA of payments".parse().unwrap();
    let prepared = prepare_authority(&name, &key.public_key(), period, now(), &mut rng(1)).unwrap();
    let certificate = prepared.sign_with(&key).unwrap();
    (key, certificate)
}

#[test]
fn a_key_distribution_center_lets_the_named_person_in_and_nobody_else() {
    let (ca_key, ca) = authority(1);
    let (other_key, other) = authority(2);
    let realm = Realm::start(&ca, &other);
    let user_key = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let user_pem = user_key.to_pkcs8_pem(LineEnding::LF).unwrap();
    let subject = proven(&PortableP256::from_scalar(&[7; 32]).unwrap());
    let certificate = |ca_key: &CheckedKey, ca: &CaCertificate, upn: Option<&str>| {
        let window =
            ValidityWindow::around(now(), Duration::from_secs(60), Duration::from_secs(180)).unwrap();
        let smart_card = upn.map(|upn| format!("{upn}@{REALM}").parse().unwrap());
        let person = Person { window, smart_card, ..Person::plain() };
        prepare_client(person, &subject, ca, now(), &mut rng(3)).unwrap().sign_with(ca_key).unwrap().to_pem()
    };

    let (good, said) = realm.kinit(&certificate(&ca_key, &ca, Some("alice")), &user_pem);
    assert!(good, "{said}");
    let tickets = realm.command("/usr/bin/klist").output().unwrap();
    let tickets = String::from_utf8_lossy(&tickets.stdout).into_owned();
    assert!(tickets.contains(&format!("krbtgt/{REALM}@{REALM}")), "{tickets}");

    let (good, said) = realm.kinit(&certificate(&ca_key, &ca, Some("mallory")), &user_pem);
    assert!(!good && said.contains("Client name mismatch"), "{said}");
    // A certificate for the listener of an agent is no smart card.
    let (good, said) = realm.kinit(&certificate(&ca_key, &ca, None), &user_pem);
    assert!(!good && said.contains("Inconsistent key purpose"), "{said}");
    // Nor is one of another project's authority, whatever it is called.
    let (good, said) = realm.kinit(&certificate(&other_key, &other, Some("alice")), &user_pem);
    assert!(!good && said.contains("Received error from KDC"), "{said}");
}
