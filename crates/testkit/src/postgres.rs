//! Real PostgreSQL for tests: a throw-away cluster in a directory of its own, as an unprivileged user, on a socket that
//! only its owner and root reach. It ends itself when the tests that use it are gone, however they ended.
//!
//! Needs Debian's `postgresql` (15 or newer); says so when it is missing, and never skips.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::zombie_processes,
    reason = "for tests only: starts programs, one of which outlives the test, and a database that cannot be made is a failed test"
)]

use std::{
    env,
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Its superuser, which owns every database.
pub const USER: &str = "usher";
/// Asked for on TCP only; the socket lies in a private directory.
pub const PASSWORD: &str = "correct horse battery staple";

/// Does what it is told line by line, and takes everything down when nobody can tell it anything any more.
const KEEPER: &str = r#"
run() { "$BIN/postgres" -D "$DIR/data" -k "$DIR" "$@" </dev/null & server=$!; }
while read -r verb; do case $verb in
    start) run "$@" ;;
    crash) kill -QUIT "$server"; wait "$server" ;;
esac; done
kill -QUIT "$server" 2>/dev/null && wait "$server"
rm -rf "$DIR"
"#;

/// Takes everything down when for a while nobody held the lock on its input, and holds it until it is gone.
const SHARED_KEEPER: &str = r#"
"$BIN/postgres" -D "$DIR/data" -k "$DIR" "$@" </dev/null & server=$!
calm=0
while kill -0 "$server" 2>/dev/null; do
    sleep 1
    if flock -n -x 0; then calm=$((calm + 1)); else calm=0; fi
    [ "$calm" -lt 5 ] || break
    flock -u 0
done
kill -QUIT "$server" 2>/dev/null && wait "$server"
rm -rf "$DIR"
"#;

/// Long enough for a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Small, and quick to start. Commits reach the kernel, which is as much as a killed process can show.
const SETTINGS: &[&str] = &[
    "autovacuum=off",
    "dynamic_shared_memory_type=mmap",
    "fsync=off",
    "listen_addresses=",
    "max_connections=400",
    "max_wal_senders=0",
    "shared_buffers=16MB",
    "unix_socket_permissions=0777",
    "wal_level=minimal",
];

/// A running cluster.
#[derive(Debug)]
pub struct Postgres {
    directory: PathBuf,
    /// None for the shared one, which no single test ends.
    keeper: Mutex<Option<(Child, ChildStdin)>>,
    port: u16,
}

