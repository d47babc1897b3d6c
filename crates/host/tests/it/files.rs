//! Threat: a local user, or a mistake, puts something else where our files are.

use std::fs;

use usher_testkit::namespace::{inside, sh};

use crate::world::{document, host, settle, settled, start_sshd, target};

#[test]
fn principals_files_become_ours_again_whatever_they_were_made() {
    inside(|| {
        start_sshd();
        let mut host = host();
        let want = target(&document(&["alice"]));
        settle(&mut host, &want);
        let path = "/etc/ssh/usher/principals/alice";
        let good = fs::read_to_string(path).unwrap();
        let shadow = sh("stat -c '%i %u %g %a %Y' /etc/shadow; md5sum /etc/shadow");
        for tamper in [
            "chown alice F",
            "chmod 666 F",
            "chmod 600 F",
            "rm F; ln -s /etc/shadow F",
            "rm F; mkfifo F",
            "ln F /etc/ssh/second-name",
            "printf 'alice@x\\r\\n' > F",
            "chown alice /etc/ssh/usher/principals",
            "chmod 777 /etc/ssh/usher/principals",
            "chmod 700 /etc/ssh/usher/principals",
        ] {
            sh(&tamper.replace('F', path));
            settle(&mut host, &want);
            assert_eq!(
                sh(&format!("stat -c '%u %g %a %F' {path} $(dirname {path})")),
                "0 0 644 regular file\n0 0 755 directory",
                "{tamper}"
            );
            assert_eq!(fs::read_to_string(path).unwrap(), good, "{tamper}");
            settled(&mut host, &want);
        }
        assert_eq!(sh("stat -c '%i %u %g %a %Y' /etc/shadow; md5sum /etc/shadow"), shadow);
    });
}

#[test]
fn a_record_that_cannot_be_read_stops_everything() {
    inside(|| {
        start_sshd();
        let want = target(&document(&["alice"]));
        settle(&mut host(), &want);
        let record = "/var/lib/usher-agent/root/ownership.json";
        for tamper in ["echo '{' > F", "chmod 666 F", "rm F; ln -s /etc/passwd F"] {
            sh(&format!("cp -a {record} /tmp/record; {}", tamper.replace('F', record)));
            let before = crate::world::security_files();
            let outcome = usher_account_lifecycle::reconcile(
                &mut host(),
                &target(&document(&[])),
                &crate::world::limits(),
            );
            assert!(outcome.is_err(), "{tamper}");
            assert_eq!(crate::world::security_files(), before, "{tamper}");
            sh(&format!("rm {record}; cp -a /tmp/record {record}"));
        }
    });
}
