//! Whoever looks at a certificate comes to the same answer, or the table here says why not: our verifier, aws-lc, the
//! portable libraries, `ssh-keygen -L`, a live sshd, and for hosts a real `ssh`. Each row is one certificate.

mod aws_lc;
mod judges;

use std::time::{Duration, SystemTime};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use usher_ca::{HostPrincipals, LocalKey as _, VerifyError, prepare, prepare_host, verify_at};
use usher_testkit::{fixture, rng};
use usher_types::{Period, UnixTime, ValidityWindow};

use self::{
    aws_lc::Authority,
    judges::{HOST, Login, World, signature},
};
use crate::{
    example::Example,
    forge::{Forged, text_of, value},
    host::Machine,
};

/// sshd goes by the real clock.
fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixTime::from_secs(i64::try_from(since.as_secs()).unwrap())
}

fn principal() -> String {
    format!("alice@{}", fixture::server(1))
}

/// What everybody must say of a user certificate.
struct Row {
    name: &'static str,
    text: String,
    /// `verify_at`, with both authorities trusted.
    ours: Result<(), VerifyError>,
    /// Of both libraries: whether the key that the certificate names has signed it.
    signature: Option<bool>,
    /// `ssh-keygen -L`.
    shown: bool,
    sshd: Login,
}

fn option(name: &str) -> VerifyError {
    VerifyError::CriticalOption { name: name.to_owned() }
}

