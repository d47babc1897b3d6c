//! The broker as a process: made, started on its core, watched from outside through `/proc`, stopped.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use rustix::thread::{CpuSet, sched_setaffinity};
use usher_identity::dpop::Es256Verifier as _;

/// Limits that a bench would run into within a second; and how long it took to read the access rules, and their size.
const SETTINGS: &str = "
[log]
level = \"warn,usher_broker::hot=debug\"

[limits]
connections_burst = 1000000000
connections_per_minute = 1000000000
enrollments_burst = 1000000000
enrollments_per_minute = 1000000000
scim_burst = 1000000000
scim_per_minute = 1000000000
";

/// Keeps this thread, and what it starts from here on, on one core.
pub(crate) fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).unwrap_or_else(|error| panic!("two cores are needed: {error}"));
}

/// What the figures are of.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{}, {cores} cores", model.trim_start_matches([' ', '\t', ':']))
}

/// The fastest of many ES256 verifications, in microseconds: the yardstick of the machine as it is just now. A request
/// has one, and it is the largest part of it that no broker can save.
pub(crate) fn verification_us() -> f64 {
    let proved = usher_benches::Proved::new();
    let message = [1; 400];
    let (signature, key) = (proved.key.sign(&message), proved.key.public());
    let once = |_| {
        let start = tokio::time::Instant::now();
        assert!(usher_benches::AwsLcVerifier.verify(&key, &message, &signature));
        start.elapsed()
    };
    (0..5000).map(once).min().unwrap().as_secs_f64() * 1e6
}

/// A team's directory, and the binary that serves it.
pub(crate) struct Broker {
    binary: PathBuf,
    data: PathBuf,
    address: SocketAddr,
}

/// A broker that serves.
pub(crate) struct Running {
    data: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) root: Vec<u8>,
    process: Mutex<Child>,
    id: u32,
}

#[expect(clippy::disallowed_methods, reason = "the one place of this program that starts processes")]
fn command(binary: &Path) -> Command {
    Command::new(binary)
}

impl Broker {
    /// `more` is put behind its configuration.
    pub(crate) fn init(binary: &Path, directory: &Path, more: &str) -> Self {
        let data = directory.join("data");
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let made = command(binary)
            .args(["init", "--team", "bench", "--public-url", &format!("https://{address}")])
            .args(["--listen", &address.to_string(), "--data-dir"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let file = data.join("broker.toml");
        let config = fs::read_to_string(&file).unwrap();
        let kept = config.lines().filter(|line| !["[limits]", "[log]"].contains(&line.trim()));
        let kept = kept.collect::<Vec<_>>().join("\n");
        fs::write(&file, format!("{kept}\n{SETTINGS}{more}")).unwrap();
        Self { binary: binary.to_owned(), data, address }
    }

    /// Starts it on `core` and waits until it is ready.
    pub(crate) async fn serve(&self, core: usize) -> Running {
        let root = command(&self.binary).args(["root-certificate", "--data-dir"]).arg(&self.data).output();
        let root = root.unwrap().stdout;
        let process = command("taskset".as_ref())
            .args(["--cpu-list", &core.to_string()])
            .arg(&self.binary)
            .args(["serve", "--data-dir"])
            .arg(&self.data)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let id = process.id();
        let running = Running {
            data: self.data.clone(),
            address: self.address,
            root,
            process: Mutex::new(process),
            id,
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            assert!(tokio::time::Instant::now() < deadline, "the broker does not come up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        eprintln!("the broker serves as process {id} on core {core}");
        running
    }
}

impl Running {
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("usher.db")
    }

    /// Processor time so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap();
        // Behind the name, which may hold anything: state is field 3, utime 14, stime 15 (proc_pid_stat(5)).
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        // A hundred a second: Linux shows no other to programs.
        usher_benches::float(usize::try_from(ticks).unwrap()) * 10_000.0
    }

    /// Resident memory.
    pub(crate) fn rss_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap() / 1024.0
    }

    /// Ends it in an orderly way.
    pub(crate) async fn stop(&self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.id).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        loop {
            if let Some(status) = self.process.lock().unwrap().try_wait().unwrap() {
                return assert!(status.success(), "the broker ended with {status}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        // It is gone already after `stop`.
        let _gone = process.kill().and_then(|()| process.wait());
    }
}
