//! As much HTTP/1.1 as the stub and the set-up need: whole messages with a length, one after the other.

use std::{
    io::{self, BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
};

/// A request or an answer.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// Request line or status line, and headers, without the empty line.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// Of an answer.
    pub(super) status: u16,
}

impl Message {
    /// `None` at the end of the stream.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(None);
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut message = Self { head, body: Vec::new(), status };
        let length = message.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        message.body = vec![0; length];
        from.read_exact(&mut message.body)?;
        Ok(Some(message))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// An answer in KMS's form.
    pub(super) fn answer(status: u16, json: &serde_json::Value) -> Self {
        let body = json.to_string().into_bytes();
        let head = format!(
            "HTTP/1.1 {status} -\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {}\r\n",
            body.len()
        );
        Self { head, body, status }
    }
}

/// Sends one request on a connection of its own.
pub(super) fn ask(address: SocketAddr, request: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(request)?;
    let message = Message::read(&mut BufReader::new(stream))?;
    message.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

pub(super) fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
