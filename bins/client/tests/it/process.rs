//! Life of the background process, and who may talk to it. Attacks of threat rows 28 and 30.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use usher::ssh_agent::{
    control::{Answer, ControlClient, Request},
    protocol::{SessionBind, put_string},
};

use crate::{
    session_bind::{bind, key},
    support::{Client, USHER, home, in_home, text, usher_uid, wait_for},
};

#[test]
fn starts_once_in_the_background_and_ends_when_told() {
    let home = home();
    let starts: Vec<_> = (0..5)
        .map(|_| in_home(home.path(), USHER).arg("ssh-agent").stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    for start in starts {
        let output = start.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("/run/usher/ssh.sock\n"));
    }
    let runtime = home.path().join("run/usher");
    assert_eq!(runtime.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for socket in ["ssh.sock", "control.sock"] {
        assert_eq!(runtime.join(socket).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{socket}");
    }
    let mut control = ControlClient::connect(&runtime.join("control.sock")).unwrap().unwrap();
    let Answer::Welcome { pid, .. } = control.ask(&Request::Hello).unwrap() else { panic!() };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
    assert_eq!(session, pid.to_string(), "a session of its own: it outlives the terminal");
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");

    let status = in_home(home.path(), USHER).args(["--output", "json", "status"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["pid"], pid);
    let stop = in_home(home.path(), USHER).args(["ssh-agent", "--stop"]).output().unwrap();
    assert!(stop.status.success(), "{}", text(&stop));
    wait_for("the end", || (!runtime.join("control.sock").exists()).then_some(()));
}

#[test]
fn does_not_use_a_directory_that_others_could_have_prepared() {
    for mode in [0o755, 0o777, 0o710] {
        let home = home();
        let runtime = home.path().join("run/usher");
        fs::create_dir(&runtime).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(mode)).unwrap();
        let output = in_home(home.path(), USHER).arg("ssh-agent").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{mode:o}: {}", text(&output));
        assert!(text(&output).contains("only you can enter"), "{}", text(&output));
    }
    let home = home();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), home.path().join("run/usher")).unwrap();
    let output = in_home(home.path(), USHER).arg("ssh-agent").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "a link: {}", text(&output));
}

/// Needs root: only root can act as another user.
#[test]
fn another_user_is_refused_even_where_the_socket_lets_it_in() {
    assert_eq!(usher_uid(), 0, "this test must run as root: it connects as another user (setpriv)");
    assert!(Path::new("/usr/bin/setpriv").exists(), "this test needs setpriv (util-linux)");
    assert!(Path::new("/usr/bin/nc").exists(), "this test needs nc (netcat-openbsd)");
    let client = Client::new(|_| Ok(Vec::new()));
    let runtime = client.runtime_directory();
    // Open every door that the file system closes: the peer check must stand on its own.
    for path in [client.home.path(), &client.home.path().join("run"), &runtime] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (socket, request) in [
        ("ssh.sock", b"\0\0\0\x01\x0b".to_vec()),
        ("control.sock", { usher::ssh_agent::control::encode(&Request::Status).unwrap() }),
    ] {
        let socket = runtime.join(socket);
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let ask = |user: &str| {
            let mut nc = Command::new("/usr/bin/setpriv")
                .args(["--reuid", user, "--regid", user, "--clear-groups", "/usr/bin/nc", "-U", "-w", "2"])
                .arg(&socket)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // A refused peer may find the socket closed already.
            let _ = nc.stdin.take().unwrap().write_all(&request);
            nc.wait_with_output().unwrap().stdout
        };
        assert!(!ask("0").is_empty(), "the owner is answered at {}", socket.display());
        assert!(ask("65534").is_empty(), "another user is not, at {}", socket.display());
    }
}