fn table(world: &World) -> Vec<Row> {
    use Login::{Accepted, HeldBack, Refused};
    use VerifyError as E;

    let seconds = u64::try_from(now().as_secs()).unwrap();
    let good = Forged {
        valid_after: seconds - 60,
        valid_before: seconds + 180,
        subject: *world.subject.as_bytes(),
        ..Forged::good()
    };
    let real = |authority: &Authority| {
        let window =
            ValidityWindow::around(now(), Duration::from_secs(60), Duration::from_secs(180)).unwrap();
        let example = Example { window, ..Example::login() };
        let key = authority.public_key();
        let prepared = prepare(example, &world.subject, &key, now(), &mut rng(3)).unwrap();
        let signature = authority.sign_now(prepared.bytes()).unwrap();
        prepared.seal(signature).unwrap().to_openssh()
    };
    let forged = |change: &dyn Fn(&mut Forged)| {
        let mut forged = good.clone();
        change(&mut forged);
        world.ed25519.certify(&forged)
    };
    // The whole certificate, changed after it was signed.
    let edited = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut blob = world.p256.certify_bytes(good.unsigned(&world.p256.public_key()));
        change(&mut blob);
        text_of(&blob)
    };
    let stranger = Authority::ed25519();
    let nested = data_encoding::BASE64.decode(forged(&|_| {}).split(' ').nth(1).unwrap().as_bytes()).unwrap();
    let source = ("source-address", value("127.0.0.1"));
    let command = ("force-command", value("true"));
    let broken = || Err(E::Signature(usher_ca::BadSignature));
    let row = |name, text, ours, signature, shown, sshd| Row { name, text, ours, signature, shown, sshd };
    vec![
        row("made here, Ed25519", real(&world.ed25519), Ok(()), Some(true), true, Accepted),
        row("made here, P-256", real(&world.p256), Ok(()), Some(true), true, Accepted),
        row("the one that is changed below", forged(&|_| {}), Ok(()), Some(true), true, Accepted),
        row("the other one", edited(&|_| {}), Ok(()), Some(true), true, Accepted),
        row(
            "from the right address",
            forged(&|f| f.critical_options = vec![source.clone()]),
            Ok(()),
            Some(true),
            true,
            Accepted,
        ),
        // What one of the parties must refuse, all refuse.
        row("a host's", forged(&|f| f.kind = 2), Err(E::Type), Some(true), true, HeldBack),
        row(
            "type that does not exist",
            forged(&|f| f.kind = 3),
            Err(E::Malformed),
            Some(true),
            false,
            HeldBack,
        ),
        row(
            "another authority",
            stranger.certify(&good),
            Err(E::Authority),
            Some(true),
            true,
            Refused("Failed publickey"),
        ),
        row(
            "expired",
            forged(&|f| f.valid_before = seconds - 30),
            Err(E::Expired),
            Some(true),
            true,
            Refused("Certificate invalid: expired"),
        ),
        row(
            "not valid yet",
            forged(&|f| f.valid_after = seconds + 90),
            Err(E::NotYetValid),
            Some(true),
            true,
            Refused("Certificate invalid: not yet valid"),
        ),
        row(
            "backwards",
            forged(&|f| f.valid_after = seconds + 200),
            Err(E::Window),
            Some(true),
            true,
            Refused("Certificate invalid: not yet valid"),
        ),
        row(
            "nobody's",
            forged(&|f| f.principals.clear()),
            Err(E::Principals),
            Some(true),
            true,
            Refused("does not contain an authorized principal"),
        ),
        row(
            "unknown critical option",
            forged(&|f| f.critical_options = vec![("x@example.com", vec![])]),
            Err(option("x@example.com")),
            Some(true),
            true,
            Refused("critical option \"x@example.com\" is not supported"),
        ),
        row(
            "critical option twice",
            forged(&|f| f.critical_options = vec![source.clone(), source.clone()]),
            Err(E::Malformed),
            Some(true),
            true,
            Refused("multiple source-address options"),
        ),
        row(
            "from nowhere",
            forged(&|f| f.critical_options = vec![("source-address", value("192.0.2.1/99"))]),
            Err(option("source-address")),
            Some(true),
            true,
            Refused("source-address contents invalid"),
        ),
        row(
            "signed by a certificate",
            forged(&|f| f.signature_key = Some(nested.clone())),
            Err(E::NestedAuthority),
            None,
            false,
            HeldBack,
        ),
        row(
            "RSA with SHA-1",
            world.rsa("ssh-rsa", &principal()),
            Err(E::Authority),
            None,
            true,
            Refused("certificate signature algorithm ssh-rsa: signature algorithm not supported"),
        ),
        // Changed after signing.
        row(
            "bit of the signature",
            edited(&|blob| *blob.last_mut().unwrap() ^= 1),
            broken(),
            Some(false),
            false,
            HeldBack,
        ),
        row("type", edited(&|blob| blob[119] = 2), Err(E::Type), Some(false), false, HeldBack),
        row("serial", edited(&|blob| blob[115] ^= 1), broken(), Some(false), false, HeldBack),
        row("key id", edited(&|blob| blob[130] ^= 1), broken(), Some(false), false, HeldBack),
        row(
            "trusted key instead of the stranger's",
            {
                let bytes = good.unsigned(&stranger.public_key());
                let signed = stranger.certify_bytes(bytes.clone());
                let mut swapped = good.unsigned(&world.ed25519.public_key());
                swapped.extend_from_slice(&signed[bytes.len()..]);
                text_of(&swapped)
            },
            broken(),
            Some(false),
            false,
            HeldBack,
        ),
        row("byte behind it", edited(&|blob| blob.push(0)), Err(E::Malformed), Some(true), false, HeldBack),
        // The format demands an order (draft-miller-ssh-cert section 2.3.1), sshd does not look.
        row(
            "critical options out of order",
            forged(&|f| f.critical_options = vec![source.clone(), command.clone()]),
            Err(E::Malformed),
            Some(true),
            true,
            Accepted,
        ),
        row(
            "extensions out of order",
            forged(&|f| f.extensions = vec![("permit-pty", vec![]), ("permit-a", vec![])]),
            Err(E::Malformed),
            Some(true),
            true,
            Accepted,
        ),
        row(
            "extension twice",
            forged(&|f| f.extensions = vec![("permit-pty", vec![]), ("permit-pty", vec![])]),
            Err(E::Malformed),
            Some(true),
            true,
            Accepted,
        ),
        // sshd knows options and keys that no certificate of ours has.
        row(
            "command",
            forged(&|f| f.critical_options = vec![command.clone()]),
            Err(option("force-command")),
            Some(true),
            true,
            Accepted,
        ),
        row(
            "RSA with SHA-256",
            world.rsa("rsa-sha2-256", &principal()),
            Err(E::Authority),
            None,
            true,
            Accepted,
        ),
        // sshd takes what our profile forbids.
        row(
            "for ever",
            forged(&|f| (f.valid_after, f.valid_before) = (0, u64::MAX)),
            Err(E::Window),
            Some(true),
            true,
            Accepted,
        ),
        row(
            "too long",
            forged(&|f| f.valid_before = seconds + 700),
            Err(E::Window),
            Some(true),
            true,
            Accepted,
        ),
        row(
            "two principals",
            forged(&|f| f.principals.push(b"root".to_vec())),
            Err(E::Principals),
            Some(true),
            true,
            Accepted,
        ),
        row("serial zero", forged(&|f| f.serial = 0), Err(E::Serial), Some(true), true, Accepted),
        row(
            "line in the log",
            forged(&|f| f.key_id = b"a\nAccepted".to_vec()),
            Err(E::KeyId),
            Some(true),
            true,
            Accepted,
        ),
        // Only the server knows who may come in: whoever calls `verify_at` compares the principal.
        row(
            "somebody else's",
            forged(&|f| f.principals = vec![principal().replace("alice", "bob").into_bytes()]),
            Ok(()),
            Some(true),
            true,
            Refused("does not contain an authorized principal"),
        ),
    ]
}

