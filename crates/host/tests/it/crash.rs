//! Threat: power is lost between any two steps, and inside the long ones. The next pass converges, and whoever could get in
//! before still can.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use usher_account_lifecycle::{Desired, Host, Interest, Observed, Ownership, Step, reconcile};
use usher_host::{Checkpoint, HostError, LinuxHost, Stage};

use usher_testkit::namespace::{inside, sh};

use crate::world::{
    bastion, document, effective, host, limits, settle, settled, sshd_greets, start_sshd, target, with_group,
};

/// Unwinding from here is losing power: nothing of the step's own clean-up runs.
struct PowerLost;

/// Loses power before the n-th step.
struct Fragile {
    host: LinuxHost,
    left: usize,
}

impl Host for Fragile {
    type Error = HostError;

    fn ownership(&self) -> Result<Ownership, HostError> {
        self.host.ownership()
    }

    fn observe(&self, interest: &Interest) -> Result<Observed, HostError> {
        self.host.observe(interest)
    }

    fn apply(&mut self, step: &Step) -> Result<(), HostError> {
        if self.left == 0 {
            panic_any(PowerLost);
        }
        self.left -= 1;
        self.host.apply(step)
    }
}

/// Puts everything back as it was before the first pass.
struct Fresh;

impl Fresh {
    fn save() -> Self {
        sh("mkdir /tmp/saved; cd /etc; cp -a passwd shadow group gshadow subuid subgid /tmp/saved");
        Self
    }

    fn restore(&self) {
        sh("set -e
            cp -a /tmp/saved/* /etc; rm -rf /home/* /home/.usher-agent /etc/ssh/usher /var/lib/usher-agent/root
            rm -f /etc/ssh/sshd_config.d/* /etc/ssh/sshd_config.d/.usher* /etc/sudoers.d/90-usher /etc/sudoers.d/.usher*
            kill -HUP $(cat /run/sshd.pid)");
        usher_testkit::namespace::wait_until("sshd greets", sshd_greets);
    }
}

/// Loses power by `fail`; whether it was lost before the pass was done.
fn interrupted(fail: impl FnOnce()) -> bool {
    // The test would otherwise print a backtrace for every power cut.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(fail));
    std::panic::set_hook(hook);
    match outcome {
        Ok(()) => false,
        Err(cause) if cause.is::<PowerLost>() => true,
        Err(cause) => std::panic::resume_unwind(cause),
    }
}

#[track_caller]
fn converges(want: &Desired, root_before: &str, what: &str) {
    assert_eq!(effective("root"), root_before, "{what}: root gets in as before");
    sh("visudo -c; sshd -t");
    assert!(sshd_greets(), "{what}: sshd answers");
    let mut host = host();
    settle(&mut host, want);
    settled(&mut host, want);
    assert_eq!(effective("root"), root_before, "{what}");
    sh("grpck -r; pwck -rq || [ $? = 2 ]");
}

fn first() -> Desired {
    target(&with_group(document(&["alice", "bob"]), &["alice"]))
}

#[test]
fn power_lost_before_any_step_of_the_first_pass_heals() {
    inside(|| {
        start_sshd();
        let (fresh, root_before) = (Fresh::save(), effective("root"));
        let mut cut = 0;
        while interrupted(|| drop(reconcile(&mut Fragile { host: host(), left: cut }, &first(), &limits()))) {
            converges(&first(), &root_before, &format!("cut at {cut}"));
            fresh.restore();
            cut += 1;
        }
        assert!(cut > 12, "only {cut} steps");
    });
}

#[test]
fn power_lost_before_any_step_of_a_change_heals() {
    inside(|| {
        start_sshd();
        let (fresh, root_before) = (Fresh::save(), effective("root"));
        // Alice leaves, carol comes, bob changes groups, the target becomes a bastion.
        let mut next = document(&["alice", "bob", "carol"]);
        next.users.remove(&"alice".parse().unwrap());
        let next = bastion(&with_group(next, &["bob"]));
        let mut cut = 0;
        loop {
            settle(&mut host(), &first());
            if !interrupted(|| drop(reconcile(&mut Fragile { host: host(), left: cut }, &next, &limits()))) {
                break;
            }
            converges(&next, &root_before, &format!("cut at {cut}"));
            fresh.restore();
            cut += 1;
        }
        assert!(cut > 12, "only {cut} steps");
    });
}

#[test]
fn power_lost_inside_a_step_heals() {
    inside(|| {
        start_sshd();
        let (fresh, root_before) = (Fresh::save(), effective("root"));
        for stage in Stage::ALL {
            let fragile = host().with_checkpoint(Checkpoint::new(move |reached| {
                if reached == stage {
                    panic_any(PowerLost);
                }
                Ok(())
            }));
            let mut fragile = fragile;
            assert!(
                interrupted(|| drop(reconcile(&mut fragile, &first(), &limits()))),
                "{stage:?} was never reached"
            );
            drop(fragile);
            converges(&first(), &root_before, &format!("cut at {stage:?}"));
            fresh.restore();
        }
    });
}
