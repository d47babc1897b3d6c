//! Reads the identification that every SSH server sends first (RFC 4253 section 4.2). Until it came, nothing has been
//! promised and the connection can be made again; that is how a server over its `MaxStartups` looks.

use std::io::Read;

/// RFC 4253 allows lines before the identification; so many bytes of them are read.
const MAX: usize = 8192;

/// What a server said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// An SSH server: everything it sent so far.
    Ssh(Vec<u8>),
    /// It closed the connection, or said that it is busy.
    Dropped,
    /// Something else.
    NotSsh,
}

/// Reads until the first line that begins with `SSH-`.
///
/// # Errors
/// As `stream` has them, time-outs among them.
pub fn read(stream: &mut impl Read) -> std::io::Result<Greeting> {
    let mut seen = Vec::new();
    let mut buffer = [0_u8; 1024];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error),
        };
        if read == 0 {
            return Ok(if seen.is_empty() || is_busy(&seen) { Greeting::Dropped } else { Greeting::NotSsh });
        }
        seen.extend(buffer.iter().take(read));
        if seen.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-")) {
            return Ok(Greeting::Ssh(seen));
        }
        if seen.len() > MAX {
            return Ok(Greeting::NotSsh);
        }
    }
}

/// What OpenSSH's sshd says when it takes no more connections, with `MaxStartups` or `PerSourcePenalties`.
fn is_busy(seen: &[u8]) -> bool {
    seen.starts_with(b"Exceeded MaxStartups") || seen.starts_with(b"Not allowed at this time")
}