#[test]
fn everybody_says_the_same_of_a_user_certificate() {
    let world = World::start(&principal());
    let mut wrong = Vec::new();
    for row in table(&world) {
        let ours = verify_at(&row.text, &world.trusted(), now()).map(|_| ());
        let said = (
            ours,
            signature(row.name, &row.text),
            world.ssh_keygen_shows(&row.text),
            world.login(&row.text, row.sshd.why()),
        );
        if said != (row.ours.clone(), row.signature, row.shown, row.sshd) {
            wrong.push(format!(
                "{}: {said:?}, not {:?}",
                row.name,
                (row.ours, row.signature, row.shown, row.sshd)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everybody_says_the_same_of_a_host_certificate() {
    let world = World::start(&principal());
    let made = |authority: &Authority| {
        let period = Period::around(now(), Duration::from_secs(60), Duration::from_secs(86400)).unwrap();
        let machine = Machine { names: HostPrincipals::one(HOST.parse().unwrap()), period };
        let prepared =
            prepare_host(machine, &world.host, &authority.public_key(), now(), &mut rng(3)).unwrap();
        let signature = authority.sign_now(prepared.bytes()).unwrap();
        prepared.seal(signature).unwrap().to_openssh()
    };
    let seconds = u64::try_from(now().as_secs()).unwrap();
    let good = Forged {
        kind: 2,
        key_id: b"rack-7".to_vec(),
        principals: vec![HOST.as_bytes().to_vec()],
        valid_after: seconds - 60,
        valid_before: seconds + 180,
        extensions: Vec::new(),
        subject: *world.host.as_bytes(),
        ..Forged::good()
    };
    let stranger = Authority::p256();
    let forged = |change: &dyn Fn(&mut Forged)| {
        let mut forged = good.clone();
        change(&mut forged);
        world.ed25519.certify(&forged)
    };
    let mut broken = world.ed25519.certify_bytes(good.unsigned(&world.ed25519.public_key()));
    *broken.last_mut().unwrap() ^= 1;
    let command = ("force-command", value("true"));
    // Whether both libraries like the signature, `ssh-keygen -L` shows it, and `ssh` believes the host. Our own verifier is
    // for people's certificates: whatever this is, it is not one.
    let rows = [
        ("made here, Ed25519", made(&world.ed25519), (true, true, true)),
        ("made here, P-256", made(&world.p256), (true, true, true)),
        ("a person's", forged(&|f| f.kind = 1), (true, true, false)),
        ("another authority", stranger.certify(&good), (true, true, false)),
        (
            "another host's",
            forged(&|f| f.principals = vec![b"web-2.example.com".to_vec()]),
            (true, true, false),
        ),
        ("expired", forged(&|f| f.valid_before = seconds - 30), (true, true, false)),
        ("not valid yet", forged(&|f| f.valid_after = seconds + 90), (true, true, false)),
        (
            "with a critical option",
            forged(&|f| f.critical_options = vec![command.clone()]),
            (true, true, false),
        ),
        ("bit of the signature", text_of(&broken), (false, false, false)),
    ];
    for (name, text, expected) in rows {
        assert!(verify_at(&text, &world.trusted(), now()).is_err(), "{name}");
        let said = (
            signature(name, &text) == Some(true),
            world.ssh_keygen_shows(&text),
            world.host_is_believed(&text),
        );
        assert_eq!(said, expected, "{name}: the libraries, ssh-keygen, ssh");
    }
}

/// Certificates of every mixture, all with a good signature: what we accept, sshd accepts.
#[test]
fn nothing_is_accepted_that_sshd_refuses() {
    let world = World::start(&principal());
    let seconds = now().as_secs();
    let mostly = |good: &'static str, bad: &'static [&'static str]| prop_oneof![6 => Just(good), 1 => prop::sample::select(bad)];
    let mixture = (
        prop_oneof![9 => Just(1_u32), 1 => any::<u32>()],
        (-700_i64..60, 30_i64..700),
        prop::sample::subsequence(vec!["permit-pty", "permit-x", "x@example.com", "zzz"], 0..4),
        mostly(
            "127.0.0.1",
            &[
                "",
                "127.0.0.0/8",
                "127.0.0.1/8",
                "::1",
                "127.0.0.1,::1",
                "::1,127.0.0.1",
                "0.0.0.0/0",
                "!127.0.0.1",
            ],
        ),
        mostly("payments:alice@laptop:1", &["", " ", "a\0b", "\u{e9}"]),
        prop_oneof![6 => Just(0_usize), 1 => 1_usize..=2],
    );
    let mut accepted = 0;
    let mut runner = TestRunner::deterministic();
    for _ in 0..500 {
        let (kind, (after, before), extensions, source, key_id, more) =
            mixture.new_tree(&mut runner).unwrap().current();
        let forged = Forged {
            kind,
            valid_after: u64::try_from(seconds + after).unwrap(),
            valid_before: u64::try_from(seconds + before).unwrap(),
            extensions: extensions.into_iter().map(|name| (name, Vec::new())).collect(),
            critical_options: vec![("source-address", value(source))],
            key_id: key_id.as_bytes().to_vec(),
            principals: vec![principal().into_bytes(); more + 1],
            subject: *world.subject.as_bytes(),
            ..Forged::good()
        };
        let text = world.p256.certify(&forged);
        let Ok(verified) = verify_at(&text, &world.trusted(), now()) else { continue };
        // From where is the caller's to compare, as for whom.
        let here = verified.source_addresses().contains("127.0.0.1".parse().unwrap());
        let expected =
            if here { Login::Accepted } else { Login::Refused("not from a permitted source address") };
        assert_eq!(world.login(&text, expected.why()), expected, "{text}");
        accepted += 1;
        if accepted == 24 {
            return;
        }
    }
    panic!("only {accepted} of the mixture were good: it shows too little");
}
