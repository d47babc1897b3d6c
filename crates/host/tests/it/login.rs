//! Real logins through stock sshd: a certificate opens one account on one server, nothing else opens it, and whoever got in
//! before still does.

use usher_account_lifecycle::state::StateDocument;
use usher_testkit::namespace::{inside, sh, try_sh, wait_until};

use crate::world::{bastion, document, host, server_id, settle, start_sshd, target};

/// Makes a CA, a key to sign, and an unmanaged account with a key of its own.
fn set_up() {
    start_sshd();
    sh("set -e; mkdir -m 700 /tmp/k; cd /tmp/k
        for key in ca other_ca user static ops; do ssh-keygen -q -t ed25519 -N '' -f $key; done
        useradd -m -u 1500 ops; usermod -p '*' ops
        mkdir -m 700 /home/ops/.ssh; cp ops.pub /home/ops/.ssh/authorized_keys; chown -R ops: /home/ops/.ssh
        mkdir -p -m 700 /root/.ssh; cp ops.pub /root/.ssh/authorized_keys");
}

fn with_ca(users: &[&str]) -> StateDocument {
    let mut document = document(users);
    document.ssh_user_ca = vec![sh("cat /tmp/k/ca.pub")];
    document
}

fn certify(ca: &str, principal: &str, options: &str) {
    sh(&format!("cd /tmp/k; ssh-keygen -q -s {ca} -I test -n {principal} -V -1m:+3m {options} user.pub"));
}

fn ssh(key: &str, rest: &str) -> (bool, String) {
    let options = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
                   -o IdentitiesOnly=yes -o LogLevel=ERROR -o ExitOnForwardFailure=yes -o ConnectTimeout=5";
    try_sh(&format!("timeout 10 ssh {options} -i /tmp/k/{key} {rest} </dev/null"))
}

fn unmanaged_get_in(when: &str) {
    for account in ["ops", "root"] {
        assert_eq!(ssh("ops", &format!("{account}@127.0.0.1 id -un")), (true, account.to_owned()), "{when}");
    }
}

#[test]
fn a_certificate_opens_one_account_on_one_server_and_nothing_else_does() {
    inside(|| {
        set_up();
        unmanaged_get_in("before");
        let mut host = host();
        settle(&mut host, &target(&with_ca(&["alice", "bob"])));
        unmanaged_get_in("during");

        let principal = format!("alice@{}", server_id());
        certify("ca", &principal, "");
        assert_eq!(ssh("user", "alice@127.0.0.1 id -u"), (true, "60001".to_owned()));
        assert_eq!(ssh("user", "alice@127.0.0.1 sudo -n id -u"), (true, "0".to_owned()));
        assert!(!ssh("user", "bob@127.0.0.1 id").0, "another login");
        assert!(!ssh("user", "ops@127.0.0.1 id").0, "an unmanaged account");
        assert!(!ssh("user", "root@127.0.0.1 id").0, "root");
        for (ca, principal) in [
            ("other_ca", principal.as_str()),
            ("ca", "alice"),
            ("ca", "alice@srv_00000000000000000000000000"),
            ("ca", "'*'"),
            ("ca", "root,bob"),
        ] {
            certify(ca, principal, "");
            assert!(!ssh("user", "alice@127.0.0.1 id").0, "{ca} {principal}");
        }
        sh("set -e; mkdir -m 700 /home/alice/.ssh; cp /tmp/k/static.pub /home/alice/.ssh/authorized_keys
            cp /tmp/k/static.pub /home/alice/.ssh/authorized_keys2; chown -R alice: /home/alice/.ssh");
        assert!(!ssh("static", "alice@127.0.0.1 id").0, "a key in the home");

        certify("ca", &principal, "");
        sh(
            "ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -i /tmp/k/user \
            alice@127.0.0.1 'setsid sleep 500 & exec sleep 501' </dev/null >/dev/null 2>&1 & echo $! > /tmp/session",
        );
        wait_until("the session is open", || try_sh("pgrep -u 60001 -f '[s]leep 501'").0);
        let mut next = with_ca(&["alice", "bob"]);
        next.users.remove(&"alice".parse().unwrap());
        settle(&mut host, &target(&next));
        assert!(!try_sh("pgrep -u 60001").0);
        assert!(!try_sh("pgrep -f '[s]shd: alice'").0, "the session's sshd is gone too");
        wait_until("the client noticed", || !try_sh("kill -0 $(cat /tmp/session)").0);
        assert!(!ssh("user", "alice@127.0.0.1 id").0, "a certificate made before");
        unmanaged_get_in("after");
    });
}

#[test]
fn a_hop_forwards_to_its_server_and_does_nothing_else() {
    inside(|| {
        set_up();
        // The server behind the bastion is this host again, at another address.
        sh("ip addr add 10.0.0.5/32 dev lo; ip addr add 169.254.169.254/32 dev lo");
        settle(&mut host(), &bastion(&with_ca(&["alice"])));
        let line = std::fs::read_to_string("/etc/ssh/usher/principals/usher-hop").unwrap();
        let principal = line.split_whitespace().last().unwrap();
        certify("ca", principal, "-O clear -O permit-port-forwarding");
        let at = "usher-hop@127.0.0.1";
        let (_, greeting) = ssh("user", &format!("-W 10.0.0.5:22 {at}"));
        assert!(greeting.starts_with("SSH-2.0-"), "{greeting}");
        for elsewhere in
            ["127.0.0.1:22", "169.254.169.254:22", "10.0.0.5:80", "localhost:22", "target:22", "[::1]:22"]
        {
            let (_, text) = ssh("user", &format!("-W {elsewhere} {at}"));
            assert!(
                !text.contains("SSH-2.0-") && text.contains("stdio forwarding failed"),
                "{elsewhere}: {text}"
            );
        }
        for refused in [format!("{at} id"), format!("-tt {at}"), format!("-s {at} sftp")] {
            let (ok, text) = ssh("user", &refused);
            assert!(!ok && !text.contains("uid="), "{refused}: {text}");
        }
        assert!(!ssh("user", &format!("-N -R 2222:127.0.0.1:22 {at}")).0, "a listening port");
        assert!(!ssh("user", &format!("-N -R /tmp/socket:127.0.0.1:22 {at}")).0, "a listening unix socket");
        // Even a certificate that allows everything gets no more from this account.
        certify("ca", principal, "");
        assert!(!ssh("user", &format!("{at} id")).0);
        certify("ca", &format!("usher-hop@{}.{}", server_id(), server_id()), "");
        let (_, text) = ssh("user", &format!("-W 10.0.0.5:22 {at}"));
        assert!(text.contains("Permission denied"), "another hop's principal: {text}");
    });
}
