//! How `usher proxy` ends when there is no connection: `ssh` has to be told something, or it complains about the silence
//! besides. Usually the reason stands on the terminal already; where `ssh` threw our words away (`ControlPersist`, as
//! Ansible has it), it is sent to `ssh` as a server's own reason for hanging up.

use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    os::fd::AsFd as _,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{clock, exit::Failure};

const IDENTIFICATION: &[u8] = b"SSH-2.0-usher\r\n";
/// RFC 4253 section 11.1.
const DISCONNECT: u8 = 1;
/// `SSH_DISCONNECT_SERVICE_NOT_AVAILABLE`.
const REASON: u32 = 7;
/// `ssh` shows no more of it.
const LONGEST: usize = 400;
/// How long `ssh` may take to read it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says it to the `ssh` at stdin and stdout.
pub(super) fn say(failure: &Failure) {
    let mut stdout = std::io::stdout();
    if stdout.is_terminal() {
        return;
    }
    let unheard = is_null(&std::io::stderr());
    let packet = if unheard { disconnect(&words(failure)) } else { Vec::new() };
    // Who is gone needs no greeting.
    let sent = stdout
        .write_all(IDENTIFICATION)
        .and_then(|()| stdout.write_all(&packet))
        .and_then(|()| stdout.flush());
    if unheard && sent.is_ok() {
        // `ssh` reads when it has written its own part: until then the pipe must not break.
        drain();
    }
}

fn words(failure: &Failure) -> String {
    let next = failure.next.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
    let text = format!("usher: {failure}{next}");
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// An unencrypted packet (RFC 4253 section 6): length, length of the padding, payload, padding to a multiple of eight.
fn disconnect(text: &str) -> Vec<u8> {
    let mut payload = vec![DISCONNECT];
    payload.extend_from_slice(&REASON.to_be_bytes());
    for string in [text, ""] {
        payload.extend_from_slice(&u32::try_from(string.len()).unwrap_or_default().to_be_bytes());
        payload.extend_from_slice(string.as_bytes());
    }
    let unpadded = 4 + 1 + payload.len();
    let padding = 4 + (8 - (unpadded + 4) % 8) % 8;
    let mut packet = u32::try_from(1 + payload.len() + padding).unwrap_or_default().to_be_bytes().to_vec();
    packet.push(u8::try_from(padding).unwrap_or_default());
    packet.extend_from_slice(&payload);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// Whether what is written there is seen by nobody.
fn is_null(stream: &std::io::Stderr) -> bool {
    let null = rustix::fs::stat("/dev/null").map(|null| null.st_rdev);
    matches!((rustix::fs::fstat(stream.as_fd()), null), (Ok(stream), Ok(null)) if stream.st_rdev == null)
}

fn drain() {
    let end = clock::monotonic() + PATIENCE;
    let mut stdin = std::io::stdin();
    let mut buffer = [0; 4096];
    loop {
        let left = end.saturating_duration_since(clock::monotonic());
        let Ok(left) = Timespec::try_from(left) else { return };
        let readable = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left));
        if !matches!(readable, Ok(1..)) || matches!(stdin.read(&mut buffer), Ok(0) | Err(_)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, disconnect, words};

    #[test]
    fn packets_are_whole_blocks_and_hold_the_text() {
        for length in 0..64 {
            let text = "x".repeat(length);
            let packet = disconnect(&text);
            assert_eq!(packet.len() % 8, 0);
            let said = u32::from_be_bytes(packet[..4].try_into().unwrap());
            assert_eq!(usize::try_from(said).unwrap(), packet.len() - 4);
            assert!(packet[4] >= 4, "{packet:?}");
            assert_eq!(&packet[14..14 + length], text.as_bytes());
        }
    }

    #[test]
    fn nothing_in_the_words_breaks_a_line() {
        let failure = Failure::other("no\nway\u{1b}[31m").next("try\r\nagain");
        assert_eq!(words(&failure), "usher: noway[31m; next: tryagain");
    }
}
