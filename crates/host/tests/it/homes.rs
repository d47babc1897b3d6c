//! Threat: symbolic links in the way of a root process that makes and closes homes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use usher_account_lifecycle::{Host as _, Step};

use usher_testkit::namespace::{inside, sh};

use crate::world::host;

/// Rounds of the host and swaps of the racer, at least. Which of the two gets more of a busy machine is not ours to
/// say, so the run ends when both have had theirs.
const ROUNDS: usize = 3000;

#[test]
fn a_racer_never_makes_another_inode_change_its_owner() {
    inside(|| {
        sh("mkdir -p /srv/victim/sub; echo secret > /srv/victim/sub/file; chmod -R 750 /srv/victim");
        let victims = [
            "/etc",
            "/etc/shadow",
            "/srv/victim",
            "/srv/victim/sub",
            "/srv/victim/sub/file",
            "/root",
            "/home",
        ];
        let facts = move || {
            victims.map(|path| {
                let metadata = fs::metadata(path).unwrap();
                (path, metadata.uid(), metadata.gid(), metadata.mode())
            })
        };
        let before = facts();
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let racer = {
            let (stop, swaps) = (Arc::clone(&stop), Arc::clone(&swaps));
            std::thread::spawn(move || {
                let home = "/home/alice";
                while !stop.load(Ordering::Relaxed) {
                    // Root's own hands, so stronger than any local user: every kind of thing at every moment.
                    for victim in ["/srv/victim", "/etc", "/root"] {
                        let _ = fs::rename(home, "/home/moved");
                        let _ = symlink(victim, home);
                        let _ = fs::remove_file(home);
                        let _ = fs::rename("/home/moved", home);
                        let _ = fs::remove_dir_all("/home/moved");
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let mut host = host();
        let account: usher_account_lifecycle::account::UnixName = "alice".parse().unwrap();
        let mut outcomes = [0, 0];
        while outcomes[0] + outcomes[1] < ROUNDS || outcomes[1] == 0 || swaps.load(Ordering::Relaxed) < ROUNDS
        {
            let create = Step::CreateHome { account: account.clone(), uid: 60_001, gid: 63_001 };
            outcomes[usize::from(host.apply(&create).is_ok())] += 1;
            if let Ok(metadata) = fs::symlink_metadata("/home/alice") {
                let inode = metadata.ino();
                let _ = host.apply(&Step::RetireHome { account: account.clone(), uid: 60_001, inode });
                let _ = host.apply(&Step::RestoreHome {
                    account: account.clone(),
                    uid: 60_001,
                    gid: 63_001,
                    inode,
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        racer.join().unwrap();
        assert_eq!(
            facts(),
            before,
            "after {} swaps and {outcomes:?} (refused, made)",
            swaps.load(Ordering::Relaxed)
        );
    });
}

#[test]
fn the_skeleton_is_copied_without_following_links() {
    inside(|| {
        sh(
            "set -e; ln -s /etc/shadow /etc/skel/link; mkdir -p /etc/skel/a/b; echo x > /etc/skel/a/b/c; chmod 4777 /etc/skel/a/b/c; mkfifo /etc/skel/pipe",
        );
        let shadow = sh("stat -c '%u %g %a' /etc/shadow");
        let create = Step::CreateHome { account: "alice".parse().unwrap(), uid: 60_001, gid: 63_001 };
        host().apply(&create).unwrap();
        assert_eq!(
            sh("cd /home/alice; stat -c '%n %u %g %a %F' link a a/b/c"),
            "link 60001 63001 777 symbolic link\na 60001 63001 755 directory\na/b/c 60001 63001 755 regular file"
        );
        assert_eq!(sh("readlink /home/alice/link; ls /home/alice"), "/etc/shadow\na\nlink");
        assert_eq!(sh("stat -c '%u %g %a' /etc/shadow"), shadow);
    });
}

#[test]
fn a_home_base_that_others_may_write_to_is_not_used() {
    inside(|| {
        let create = Step::CreateHome { account: "alice".parse().unwrap(), uid: 60_001, gid: 63_001 };
        sh("chmod 1777 /home");
        assert!(host().apply(&create).is_err());
        sh("chmod 755 /home; mkdir /real; rmdir /home; ln -s /real /home");
        assert!(host().apply(&create).is_err());
        assert_eq!(sh("ls -A /real"), "");
    });
}