impl Postgres {
    /// The cluster that all tests of a target directory share, also those of other processes: for every test that does
    /// it no harm. It ends a few seconds after the last of them.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<(Postgres, fs::File)> = OnceLock::new();
        &SHARED.get_or_init(Self::join).0
    }

    /// The lock that goes with it says that it is used, until this process ends.
    fn join() -> (Self, fs::File) {
        let owner = Owner::find();
        let open = |name| fs::File::create(in_target(name)).expect("a lock file");
        let used = open("used");
        // Waits for a keeper that is just taking it down.
        used.lock_shared().expect("the lock");
        let starting = open("starting");
        starting.lock().expect("the lock");
        let note = in_target("directory");
        let directory = fs::read_to_string(&note).map(PathBuf::from).unwrap_or_default();
        let known = Self { directory, keeper: Mutex::new(None), port: 5432 };
        if known.is_ready() {
            return (known, used);
        }
        let directory =
            lay_out(&owner, &env::temp_dir().join(format!("usher-pg-{}-shared", std::process::id())));
        fs::write(note, directory.to_str().expect("a path in UTF-8")).expect("a note");
        // A lock of its own: the same file, opened once more.
        let watched = fs::File::open(in_target("used")).expect("a lock file");
        spawn(&owner, SHARED_KEEPER, &directory, SETTINGS, watched.into());
        let cluster = Self { directory, keeper: Mutex::new(None), port: 5432 };
        cluster.wait_until("answers", |ready| ready);
        (cluster, used)
    }

    /// A cluster of one test's own.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more settings, each `name=value`.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let owner = Owner::find();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Short: the path of a socket has 107 characters at most.
        let directory = env::temp_dir().join(format!("usher-pg-{}-{number}", std::process::id()));
        let directory = lay_out(&owner, &directory);
        let wanted: Vec<&str> = SETTINGS.iter().chain(settings).copied().collect();
        let port = wanted.iter().rev().find_map(|setting| setting.strip_prefix("port=")?.parse().ok());
        let mut keeper = spawn(&owner, KEEPER, &directory, &wanted, Stdio::piped());
        let input = keeper.stdin.take().expect("its input");
        let keeper = Mutex::new(Some((keeper, input)));
        let cluster = Self { directory, keeper, port: port.unwrap_or(5432) };
        cluster.start_again();
        cluster
    }

    /// Where its socket lies.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// The number in its socket's name, and its TCP port when it listens there.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database and gives back its name. Those of processes that have ended go.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn create_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        for old in self.sql("postgres", "SELECT datname FROM pg_database WHERE datname LIKE 'test%'").lines()
        {
            let process = old.split('_').nth(1).unwrap_or_default();
            if !Path::new("/proc").join(process).exists() {
                // Another test may be at it too.
                let _gone = self.psql("postgres", &format!("DROP DATABASE IF EXISTS {old} WITH (FORCE)"));
            }
        }
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The address of a database on its socket, as `postgres://` URL.
    ///
    /// # Panics
    /// When temporary files lie below a path that is not UTF-8.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let mut host = String::new();
        for byte in self.directory.to_str().expect("a path in UTF-8").bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                host.push(char::from(byte));
            } else {
                write!(host, "%{byte:02X}").expect("a string takes everything");
            }
        }
        format!("postgres://{USER}@{host}:{}/{database}", self.port)
    }

    /// Runs SQL in a database and gives back what it answers, one row a line.
    ///
    /// # Panics
    /// When it fails.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let output = self.psql(database, sql);
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn psql(&self, database: &str, sql: &str) -> Output {
        Command::new(binaries().join("psql"))
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database])
            .args(["-p", &self.port.to_string(), "-c", sql])
            .arg("-h")
            .arg(&self.directory)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("psql starts")
    }

    /// Speaks TLS from now on, with this certificate and key (PEM).
    ///
    /// # Panics
    /// When it does not take them.
    pub fn use_tls(&self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.directory.join("data").join(name);
            fs::write(&path, text).expect("a file in the cluster");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its mode");
            Owner::find().give(&path);
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let began = Instant::now();
        while self.sql("postgres", "SHOW ssl") != "on" {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL does not speak TLS");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it at once, as a crash does: it must recover when it starts again.
    ///
    /// # Panics
    /// When its keeper is gone.
    pub fn crash(&self) {
        self.tell("crash");
        self.wait_until("is gone", |reached| !reached);
    }

    /// Starts it after [`crash`](Self::crash).
    ///
    /// # Panics
    /// When it does not come up; with its log.
    pub fn start_again(&self) {
        self.tell("start");
        self.wait_until("answers", |reached| reached);
    }

    /// Starts it again if it ended by itself.
    ///
    /// # Panics
    /// When it does not come up; with its log.
    pub fn start_if_it_went_down(&self) {
        if !self.is_ready() {
            self.tell("crash");
            self.start_again();
        }
    }

    fn tell(&self, verb: &str) {
        let mut keeper = self.keeper.lock().expect("nobody panicked");
        let (_child, input) = keeper.as_mut().expect("its keeper runs");
        writeln!(input, "{verb}").expect("its keeper listens");
    }

    fn is_ready(&self) -> bool {
        UnixStream::connect(self.directory.join(format!(".s.PGSQL.{}", self.port))).is_ok()
            && Command::new(binaries().join("pg_isready"))
                .args(["-q", "-p", &self.port.to_string(), "-h"])
                .arg(&self.directory)
                .status()
                .is_ok_and(|status| status.success())
    }

    fn wait_until(&self, what: &str, wanted: impl Fn(bool) -> bool) {
        let began = Instant::now();
        while !wanted(self.is_ready()) {
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                panic!("PostgreSQL in {} never {what}:\n{log}", self.directory.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().ok().and_then(Option::take);
        if let Some((mut child, input)) = keeper {
            drop(input);
            let _ended = child.wait();
        }
    }
}

/// Whose cluster it is: PostgreSQL does not run as root.
struct Owner {
    /// User and group id, when that is another user than this process's.
    other: Option<(u32, u32)>,
}

impl Owner {
    fn find() -> Self {
        let me = fs::metadata("/proc/self").expect("a /proc").uid();
        if me != 0 {
            return Self { other: None };
        }
        let users = fs::read_to_string("/etc/passwd").expect("a user table");
        let ids_of = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Self { other: Some(ids_of("postgres").or_else(|| ids_of("nobody")).expect("an unprivileged user")) }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.other {
            // Also drops the supplementary groups: the standard library does for root.
            command.uid(user).gid(group);
        }
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        command
    }

    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.other {
            chown(path, Some(user), Some(group)).expect("root gives files away");
            if path.is_dir() {
                for entry in fs::read_dir(path).expect("a directory") {
                    self.give(&entry.expect("an entry").path());
                }
            }
        }
    }
}

/// Where the programs of the newest installed version are.
fn binaries() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = versions
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            .filter(|version| Path::new(&format!("/usr/lib/postgresql/{version}/bin/initdb")).exists())
            .max();
        let newest = newest.expect("this test needs PostgreSQL: install the package `postgresql`");
        assert!(newest >= 15, "this test needs PostgreSQL 15 or newer, this machine has {newest}");
        PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
    })
}

