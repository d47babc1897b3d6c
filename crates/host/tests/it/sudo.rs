//! Threat: a sudo rule that gives more, or to others, than the model says.

use usher_account_lifecycle::{ConflictKind, Limits, Step, desired::Sudo, reconcile};
use usher_host::{Checkpoint, HostError, Stage};

use usher_testkit::namespace::{inside, sh, try_sh};

use crate::world::{document, host, limits, run_as, settle, settled, start_sshd, target};

#[test]
fn a_fault_at_any_stage_leaves_sudo_as_it_was() {
    inside(|| {
        start_sshd();
        let rights = || (sh("sudo -l -U root"), try_sh("sudo -l -U nobody").1, sh("ls -A /etc/sudoers.d"));
        let before = rights();
        for stage in [Stage::SudoersPlaced, Stage::SudoersProved] {
            let hook =
                move |reached| if reached == stage { Err(HostError::Stopped(reached)) } else { Ok(()) };
            let mut faulty = host().with_checkpoint(Checkpoint::new(hook));
            let outcome = reconcile(&mut faulty, &target(&document(&["alice"])), &limits()).unwrap();
            assert!(matches!(
                outcome.failed.as_slice(),
                [(Step::WriteSudoers { .. }, HostError::TakenBack(_))]
            ));
            drop(faulty);
            assert_eq!(rights(), before, "{stage:?}");
            assert!(!run_as("alice", "sudo -n id").0);
        }
        settle(&mut host(), &target(&document(&["alice"])));
        assert!(run_as("alice", "sudo -n id").0);
    });
}

#[test]
fn sudo_that_does_not_read_drop_ins_is_noticed() {
    inside(|| {
        start_sshd();
        sh("sed -i '/includedir/d' /etc/sudoers");
        let outcome = reconcile(&mut host(), &target(&document(&["alice"])), &limits()).unwrap();
        let [(_, error)] = outcome.failed.as_slice() else { panic!("{:?}", outcome.failed) };
        assert!(error.to_string().contains("does not grant `alice`"), "{error}");
        assert!(!try_sh("test -e /etc/sudoers.d/90-usher").0);
    });
}

#[test]
fn the_host_s_owner_can_forbid_sudo() {
    inside(|| {
        start_sshd();
        let want = target(&document(&["alice"]));
        settle(&mut host(), &want);
        assert!(run_as("alice", "sudo -n id").0);
        let forbidden = Limits { sudo: Sudo::None, ..limits() };
        let outcome = reconcile(&mut host(), &want, &forbidden).unwrap();
        assert!(outcome.is_complete(), "{:?}", outcome.failed);
        assert!(!run_as("alice", "sudo -n id").0);
        assert!(!try_sh("test -e /etc/sudoers.d/90-usher").0);
        assert_eq!(sh("id -nG alice"), "alice usher-managed");
    });
}

#[test]
fn losing_sudo_ends_the_sessions_that_had_it() {
    inside(|| {
        start_sshd();
        let mut host = host();
        settle(&mut host, &target(&document(&["alice"])));
        sh("setpriv --reuid 60001 --regid 63001 --init-groups sleep 1000 </dev/null >/dev/null 2>&1 &");
        usher_testkit::namespace::wait_until("it runs", || try_sh("pgrep -u 60001").0);
        let mut next = document(&["alice"]);
        next.users.values_mut().for_each(|user| user.admin = false);
        settle(&mut host, &target(&next));
        assert!(!try_sh("pgrep -u 60001").0);
        assert!(!run_as("alice", "sudo -n id").0);
        settled(&mut host, &target(&next));
    });
}

#[test]
fn without_sudo_there_is_a_conflict_and_accounts_all_the_same() {
    inside(|| {
        start_sshd();
        sh("rm /usr/bin/sudo");
        let outcome = reconcile(&mut host(), &target(&document(&["alice"])), &limits()).unwrap();
        assert!(outcome.is_complete(), "{:?}", outcome.failed);
        assert_eq!(outcome.plan.conflicts[0].kind, ConflictKind::Sudoers);
        sh("getent passwd alice");
    });
}
