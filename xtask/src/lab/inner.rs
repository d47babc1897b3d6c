//! The inner stage: runs as the first process inside a host's new namespaces, builds its file system, becomes tini.
//!
//! The host sees `/usr`, `/etc` and `/var` of the machine as read-only lower layers and nothing else: no home
//! directories, no repository, no other mounts. The system is made to look like a fresh stock installation.

use std::{
    ffi::CString,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
    process::pivot_root,
};
use serde::{Deserialize, Serialize};

use super::HostSpec;
use crate::{process::Cmd, workspace};

/// Trees of the machine that hosts may see.
const TREES: [&str; 9] = ["bin", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "var"];
const SSHD_LOG: &str = "/var/log/sshd.log";

/// What the inner stage is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    host: String,
    lab: PathBuf,
    hosts_file: String,
    /// Directories of the machine that must not be seen although they lie below a shown tree.
    hidden: Vec<PathBuf>,
}

impl Plan {
    pub(super) fn new(spec: &HostSpec, lab: &Path) -> Result<Self> {
        Ok(Self {
            host: spec.name.to_owned(),
            lab: lab.to_owned(),
            hosts_file: spec.names.to_owned(),
            hidden: vec![workspace::root()?.to_owned(), workspace::target_dir()?],
        })
    }
}

/// Builds the host's file system and becomes its first process.
///
/// # Errors
/// Only returns when something could not be done.
pub(crate) fn init(plan: &str) -> Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("lab-init is for xtask itself")?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let dir = plan.lab.join(&plan.host);
    let root = dir.join("root");
    let first_boot = !root.exists();
    fs::create_dir_all(&root)?;
    mount_bind(&root, &root).context("cannot bind the root")?;
    for tree in TREES {
        show(tree, &plan.lab, &dir, &root)?;
    }
    for hidden in &plan.hidden {
        let inside = root.join(hidden.strip_prefix("/").unwrap_or(hidden));
        if inside.is_dir() {
            tmpfs(&inside, c"mode=755,size=4k")?;
        }
    }
    kernel_file_systems(&root)?;
    writable_places(&dir, &root)?;
    enter(&root)?;
    rustix::system::sethostname(plan.host.as_bytes())?;
    // Inherited from the machine, which may well be a router (Docker makes it one).
    for key in ["conf/all/forwarding", "ip_forward"] {
        fs::write(format!("/proc/sys/net/ipv4/{key}"), "0")?;
    }
    fs::write("/etc/hostname", format!("{}\n", plan.host))?;
    fs::write("/etc/hosts", format!("127.0.0.1 localhost {}\n{}", plan.host, plan.hosts_file))?;
    if first_boot {
        make_fresh()?;
    }
    Err(Cmd::new(["/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
        .args(["LANG=C.UTF-8", "/usr/bin/tini", "-s", "--", "/usr/sbin/sshd", "-D", "-E", SSHD_LOG])
        .exec())
}

fn text(value: String) -> Result<CString> {
    CString::new(value).context("a path holds a zero byte")
}

fn tmpfs(on: &Path, options: &std::ffi::CStr) -> Result<()> {
    fs::create_dir_all(on)?;
    mount("tmpfs", on, "tmpfs", MountFlags::empty(), Some(options))
        .with_context(|| format!("cannot mount a tmpfs on {}", on.display()))
}

/// Lays a writable layer over one tree of the machine.
fn show(tree: &str, lab: &Path, dir: &Path, root: &Path) -> Result<()> {
    let (outer, inside) = (Path::new("/").join(tree), root.join(tree));
    let Ok(metadata) = outer.symlink_metadata() else { return Ok(()) };
    if metadata.is_symlink() {
        if inside.symlink_metadata().is_err() {
            symlink(fs::read_link(&outer)?, &inside)?;
        }
        return Ok(());
    }
    let (upper, work) = (dir.join(tree).join("upper"), dir.join(tree).join("work"));
    for place in [&inside, &upper, &work] {
        fs::create_dir_all(place)?;
    }
    let base = lab.join("base").join(tree);
    let lower =
        if base.is_dir() { format!("{}:{}", base.display(), outer.display()) } else { format!("/{tree}") };
    let options = text(format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display()))?;
    mount("overlay", &inside, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .with_context(|| format!("cannot lay an overlay over /{tree}: the kernel needs overlayfs"))
}

fn kernel_file_systems(root: &Path) -> Result<()> {
    for place in ["proc", "sys", "dev"] {
        fs::create_dir_all(root.join(place))?;
    }
    mount("proc", root.join("proc"), "proc", MountFlags::empty(), None)?;
    mount("sysfs", root.join("sys"), "sysfs", MountFlags::RDONLY, None)?;
    let dev = root.join("dev");
    tmpfs(&dev, c"mode=755")?;
    for name in ["full", "null", "random", "tty", "urandom", "zero"] {
        fs::write(dev.join(name), "")?;
        mount_bind(Path::new("/dev").join(name), dev.join(name))?;
    }
    fs::create_dir(dev.join("pts"))?;
    let options = c"newinstance,ptmxmode=0666,mode=620,gid=5";
    mount("devpts", dev.join("pts"), "devpts", MountFlags::empty(), Some(options))?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (to, name) in links {
        symlink(to, dev.join(name))?;
    }
    tmpfs(&dev.join("shm"), c"mode=1777")
}

fn writable_places(dir: &Path, root: &Path) -> Result<()> {
    tmpfs(&root.join("run"), c"mode=755")?;
    for place in ["run/sshd", "run/lock", "run/user", "home", "mnt", "opt", "root", "srv"] {
        fs::create_dir_all(root.join(place))?;
    }
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700))?;
    fs::write(root.join("run/utmp"), "")?;
    tmpfs(&root.join("tmp"), c"mode=1777")?;
    tmpfs(&root.join("var/tmp"), c"mode=1777")?;
    tmpfs(&root.join("var/cache"), c"mode=755")?;
    // The logs survive a power cut, and can be read from outside.
    fs::create_dir_all(dir.join("log"))?;
    mount_bind(dir.join("log"), root.join("var/log"))?;
    for log in ["wtmp", "btmp", "lastlog"] {
        fs::OpenOptions::new().create(true).append(true).open(root.join("var/log").join(log))?;
    }
    Ok(())
}

