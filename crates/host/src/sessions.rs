//! Ends everything that runs as an account or because of its logins, until a look finds nothing more.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal},
};

use crate::{
    HostError,
    clock::{Deadline, timespec},
    process::{self, Process},
};

/// A fork bomb was seen to need three passes; anything that needs this long is stuck in the kernel.
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills processes of `uid`, those that its logins started under another uid (a root shell by sudo), and the sshd monitors
/// of its sessions. Never process 1, never ourselves, never the sshd that listens.
pub(crate) fn end(account: &str, uid: u32) -> Result<(), HostError> {
    let deadline = Deadline::after(PATIENCE);
    let mut seen_empty = false;
    loop {
        let found: Vec<Process> = process::all().filter(|process| is_theirs(process, account, uid)).collect();
        if found.is_empty() {
            // A look takes a while, and something may have forked behind it: one more.
            if seen_empty {
                return Ok(());
            }
            seen_empty = true;
            continue;
        }
        seen_empty = false;
        deadline.left().ok_or_else(|| {
            let pids: Vec<String> = found.iter().take(5).map(|process| process.pid.to_string()).collect();
            HostError::Changed(format!("processes of `{account}` do not end: {}", pids.join(", ")))
        })?;
        let killed: Vec<OwnedFd> =
            found.iter().filter_map(|process| kill(process.pid, account, uid)).collect();
        await_end(&killed);
    }
}

/// The descriptor holds the process before it is looked at again, so a reused id cannot be hit.
fn kill(pid: i32, account: &str, uid: u32) -> Option<OwnedFd> {
    let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let still_theirs = process::read(pid).is_some_and(|process| is_theirs(&process, account, uid));
    if still_theirs && pidfd_send_signal(&handle, Signal::KILL).is_ok() { Some(handle) } else { None }
}

fn await_end(handles: &[OwnedFd]) {
    for handle in handles {
        let mut watched = [PollFd::new(handle, PollFlags::IN)];
        let _ = poll(&mut watched, Some(&timespec(Duration::from_millis(200))));
    }
}

fn is_theirs(process: &Process, account: &str, uid: u32) -> bool {
    let own = getpid().as_raw_nonzero().get();
    if process.is_zombie || process.pid == 1 || process.pid == own {
        return false;
    }
    if process.real_uid == uid {
        return true;
    }
    // An administrator who started us by hand gave us and our children that login id.
    if process.login_uid == Some(uid) && process.parent != own {
        // An administrator who restarted sshd by hand left it with their login id; it is everybody's way in.
        return !(process.real_uid == 0 && process::is_sshd(process.pid) && is_listener(process.pid));
    }
    process.real_uid == 0
        && process::is_sshd(process.pid)
        && is_monitor(&process::title(process.pid), account)
}

/// Whether an sshd's title says that it listens.
pub(crate) fn is_listener(pid: i32) -> bool {
    let title = process::title(pid);
    title.contains("[listener]") || !title.starts_with("sshd")
}

/// `sshd: alice [priv]` and `sshd-session: alice@pts/0`. sshd writes the title; the name in it has been authenticated.
fn is_monitor(title: &str, account: &str) -> bool {
    let rest = title.strip_prefix("sshd: ").or_else(|| title.strip_prefix("sshd-session: "));
    let after = rest.and_then(|rest| rest.strip_prefix(account));
    after.is_some_and(|after| after == " [priv]" || after.starts_with('@'))
}

#[cfg(test)]
mod tests {
    use super::is_monitor;

    #[test]
    fn monitors_are_told_by_the_whole_name() {
        for title in
            ["sshd: alice [priv]", "sshd-session: alice [priv]", "sshd: alice@pts/0", "sshd: alice@notty"]
        {
            assert!(is_monitor(title, "alice"), "{title}");
        }
        let others = [
            "sshd: alice2 [priv]",
            "sshd: al [priv]",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
        ];
        for title in
            others.into_iter().chain(["sshd: alice [net]", "sshd: unknown [priv]", "bash: alice [priv]"])
        {
            assert!(!is_monitor(title, "alice"), "{title}");
        }
    }
}
