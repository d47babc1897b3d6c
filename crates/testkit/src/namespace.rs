//! A private machine for one test: own mounts, processes, network and host name, and an overlay over `/`. The outer machine
//! is never touched. Needs root, overlayfs, OpenSSH's server and sudo; says what is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "for tests only: starts programs, and a machine that cannot be made is a failed test"
)]

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const INSIDE: &str = "USHER_TEST_INSIDE";

const TOOLS: [&str; 6] = [
    "/usr/bin/unshare",
    "/usr/bin/tini",
    "/usr/bin/sudo",
    "/usr/sbin/sshd",
    "/usr/sbin/useradd",
    "/usr/sbin/visudo",
];

/// Whether this process is inside a private machine, whose files may be changed.
#[must_use]
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs `body` in a private machine by starting the test's own program again inside. Call it first and alone in a `#[test]`.
///
/// # Panics
/// When the machine cannot be made, and when `body` does.
#[track_caller]
pub fn inside(body: fn()) {
    if is_inside() {
        set_up();
        body();
        return;
    }
    let is_root = fs::read_to_string("/proc/self/status").is_ok_and(|text| text.contains("\nUid:\t0\t0\t"));
    assert!(is_root, "this test needs root, because it makes namespaces: run it as root");
    for tool in TOOLS {
        assert!(Path::new(tool).exists(), "this test needs `{tool}`");
    }
    let name = std::thread::current().name().expect("libtest names its threads").to_owned();
    let status = Command::new("/usr/bin/unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--fork",
            "--kill-child",
        ])
        // As process 1 an init that collects orphans, as every real machine has.
        .args(["/usr/bin/tini", "--"])
        .arg(env::current_exe().expect("the test's own program"))
        .args(["--exact", &name, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .expect("unshare starts");
    assert!(status.success(), "{name} failed in its private machine: {status}");
}

/// Runs a shell script that must succeed, and gives back what it said.
///
/// # Panics
/// When it fails.
#[track_caller]
#[expect(clippy::must_use_candidate, reason = "most scripts are run for what they do")]
pub fn sh(script: &str) -> String {
    let (ok, text) = try_sh(script);
    assert!(ok, "`{script}` failed: {text}");
    text
}

/// Runs a shell script; whether it succeeded, and everything that it said.
///
/// # Panics
/// When there is no shell.
#[must_use]
pub fn try_sh(script: &str) -> (bool, String) {
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("sh starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

/// Waits until `condition` holds.
///
/// # Panics
/// After two minutes: test machines can be very busy.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

fn set_up() {
    // The overlay's upper layer lives on its own file system: invisible in the lower one, gone with the namespace.
    sh("set -e
        D=/tmp/usher-host-test; mkdir -p $D; mount -t tmpfs -o mode=755 tmpfs $D
        mkdir $D/upper $D/work $D/root
        mount -t overlay overlay -o lowerdir=/,upperdir=$D/upper,workdir=$D/work $D/root
        R=$D/root
        mount -t proc proc $R/proc
        mount -t tmpfs -o mode=755 tmpfs $R/dev
        for n in null zero full random urandom tty; do touch $R/dev/$n; mount --bind /dev/$n $R/dev/$n; done
        ln -s /proc/self/fd $R/dev/fd
        mkdir $R/dev/pts $R/dev/shm; mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $R/dev/pts
        ln -s pts/ptmx $R/dev/ptmx
        mount -t tmpfs -o mode=755 tmpfs $R/run
        mkdir -p $R/run/sshd $R/run/lock
        mount -t tmpfs -o mode=1777 tmpfs $R/tmp
        mkdir $R/tmp/old; cd $R; pivot_root . tmp/old");
    env::set_current_dir("/").expect("the new root");
    sh("set -e
        umount -l /tmp/old; rmdir /tmp/old
        hostname target; echo target > /etc/hostname; echo '127.0.0.1 localhost target' > /etc/hosts
        ip link set lo up
        rm -rf /home/* /var/lib/usher-agent /etc/usher; chown root:root /home; chmod 755 /home
        rm -f /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/*.conf
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
        printf 'Include /etc/ssh/sshd_config.d/*.conf\\nHostKey /etc/ssh/ssh_host_ed25519_key\\nUsePAM yes\\n' > /etc/ssh/sshd_config
        mkdir -p /var/lib/usher-agent /etc/sudoers.d
        echo skeleton > /etc/skel/.usher-test");
}