fn enter(root: &Path) -> Result<()> {
    let old = root.join("tmp/old");
    fs::create_dir(&old)?;
    rustix::process::chdir(root)?;
    pivot_root(".", "tmp/old").context("cannot change the root")?;
    rustix::process::chdir("/")?;
    unmount("/tmp/old", UnmountFlags::DETACH)?;
    fs::remove_dir("/tmp/old")?;
    Ok(())
}

/// Makes the machine's settings those of a fresh installation: stock sshd, own keys, no people.
fn make_fresh() -> Result<()> {
    // Nobody answers: names come from /etc/hosts alone.
    let _link = fs::remove_file("/etc/resolv.conf");
    fs::write("/etc/resolv.conf", "")?;
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.replace('-', "");
    fs::write("/etc/machine-id", id)?;
    remove_matching("/etc/ssh", |name| name.starts_with("ssh_host_"))?;
    remove_matching("/etc/ssh/sshd_config.d", |_| true)?;
    if Path::new("/usr/share/openssh/sshd_config").exists() {
        fs::copy("/usr/share/openssh/sshd_config", "/etc/ssh/sshd_config")?;
    }
    fs::create_dir_all("/etc/ssh/sshd_config.d")?;
    for kind in ["ed25519", "ecdsa"] {
        let file = format!("/etc/ssh/ssh_host_{kind}_key");
        Cmd::new(["/usr/bin/ssh-keygen", "-q", "-t", kind, "-N", "", "-f", &file]).read()?;
    }
    // Since OpenSSH 9.8 an address that fails to log in is shut out for a while, and tests fail on purpose.
    let penalties = Cmd::new(["/usr/sbin/sshd", "-T"]).output()?.stdout.contains("persourcepenalties");
    let penalties = if penalties { "PerSourcePenalties no\n" } else { "" };
    fs::write(
        "/etc/ssh/sshd_config.d/50-operator.conf",
        format!("# the operator's own settings\nLogLevel VERBOSE\n{penalties}"),
    )?;
    remove_people()
}

fn remove_matching(dir: &str, matches: impl Fn(&str) -> bool) -> Result<()> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&matches) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Takes the machine's people out of the host's account files: their names must not stand in a test's way.
fn remove_people() -> Result<()> {
    let field = |line: &str, index: usize| line.split(':').nth(index).unwrap_or_default().to_owned();
    let person = |line: &&str| field(line, 2).parse::<u32>().is_ok_and(|id| id >= 1000 && id != 65_534);
    let passwd = fs::read_to_string("/etc/passwd")?;
    let group = fs::read_to_string("/etc/group")?;
    let users: Vec<_> = passwd.lines().filter(person).map(|line| field(line, 0)).collect();
    let groups: Vec<_> = group.lines().filter(person).map(|line| field(line, 0)).collect();
    for (file, gone) in [
        ("/etc/passwd", &users),
        ("/etc/shadow", &users),
        ("/etc/subuid", &users),
        ("/etc/subgid", &users),
        ("/etc/group", &groups),
        ("/etc/gshadow", &groups),
    ] {
        let Ok(text) = fs::read_to_string(file) else { continue };
        let kept: String = text
            .lines()
            .filter(|line| !gone.contains(&field(line, 0)))
            .flat_map(|line| [line, "\n"])
            .collect();
        // In place: mode and owner stay.
        fs::write(file, kept)?;
    }
    Ok(())
}
