//! The whole life of accounts, with the system's own tools.

use std::fs;

use usher_testkit::namespace::{inside, sh, try_sh};

use crate::world::{
    bastion, document, effective, host, run_as, settle, settled, sshd_greets, start_sshd, target, with_group,
};

#[test]
fn accounts_are_made_kept_and_removed() {
    inside(|| {
        start_sshd();
        let root_before = effective("root");
        let mut host = host();
        let want = target(&with_group(document(&["alice", "bob"]), &["alice", "bob"]));
        let outcome = settle(&mut host, &want);
        assert_eq!(outcome.plan.conflicts, []);

        assert_eq!(sh("getent passwd alice"), "alice:x:60001:63001:User 0:/home/alice:/bin/bash");
        assert_eq!(sh("getent shadow alice | cut -d: -f2,8"), "*:");
        assert_eq!(sh("id -nG alice"), "alice developers usher-admin usher-managed");
        assert_eq!(sh("id -nG bob"), "bob developers usher-managed");
        assert_eq!(sh("stat -c '%u %g %a' /home/alice"), "60001 63001 700");
        assert_eq!(
            sh("stat -c '%U %G %a' /home/alice/.usher-test /home/alice/.bashrc"),
            "alice alice 644\nalice alice 644"
        );
        assert_eq!(sh("ls -A /home"), "alice\nbob", "nothing is left in the staging place");
        let principals = "/etc/ssh/usher/principals";
        assert_eq!(sh(&format!("stat -c '%u %g %a' {principals} {principals}/alice")), "0 0 755\n0 0 644");
        let server = crate::world::server_id();
        assert_eq!(fs::read_to_string(format!("{principals}/alice")).unwrap(), format!("alice@{server}\n"));

        assert_eq!(run_as("alice", "sudo -n id -u"), (true, "0".to_owned()));
        assert!(!run_as("bob", "sudo -n id -u").0);
        let alice = effective("alice");
        for line in [
            "authorizedkeysfile none",
            "trustedusercakeys /etc/ssh/usher/user_ca.pub",
            "passwordauthentication no",
        ] {
            assert!(alice.contains(line), "{line}");
        }
        assert_eq!(effective("root"), root_before, "root gets in as before");
        assert!(sshd_greets());
        settled(&mut host, &want);

        let home = sh("stat -c %i /home/alice; touch /home/alice/mine; chown alice /home/alice/mine");
        settle(&mut host, &target(&document(&[])));
        for name in ["alice", "bob"] {
            assert!(
                !try_sh(&format!("getent passwd {name} || getent group {name} || getent shadow {name}")).0
            );
        }
        assert!(!try_sh("getent group developers").0);
        assert_eq!(sh("ls -A /etc/ssh/usher/principals"), "");
        assert_eq!(sh("stat -c '%u %g %a' /home/alice"), "0 0 700", "kept, closed");
        settled(&mut host, &target(&document(&[])));

        settle(&mut host, &want);
        assert_eq!(sh("stat -c %i /home/alice"), home);
        assert_eq!(sh("stat -c '%U %a' /home/alice; ls /home/alice"), "alice 700\nmine");
        settled(&mut host, &want);
    });
}

#[test]
fn a_bastion_has_an_account_that_only_forwards() {
    inside(|| {
        start_sshd();
        let mut host = host();
        let want = bastion(&document(&[]));
        settle(&mut host, &want);
        let passwd = sh("getent passwd usher-hop");
        assert!(passwd.ends_with(":Usher hop:/nonexistent:/usr/sbin/nologin"), "{passwd}");
        let hop = effective("usher-hop");
        for line in [
            "allowtcpforwarding local",
            "permittty no",
            "permitlisten none",
            "maxsessions 0",
            "forcecommand /usr/sbin/nologin",
            "allowstreamlocalforwarding no",
            "authorizedkeysfile none",
        ] {
            assert!(hop.contains(line), "{line}");
        }
        let line = fs::read_to_string("/etc/ssh/usher/principals/usher-hop").unwrap();
        assert!(
            line.starts_with("restrict,port-forwarding,permitopen=\"10.0.0.5:22\" usher-hop@srv_"),
            "{line}"
        );
        settled(&mut host, &want);
        settle(&mut host, &target(&document(&[])));
        assert!(!try_sh("getent passwd usher-hop").0);
    });
}

#[test]
fn drift_is_repaired() {
    inside(|| {
        start_sshd();
        let mut host = host();
        let want = target(&with_group(document(&["alice", "bob"]), &["bob"]));
        settle(&mut host, &want);
        let ca = fs::read_to_string("/etc/ssh/usher/user_ca.pub").unwrap();
        sh("set -e
            usermod -p x -s /bin/sh -c other alice
            gpasswd -M alice,bob usher-admin; gpasswd -M '' developers; gpasswd -d bob usher-managed
            echo 'bob@srv_x' >> /etc/ssh/usher/principals/alice; rm /etc/ssh/usher/principals/bob
            echo mallory > /etc/ssh/usher/principals/mallory
            echo junk > /etc/ssh/usher/user_ca.pub; chmod 666 /etc/sudoers.d/90-usher
            sed -i /AuthorizedKeysFile/d /etc/ssh/sshd_config.d/00-usher.conf
            rm -r /home/bob");
        settle(&mut host, &want);
        assert_eq!(sh("getent shadow alice | cut -d: -f2,8"), "*:");
        assert_eq!(sh("getent passwd alice"), "alice:x:60001:63001:User 0:/home/alice:/bin/bash");
        assert_eq!(sh("id -nG bob"), "bob developers usher-managed");
        assert_eq!(sh("ls -A /etc/ssh/usher/principals"), "alice\nbob");
        assert_eq!(sh("wc -l < /etc/ssh/usher/principals/alice"), "1");
        assert_eq!(fs::read_to_string("/etc/ssh/usher/user_ca.pub").unwrap(), ca);
        assert_eq!(sh("stat -c %a /etc/sudoers.d/90-usher"), "440");
        assert!(effective("alice").contains("authorizedkeysfile none"));
        assert_eq!(sh("stat -c %U /home/bob"), "bob");
        settled(&mut host, &want);
    });
}
