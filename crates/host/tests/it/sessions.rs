//! Threat: a leaver stays. Everything planted here is gone after one pass.

use usher_account_lifecycle::{Host as _, Step};

use usher_testkit::namespace::{inside, sh, try_sh, wait_until};

use crate::world::{document, host, settle, start_sshd, target};

/// Those that still run; a killed one that nobody has collected yet is none.
fn processes_of(uid: u32) -> usize {
    let running = "xargs -r grep -Ls '^State:.Z'";
    sh(&format!("grep -ls '^Uid:.{uid}' /proc/[0-9]*/status | {running} | wc -l")).parse().unwrap()
}

#[test]
fn everything_that_a_leaver_planted_is_dead_after_one_pass() {
    inside(|| {
        start_sshd();
        let mut host = host();
        settle(&mut host, &target(&document(&["alice", "bob"])));
        sh("set -e
            as() { setpriv --reuid 60001 --regid 63001 --init-groups \"$@\" </dev/null >/dev/null 2>&1 & }
            as sleep 1000
            as setsid sleep 1001
            as nohup sleep 1002
            as sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1003; done'
            as sh -c 'f() { sleep 0.01; f & f & }; i=0; while [ $i -lt 40 ]; do sleep 1004 & i=$((i+1)); done; wait'
            # A root shell that alice got by sudo: another uid, her login.
            sh -c 'echo 60001 > /proc/self/loginuid; exec sleep 1005' </dev/null >/dev/null 2>&1 &
            setpriv --reuid 60002 --regid 63002 --init-groups sleep 2000 </dev/null >/dev/null 2>&1 &
            mkdir -p /var/spool/cron/crontabs /var/spool/cron/atjobs /var/lib/systemd/linger
            echo '* * * * * id' > /var/spool/cron/crontabs/alice; touch /var/spool/cron/crontabs/bob
            touch /var/spool/cron/atjobs/a1 /var/spool/cron/atjobs/b1 /var/lib/systemd/linger/alice
            chown 60001 /var/spool/cron/crontabs/alice /var/spool/cron/atjobs/a1; chown 60002 /var/spool/cron/atjobs/b1
            mkdir /home/alice/.ssh; echo key > /home/alice/.ssh/authorized_keys; chown -R alice /home/alice/.ssh");
        wait_until("alice's processes run", || processes_of(60_001) > 40);
        wait_until("the root shell runs", || try_sh("pgrep -f '[s]leep 1005'").0);

        let mut next = document(&["alice", "bob"]);
        next.users.remove(&"alice".parse().unwrap());
        settle(&mut host, &target(&next));

        assert_eq!(processes_of(60_001), 0);
        assert!(!try_sh("pgrep -f '[s]leep 1005'").0, "the root shell of her login");
        assert_eq!(processes_of(60_002), 1, "bob's is untouched");
        assert_eq!(
            sh("ls /var/spool/cron/crontabs /var/spool/cron/atjobs /var/lib/systemd/linger"),
            "/var/lib/systemd/linger:\n\n/var/spool/cron/atjobs:\nb1\n\n/var/spool/cron/crontabs:\nbob"
        );
        assert!(!try_sh("getent passwd alice").0);
        assert_eq!(sh("stat -c '%u %a' /home/alice"), "0 700");
    });
}

/// Administrators put `/var/spool` on a disk of its own; a leaver's jobs there are found all the same.
#[test]
fn jobs_are_found_where_the_spool_directory_is_a_link() {
    inside(|| {
        start_sshd();
        sh("set -e; mkdir -p /srv/big; rm -rf /var/spool; mkdir -p /srv/big/spool/cron/crontabs
            ln -s /srv/big/spool /var/spool");
        let mut host = host();
        settle(&mut host, &target(&document(&["alice"])));
        sh(
            "echo '* * * * * id' > /var/spool/cron/crontabs/alice; chown 60001 /var/spool/cron/crontabs/alice",
        );
        settle(&mut host, &target(&document(&[])));
        assert_eq!(sh("ls /srv/big/spool/cron/crontabs"), "");
    });
}

/// Attack: a link on the way that another account could turn would let it choose which files root removes.
#[test]
fn a_spool_directory_in_other_hands_is_not_followed() {
    inside(|| {
        sh("set -e; useradd -m -u 1500 mallory; rm -rf /var/spool
            mkdir -p /home/mallory/spool/cron/crontabs; echo precious > /home/mallory/spool/cron/crontabs/alice
            chown -R mallory: /home/mallory; ln -s /home/mallory/spool /var/spool");
        let alice = "alice".parse().unwrap();
        let error = host().apply(&Step::RemoveJobs { account: alice, uid: 60_001 }).unwrap_err();
        assert!(error.to_string().contains("/home/mallory"), "{error}");
        assert_eq!(sh("cat /home/mallory/spool/cron/crontabs/alice"), "precious");
    });
}

#[test]
fn a_fork_loop_ends_too() {
    inside(|| {
        sh(
            "setpriv --reuid 60001 --regid 63001 --clear-groups sh -c 'while :; do (sleep 0.05) & sleep 0.002; done' </dev/null >/dev/null 2>&1 &",
        );
        wait_until("the loop runs", || processes_of(60_001) > 3);
        host().apply(&Step::EndSessions { account: "alice".parse().unwrap(), uid: 60_001 }).unwrap();
        assert_eq!(processes_of(60_001), 0);
    });
}

#[test]
fn sshd_survives_the_administrator_who_started_it() {
    inside(|| {
        sh("sh -c 'echo 60001 > /proc/self/loginuid; exec /usr/sbin/sshd -E /tmp/sshd.log'");
        wait_until("sshd greets", crate::world::sshd_greets);
        host().apply(&Step::EndSessions { account: "alice".parse().unwrap(), uid: 60_001 }).unwrap();
        assert!(crate::world::sshd_greets(), "it is everybody's way in");
    });
}