/// A file or directory of this module in the target directory.
fn in_target(name: &str) -> PathBuf {
    let program = env::current_exe().expect("the test's own program");
    let target = program.ancestors().nth(3).expect("a target directory");
    let version = binaries().parent().and_then(Path::file_name).expect("a version");
    target.join(format!("usher-postgres-{}.{name}", version.display()))
}

/// Makes a cluster that does not run yet.
fn lay_out(owner: &Owner, directory: &Path) -> PathBuf {
    let _left_by_a_namesake = fs::remove_dir_all(directory);
    fs::create_dir(directory).expect("a directory for the cluster");
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("its mode");
    copy(&template(owner), &directory.join("data"));
    owner.give(directory);
    directory.to_owned()
}

fn spawn(owner: &Owner, script: &str, directory: &Path, settings: &[&str], input: Stdio) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    owner
        .command("/bin/sh")
        .args(["-c", script, "keeper"])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .env("BIN", binaries())
        .env("DIR", directory)
        .current_dir("/")
        .stdin(input)
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        // Ctrl-C and a test runner's time-out are for the test; the keeper looks after itself.
        .process_group(0)
        .spawn()
        .expect("a shell starts")
}

/// A fresh cluster to copy, made once per target directory: `initdb` takes longer than most tests.
fn template(owner: &Owner) -> PathBuf {
    let ready = in_target("template");
    let lock = fs::File::create(in_target("making")).expect("a lock file");
    lock.lock().expect("the lock");
    if ready.exists() {
        return ready;
    }
    let directory = env::temp_dir().join(format!("usher-initdb-{}", std::process::id()));
    fs::create_dir(&directory).expect("a directory for initdb");
    let password = directory.join("password");
    fs::write(&password, PASSWORD).expect("a password file");
    owner.give(&directory);
    let output = owner
        .command(binaries().join("initdb"))
        .args(["--no-sync", "--encoding=UTF8", "--wal-segsize=1", "--username", USER])
        // Sorts unlike the machine's bytes, so that a column without COLLATE "C" is seen.
        .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"])
        .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
        .arg(&password)
        .arg("-D")
        .arg(directory.join("data"))
        .current_dir("/")
        .output()
        .expect("initdb starts");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let draft = in_target("draft");
    let _half_made = fs::remove_dir_all(&draft);
    copy(&directory.join("data"), &draft);
    fs::rename(&draft, &ready).expect("the template in place");
    fs::remove_dir_all(&directory).expect("initdb's directory can go");
    ready
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("its mode");
    for entry in fs::read_dir(from).expect("a directory to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a file to copy");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PATIENCE, Postgres};
    use std::{
        env, fs,
        path::PathBuf,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    #[test]
    fn a_crash_keeps_what_was_committed() {
        let cluster = Postgres::start();
        let database = cluster.create_database();
        cluster.sql(&database, "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)");
        cluster.crash();
        cluster.start_again();
        assert_eq!(cluster.sql(&database, "SELECT n FROM t"), "7");
    }

    const DIES: &str = "USHER_TEST_POSTGRES_DIES";

    #[test]
    fn a_cluster_goes_when_its_process_is_killed() {
        if env::var_os(DIES).is_some() {
            let cluster = Postgres::start();
            fs::write(env::var(DIES).unwrap(), cluster.socket_directory().to_str().unwrap()).unwrap();
            std::process::abort();
        }
        let note = env::temp_dir().join(format!("usher-pg-note-{}", std::process::id()));
        let name = "postgres::tests::a_cluster_goes_when_its_process_is_killed";
        let killed = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(DIES, &note)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!killed.success());
        let directory = PathBuf::from(fs::read_to_string(&note).unwrap());
        fs::remove_file(&note).unwrap();
        let began = Instant::now();
        while directory.exists() {
            assert!(began.elapsed() < PATIENCE, "{} stays", directory.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
