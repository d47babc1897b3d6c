//! Starts the system's own tools: a closed list, absolute paths, no environment, no shell, a timeout, bounded output.

use std::{
    ffi::OsStr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
};

use crate::{
    HostError,
    clock::{Deadline, timespec},
};

/// Output beyond this is read and dropped.
const MAX_OUTPUT: usize = 4 << 20;

/// Every program that may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Gpasswd,
    Groupadd,
    Groupdel,
    Ssh,
    Sshd,
    Sudo,
    Systemctl,
    Useradd,
    Userdel,
    Usermod,
    Visudo,
}

impl Tool {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gpasswd => "gpasswd",
            Self::Groupadd => "groupadd",
            Self::Groupdel => "groupdel",
            Self::Ssh => "ssh",
            Self::Sshd => "sshd",
            Self::Sudo => "sudo",
            Self::Systemctl => "systemctl",
            Self::Useradd => "useradd",
            Self::Userdel => "userdel",
            Self::Usermod => "usermod",
            Self::Visudo => "visudo",
        }
    }

    /// Where it is, in directories that only root writes.
    pub(crate) fn path(self) -> Option<PathBuf> {
        let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        places.iter().map(|place| Path::new(place).join(self.name())).find(|path| path.is_file())
    }
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// An error unless the program succeeded.
    pub(crate) fn checked(self, tool: Tool) -> Result<Self, HostError> {
        if self.success {
            Ok(self)
        } else {
            Err(HostError::Tool { tool: tool.name(), message: self.complaint() })
        }
    }

    /// The last thing that it said.
    pub(crate) fn complaint(&self) -> String {
        let said = |text: &str| text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(shorten);
        let silent =
            || self.code.map_or_else(|| "ended by a signal".to_owned(), |code| format!("exit status {code}"));
        said(&self.stderr).or_else(|| said(&self.stdout)).unwrap_or_else(silent)
    }
}

fn shorten(line: &str) -> String {
    line.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Runs a tool to its end, or ends it.
pub(crate) fn run<S: AsRef<OsStr>>(
    tool: Tool,
    arguments: &[S],
    timeout: Duration,
) -> Result<Output, HostError> {
    let path = tool.path().ok_or_else(|| HostError::ToolMissing(tool.name()))?;
    let mut child = command(&path)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(HostError::io(format!("start `{}`", tool.name())))?;
    let outcome = collect(tool, &mut child, Deadline::after(timeout));
    if outcome.is_err() {
        // Already gone is as good as killed; waiting keeps it from staying a zombie.
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome
}

/// A command with nothing inherited but what every tool needs.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where a program is started: absolute path, cleared environment"
)]
pub(crate) fn command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/");
    command
}

fn collect(tool: Tool, child: &mut Child, deadline: Deadline) -> Result<Output, HostError> {
    let action = || HostError::io(format!("read the output of `{}`", tool.name()));
    let (Some(mut stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(HostError::Timeout(tool.name()));
    };
    for pipe in [stdout.as_fd(), stderr.as_fd()] {
        let flags = fcntl_getfl(pipe).map_err(HostError::sys("read a pipe's flags"))?;
        fcntl_setfl(pipe, flags | OFlags::NONBLOCK).map_err(HostError::sys("set a pipe's flags"))?;
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        let left = deadline.left().ok_or_else(|| HostError::Timeout(tool.name()))?;
        // A tool that left something running in the background keeps the pipes open: its own end is what counts.
        let ended = child.try_wait().map_err(action())?.is_some();
        let wait = if ended { Duration::ZERO } else { left.min(Duration::from_millis(50)) };
        let mut watched = Vec::new();
        watched.extend(out_open.then(|| PollFd::new(&stdout, PollFlags::IN)));
        watched.extend(err_open.then(|| PollFd::new(&stderr, PollFlags::IN)));
        let ready = poll(&mut watched, Some(&timespec(wait))).unwrap_or_default();
        drop(watched);
        if ready == 0 {
            if ended {
                break;
            }
            continue;
        }
        out_open = out_open && drain(&mut stdout, &mut out).map_err(action())?;
        err_open = err_open && drain(&mut stderr, &mut err).map_err(action())?;
    }
    let status = wait(tool, child, deadline)?;
    Ok(Output {
        success: status.success(),
        code: status.code(),
        stdout: String::from_utf8_lossy(&out).into_owned(),
        stderr: String::from_utf8_lossy(&err).into_owned(),
    })
}

fn wait(tool: Tool, child: &mut Child, deadline: Deadline) -> Result<std::process::ExitStatus, HostError> {
    loop {
        if let Some(status) = child.try_wait().map_err(HostError::io("wait for a program"))? {
            return Ok(status);
        }
        deadline.left().ok_or_else(|| HostError::Timeout(tool.name()))?;
        crate::clock::pause(Duration::from_millis(5));
    }
}

/// Reads what is there; false at the end.
fn drain(pipe: &mut impl std::io::Read, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut buffer = [0_u8; 8192];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                let room = MAX_OUTPUT.saturating_sub(into.len()).min(count);
                into.extend_from_slice(buffer.get(..room).unwrap_or_default());
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
