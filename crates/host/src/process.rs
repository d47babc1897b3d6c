//! Processes as `/proc` shows them. Signals are sent elsewhere.

use std::fs;

/// A process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) real_uid: u32,
    /// Who logged in to start it, as the kernel's audit recorded.
    pub(crate) login_uid: Option<u32>,
    /// Dead already, only not collected by its parent.
    pub(crate) is_zombie: bool,
}

/// The kernel's word for "no login".
const NO_LOGIN: u32 = u32::MAX;

/// Every process id.
pub(crate) fn ids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Every process that could be read; some end while we look.
pub(crate) fn all() -> impl Iterator<Item = Process> {
    ids().into_iter().filter_map(read)
}

/// One process.
pub(crate) fn read(pid: i32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let login_uid =
        fs::read_to_string(format!("/proc/{pid}/loginuid")).ok().and_then(|text| text.trim().parse().ok());
    Some(Process {
        pid,
        parent: field("PPid:")?.parse().ok()?,
        real_uid: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
        login_uid: login_uid.filter(|uid| *uid != NO_LOGIN),
        is_zombie: field("State:").is_some_and(|state| state.starts_with(['Z', 'X'])),
    })
}

/// The command line, or the title that a program gave itself.
pub(crate) fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// Whether a process runs sshd, by its executable, which it cannot change; not one in a container.
pub(crate) fn is_sshd(pid: i32) -> bool {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    if namespace(&pid.to_string()) != namespace("self") {
        return false;
    }
    let executable = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = executable.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    // A package upgrade leaves the old one running.
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    matches!(name, "sshd" | "sshd-session" | "sshd-auth")
}
