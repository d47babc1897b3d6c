//! Threat: a change of sshd's configuration locks everybody out.

use usher_account_lifecycle::{ConflictKind, Step, reconcile};
use usher_host::{Checkpoint, HostError, Stage};

use usher_testkit::namespace::{inside, sh};

use crate::world::{document, effective, host, limits, settle, settled, sshd_greets, start_sshd, target};

fn drop_ins() -> String {
    sh("cd /etc/ssh/sshd_config.d; ls -A; cat * 2>/dev/null || true")
}

#[test]
fn a_fault_at_any_stage_leaves_sshd_as_it_was() {
    inside(|| {
        start_sshd();
        let (before, files) = (effective("root"), drop_ins());
        let stages = [
            Stage::SshdChecked,
            Stage::SshdPlaced,
            Stage::SshdProved,
            Stage::SshdReloaded,
            Stage::SshdAnswered,
        ];
        for stage in stages {
            let hook =
                move |reached| if reached == stage { Err(HostError::Stopped(reached)) } else { Ok(()) };
            let mut faulty = host().with_checkpoint(Checkpoint::new(hook));
            let outcome = reconcile(&mut faulty, &target(&document(&["alice"])), &limits()).unwrap();
            assert!(
                matches!(outcome.failed.as_slice(), [(Step::WriteSshdDropIn { .. }, _)]),
                "{:?}",
                outcome.failed
            );
            assert_eq!((effective("root"), drop_ins()), (before.clone(), files.clone()), "{stage:?}");
            assert!(sshd_greets(), "{stage:?}");
            assert_eq!(
                sh("ls -A /etc/ssh/usher/principals 2>/dev/null || true"),
                "",
                "nobody is let in: {stage:?}"
            );
            drop(faulty);
        }
        let mut host = host();
        let want = target(&document(&["alice"]));
        settle(&mut host, &want);
        settled(&mut host, &want);
    });
}

#[test]
fn what_was_seen_to_run_is_restored_when_a_repair_fails() {
    inside(|| {
        start_sshd();
        let want = target(&document(&["alice"]));
        settle(&mut host(), &want);
        let good = drop_ins();
        sh(
            "sed -i 's/PasswordAuthentication no/PasswordAuthentication yes/' /etc/ssh/sshd_config.d/00-usher.conf",
        );
        let hook =
            |reached| if reached == Stage::SshdProved { Err(HostError::Stopped(reached)) } else { Ok(()) };
        let mut faulty = host().with_checkpoint(Checkpoint::new(hook));
        let outcome = reconcile(&mut faulty, &want, &limits()).unwrap();
        assert_eq!(outcome.failed.len(), 1);
        drop(faulty);
        assert_eq!(drop_ins(), "", "a file that was changed is not put back");
        assert_eq!(sh("getent shadow alice | cut -d: -f2,8"), "!*:1", "and nobody gets in by another way");
        settle(&mut host(), &want);
        assert_eq!(drop_ins(), good);
        assert_eq!(sh("getent shadow alice | cut -d: -f2,8"), "*:");
    });
}

#[test]
fn a_configuration_that_was_broken_before_is_not_touched() {
    inside(|| {
        start_sshd();
        sh("echo 'NoSuchKeyword yes' > /etc/ssh/sshd_config.d/10-broken.conf");
        let files = drop_ins();
        let outcome = reconcile(&mut host(), &target(&document(&["alice"])), &limits()).unwrap();
        assert!(matches!(
            outcome.failed.as_slice(),
            [(Step::WriteSshdDropIn { .. }, HostError::Tool { .. })]
        ));
        assert_eq!(drop_ins(), files);
        assert!(sshd_greets());
        sh("rm /etc/ssh/sshd_config.d/10-broken.conf");
        settle(&mut host(), &target(&document(&["alice"])));
    });
}

#[test]
fn an_include_behind_a_match_is_a_conflict() {
    inside(|| {
        start_sshd();
        for main in ["Match User nobody\\nInclude /etc/ssh/sshd_config.d/*.conf\\n", "UsePAM yes\\n"] {
            sh(&format!("printf '{main}' > /etc/ssh/sshd_config"));
            let outcome = reconcile(&mut host(), &target(&document(&["alice"])), &limits()).unwrap();
            assert_eq!(outcome.plan.steps, []);
            assert_eq!(outcome.plan.conflicts[0].kind, ConflictKind::Sshd);
            assert_eq!(drop_ins(), "");
        }
    });
}

#[test]
fn an_owner_s_own_match_block_that_would_weaken_ours_is_noticed() {
    inside(|| {
        start_sshd();
        // Sorts before ours and matches our users: among Match blocks the first value wins.
        sh(
            "printf 'Match Group usher-managed\\n    AuthorizedKeysFile .ssh/authorized_keys\\n' > /etc/ssh/sshd_config.d/00-first.conf",
        );
        let files = drop_ins();
        let outcome = reconcile(&mut host(), &target(&document(&["alice"])), &limits()).unwrap();
        let [(_, error)] = outcome.failed.as_slice() else { panic!("{:?}", outcome.failed) };
        assert!(error.to_string().contains("authorizedkeysfile none"), "{error}");
        assert_eq!(drop_ins(), files);
        assert_eq!(sh("ls -A /etc/ssh/usher/principals 2>/dev/null || true"), "");
    });
}

#[test]
fn a_break_glass_account_that_would_be_matched_stops_the_change() {
    inside(|| {
        start_sshd();
        sh("useradd -M -u 1500 ops");
        let unmanaged = ["root".to_owned(), "ops".to_owned()];
        let now = || usher_types::UnixTime::from_secs(0);
        let mut host = usher_host::LinuxHost::open("/var/lib/usher-agent/root", &unmanaged, now).unwrap();
        let before = effective("ops");
        // Somebody puts it into our group by its primary group, where no member list shows it.
        let want = target(&document(&["alice"]));
        let mut steps = usher_account_lifecycle::plan(
            &want,
            &usher_account_lifecycle::Host::observe(
                &host,
                &usher_account_lifecycle::Interest::new(&want, &Default::default()),
            )
            .unwrap(),
            &Default::default(),
            &limits(),
        )
        .steps;
        let drop_in = steps.iter().position(|step| matches!(step, Step::WriteSshdDropIn { .. })).unwrap();
        let drop_in = steps.remove(drop_in);
        for step in steps.iter().take_while(|step| !matches!(step, Step::WritePrincipals { .. })) {
            usher_account_lifecycle::Host::apply(&mut host, step).unwrap();
        }
        sh("usermod -g usher-managed ops");
        let error = usher_account_lifecycle::Host::apply(&mut host, &drop_in).unwrap_err();
        assert!(error.to_string().contains("`ops`"), "{error}");
        assert_eq!(effective("ops"), before);
        assert_eq!(drop_ins(), "");
    });
}

#[test]
fn a_stopped_sshd_reads_the_drop_in_when_it_starts() {
    inside(|| {
        settle(&mut host(), &target(&document(&["alice"])));
        start_sshd();
        assert!(effective("alice").contains("authorizedkeysfile none"));
    });
}