/// Needs root: only root can start the process as another user and look at it as that user.
#[test]
fn the_process_is_closed_to_debuggers_of_the_same_user() {
    assert_eq!(
        usher_uid(),
        0,
        "this test must run as root: it looks at the process as another user (setpriv)"
    );
    let outer = tempfile::tempdir().unwrap();
    let (home, binary) = (outer.path().join("home"), outer.path().join("usher"));
    fs::copy(USHER, &binary).unwrap();
    fs::create_dir_all(home.join("run")).unwrap();
    fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for path in [home.clone(), home.join("run")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let as_nobody = |program: &str| {
        let mut command = in_home(&home, "/usr/bin/setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", program]);
        command
    };
    let output = as_nobody(binary.to_str().unwrap()).arg("ssh-agent").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let status = as_nobody(binary.to_str().unwrap()).args(["--output", "json", "status"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let pid = status["pid"].as_u64().unwrap();
    let memory = format!("/proc/{pid}/mem");
    assert_eq!(fs::metadata(&memory).unwrap().uid(), 0, "a dumpable process's memory belongs to its user");
    let read = as_nobody("/bin/sh").args(["-c", &format!("exec 3<{memory}")]).output().unwrap();
    assert!(!read.status.success(), "its own user must not open {memory}");
    let stop = as_nobody(binary.to_str().unwrap()).args(["ssh-agent", "--stop"]).output().unwrap();
    assert!(stop.status.success(), "{}", text(&stop));
}

#[test]
fn malformed_and_oversized_frames_close_the_connection_and_nothing_else() {
    let client = Client::new(|_| Ok(Vec::new()));
    for (socket, bytes) in [
        ("ssh.sock", vec![0xff, 0xff, 0xff, 0xff]),
        ("ssh.sock", vec![0, 0, 0, 0]),
        ("ssh.sock", vec![0, 0, 0, 2, 13, 0]),
        ("control.sock", vec![0x7f, 0xff, 0xff, 0xff]),
    ] {
        let mut stream = UnixStream::connect(client.runtime_directory().join(socket)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&bytes).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty(), "{socket} {bytes:?}: {answer:?}");
    }
    assert_eq!(client.status().teams.len(), 1, "it still serves");
}

/// A peer that lied about its session must not be served like an `ssh` before 8.9, which cannot bind at all.
#[test]
fn a_refused_session_binding_ends_the_connection() {
    let client = Client::new(|_| Ok(Vec::new()));
    let good = bind(&key(1), b"session");
    let mut forged = good.clone();
    forged.session_id = b"another session".to_vec();
    let mut forwarded = good.clone();
    forwarded.is_forwarding = true;
    let success = vec![0, 0, 0, 1, 6];
    let failure = vec![0, 0, 0, 1, 5];
    for (what, binds, answers) in [
        ("forged", vec![&forged], failure.clone()),
        ("forwarded", vec![&forwarded], failure.clone()),
        ("a second one", vec![&good, &good], [success, failure].concat()),
    ] {
        let mut stream = UnixStream::connect(client.runtime_directory().join("ssh.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        for bind in binds {
            stream.write_all(&bind_frame(bind)).unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{what}: still open: {error}"));
        assert_eq!(answer, answers, "{what}");
    }
}

fn bind_frame(bind: &SessionBind) -> Vec<u8> {
    let mut body = vec![27];
    for part in [b"session-bind@openssh.com".as_slice(), &bind.host_key, &bind.session_id, &bind.signature] {
        put_string(&mut body, part);
    }
    body.push(u8::from(bind.is_forwarding));
    let mut frame = Vec::new();
    put_string(&mut frame, &body);
    frame
}

#[test]
fn unknown_control_requests_get_a_sentence() {
    let client = Client::new(|_| Ok(Vec::new()));
    let mut stream = UnixStream::connect(client.runtime_directory().join("control.sock")).unwrap();
    for request in
        [r#"{"request":"token"}"#, r#"{"request":"known-hosts","host":"a","x":1}"#, "[]", "no json"]
    {
        let length = u32::try_from(request.len()).unwrap();
        stream.write_all(&[&length.to_be_bytes()[..], request.as_bytes()].concat()).unwrap();
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        stream.read_exact(&mut answer).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["answer"], "failed", "{request}: {answer}");
    }
}

#[test]
fn ssh_add_can_neither_add_nor_remove_nor_list() {
    let client = Client::new(|_| Ok(Vec::new()));
    let socket = client.runtime_directory().join("ssh.sock");
    let key = client.home.path().join("key");
    let made = client
        .command("/usr/bin/ssh-keygen")
        .args(["-q", "-N", "", "-t", "ed25519", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    for arguments in [vec!["-D"], vec!["-x"], vec!["-e", "/usr/lib/none.so"], vec![key.to_str().unwrap()]] {
        let output = client
            .command("/usr/bin/ssh-add")
            .env("SSH_AUTH_SOCK", &socket)
            .args(&arguments)
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    }
    let list = client.command("/usr/bin/ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-l").output().unwrap();
    assert!(text(&list).contains("no identities"), "{}", text(&list));
}

/// Threat row 28: nothing of a connection reaches the disk.
#[test]
fn signing_in_and_connecting_leave_no_secret_in_files() {
    let client = Client::new(|_| Err(usher::exit::Failure::other("no")));
    let _ = client.ssh("server-1", &["true"]).output().unwrap();
    let mut files = Vec::new();
    let mut directories = vec![client.home.path().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    for file in files.iter().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file())) {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        for sign in ["us1_", "PRIVATE KEY", "cert-v01"] {
            assert!(!text.contains(sign), "{}", file.display());
        }
    }
}

#[test]
fn signing_out_forgets_the_session() {
    let client = Client::new(|_| Ok(Vec::new()));
    let output = client.usher().arg("logout").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(ControlClient::connect(&client.runtime_directory().join("control.sock")).unwrap().is_none_or(
        |mut control| {
            matches!(control.ask(&Request::Status), Ok(Answer::Status(status)) if status.teams.is_empty())
                || control.ask(&Request::Hello).is_err()
        }
    ));
}
