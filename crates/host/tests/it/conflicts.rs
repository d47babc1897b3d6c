//! Threat: taking over what somebody else made.

use usher_account_lifecycle::reconcile;

use usher_testkit::namespace::{inside, sh};

use crate::world::{document, host, limits, security_files, start_sshd, target};

#[test]
fn twenty_accounts_in_the_way_stay_byte_identical() {
    inside(|| {
        start_sshd();
        let names: Vec<String> = (0..20).map(|n| format!("user{n}")).collect();
        for (n, name) in names.iter().enumerate() {
            // By name, by UID, by GID, by group name and by home, four of each.
            sh(&match n % 5 {
                0 => format!("useradd -M -u {} {name}", 3000 + n),
                1 => format!("useradd -M -u {} other{n}", 60_001 + n),
                2 => format!("groupadd -g {} other{n}", 63_001 + n),
                3 => format!("groupadd -g {} {name}", 4000 + n),
                _ if n % 2 == 0 => format!("ln -s /root /home/{name}"),
                _ => format!("mkdir /home/{name}; chown 1234 /home/{name}; chmod 777 /home/{name}"),
            });
        }
        let homes = || sh("ls -lAn /home; stat -c '%n %u %g %a %i' /home/* /root");
        let (before, homes_before) = (security_files(), homes());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut host = host();
        let outcome = reconcile(&mut host, &target(&document(&names)), &limits()).unwrap();
        assert!(outcome.is_complete(), "{:?}", outcome.failed);
        assert_eq!(outcome.plan.conflicts.len(), 20, "{:#?}", outcome.plan.conflicts);
        let after = security_files();
        for file in ["passwd", "shadow", "sudoers", "ssh/sshd_config", "subuid"] {
            assert_eq!(after.get(file), before.get(file), "{file}");
        }
        assert_eq!(homes(), homes_before);
        // Our own two groups are all that was made.
        assert_eq!(sh("grep -c ^usher- /etc/group"), "2");
        assert_eq!(sh("ls -A /etc/ssh/usher/principals 2>/dev/null; ls /etc/ssh/sshd_config.d"), "");
    });
}

#[test]
fn files_in_our_places_are_left_alone() {
    inside(|| {
        start_sshd();
        sh("set -e
            echo '# theirs' > /etc/sudoers.d/90-usher; chmod 440 /etc/sudoers.d/90-usher
            mkdir -p /etc/ssh/usher; ln -s /etc/shadow /etc/ssh/usher/user_ca.pub
            echo '# theirs' > /etc/ssh/sshd_config.d/00-usher.conf");
        let before = (security_files(), sh("ls -lR /etc/ssh/usher"));
        let mut host = host();
        let outcome = reconcile(&mut host, &target(&document(&["alice"])), &limits()).unwrap();
        assert_eq!(outcome.plan.steps, []);
        let places: Vec<&str> =
            outcome.plan.conflicts.iter().map(|conflict| conflict.name.as_str()).collect();
        assert_eq!(
            places,
            ["/etc/ssh/sshd_config.d/00-usher.conf", "/etc/ssh/usher/user_ca.pub", "/etc/sudoers.d/90-usher"]
        );
        assert_eq!((security_files(), sh("ls -lR /etc/ssh/usher")), before);
    });
}

#[test]
fn an_agent_that_lost_its_record_takes_nothing_over() {
    inside(|| {
        start_sshd();
        let want = target(&document(&["alice"]));
        {
            let mut host = host();
            crate::world::settle(&mut host, &want);
        }
        sh("rm -r /var/lib/usher-agent/root");
        let before = security_files();
        let outcome = reconcile(&mut host(), &want, &limits()).unwrap();
        assert_eq!(outcome.plan.steps, []);
        assert!(!outcome.plan.conflicts.is_empty());
        assert_eq!(security_files(), before);
    });
}

#[test]
fn only_one_agent_works_at_a_time() {
    inside(|| {
        let _first = host();
        let second = usher_host::LinuxHost::open("/var/lib/usher-agent/root", &[], || {
            usher_types::UnixTime::from_secs(0)
        });
        assert!(matches!(second, Err(usher_host::HostError::Busy(_))));
    });
}
