//! Real logins through stock sshd: a certificate opens one account on one server, nothing else opens it, and whoever got in
//! before still does.

use usher_account_lifecycle::{account::PortForwarding, state::StateDocument};
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
                   -o IdentitiesOnly=yes -o LogLevel=ERROR -o ExitOnForwardFailure=yes -o ConnectTimeout=30";
    try_sh(&format!(
        "SSH_AUTH_SOCK=/tmp/k/agent DISPLAY=:9 timeout 60 ssh {options} -i /tmp/k/{key} {rest} </dev/null"
    ))
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

/// Attack: whoever can open a port on a server, or leave an agent or a display there, gets further than the server.
#[test]
fn a_managed_account_forwards_towards_the_server_only() {
    inside(|| {
        // An owner who allows everything, and has what X11 needs.
        sh("set -e; printf '#!/bin/sh\\nexit 0\\n' > /usr/bin/xauth; chmod 755 /usr/bin/xauth
            printf 'AllowTcpForwarding yes\\nAllowAgentForwarding yes\\nX11Forwarding yes\\n' >> /etc/ssh/sshd_config");
        set_up();
        sh("ssh-agent -a /tmp/k/agent > /dev/null");
        let mut host = host();
        let mut document = with_ca(&["alice"]);
        settle(&mut host, &target(&document));
        let principal = format!("alice@{}", server_id());
        let (alice, ops) = (("user", "alice@127.0.0.1"), ("ops", "ops@127.0.0.1"));
        let port_opened = |(key, at): (&str, &str)| {
            let reach = "bash -c \"exec 3<>/dev/tcp/127.0.0.1/2222; head -c 4 <&3\"";
            let (ok, text) = ssh(key, &format!("-R 2222:127.0.0.1:22 {at} '{reach}'"));
            assert!(ok == text.contains("SSH-") || text.contains("forwarding failed"), "{text}");
            ok
        };
        let agent_reached = |(key, at): (&str, &str)| {
            ssh(key, &format!("-o ForwardAgent=yes {at} 'test -S \"$SSH_AUTH_SOCK\"'")).0
        };
        let display = |(key, at): (&str, &str)| {
            let (_, text) = ssh(key, &format!("-o ForwardX11=yes {at} 'echo display=$DISPLAY'"));
            text.contains("display=localhost:")
        };
        // Not even with a certificate that allows everything.
        certify("ca", &principal, "");
        let has = |who: (&str, &str)| {
            [
                ("a listening port", port_opened(who)),
                ("the agent", agent_reached(who)),
                ("the display", display(who)),
            ]
        };
        for (what, has) in has(ops) {
            assert!(has, "{what}: the owner's own accounts keep what they have");
        }
        for (what, has) in has(alice) {
            assert!(!has, "{what}");
        }
        let towards = |text: &str| text.starts_with("SSH-2.0-");
        assert!(towards(&ssh("user", "-W 127.0.0.1:22 alice@127.0.0.1").1), "towards the server");
        certify("ca", &principal, "-O clear -O permit-pty");
        assert!(
            !towards(&ssh("user", "-W 127.0.0.1:22 alice@127.0.0.1").1),
            "where the certificate does not say so"
        );

        // A project that allows both ways: then the certificate decides.
        document.port_forwarding = PortForwarding::All;
        settle(&mut host, &target(&document));
        assert!(!port_opened(alice), "a certificate without it");
        certify("ca", &principal, "-O clear -O permit-port-forwarding");
        assert!(port_opened(alice), "a certificate with it");
        document.port_forwarding = PortForwarding::Local;
        settle(&mut host, &target(&document));
        assert!(!port_opened(alice), "and back");
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
