//! Agent frames as OpenSSH writes them, and as an attacker would.

use usher::ssh_agent::protocol::{
    FrameError, OfferedIdentity, Request, Response, SessionBind, SignRequest, put_string, put_u32,
};

fn sign_frame() -> Vec<u8> {
    let mut frame = vec![13];
    put_string(&mut frame, b"key");
    put_string(&mut frame, b"data");
    put_u32(&mut frame, 0);
    frame
}

fn bind_frame() -> Vec<u8> {
    let mut frame = vec![27];
    for part in [b"session-bind@openssh.com".as_slice(), b"host", b"session", b"signature"] {
        put_string(&mut frame, part);
    }
    frame.push(0);
    frame
}

#[test]
fn reads_what_ssh_sends() {
    assert_eq!(Request::parse(&[11]), Ok(Request::Identities));
    assert_eq!(
        Request::parse(&sign_frame()),
        Ok(Request::Sign(SignRequest { key_blob: b"key".to_vec(), data: b"data".to_vec() }))
    );
    assert_eq!(
        Request::parse(&bind_frame()),
        Ok(Request::SessionBind(SessionBind {
            host_key: b"host".to_vec(),
            session_id: b"session".to_vec(),
            signature: b"signature".to_vec(),
            is_forwarding: false,
        }))
    );
}

#[test]
fn refuses_every_message_that_changes_the_agent() {
    // Add, remove, remove all, smartcard, lock, unlock, and the answers themselves.
    for kind in [1, 9, 17, 18, 19, 20, 21, 22, 23, 25, 26, 5, 6, 12, 14, 0, 255] {
        assert_eq!(Request::parse(&[kind, 1, 2, 3]), Ok(Request::Unsupported), "message {kind}");
    }
}

#[test]
fn refuses_trailing_and_missing_bytes() {
    for frame in [sign_frame(), bind_frame(), vec![11]] {
        let mut longer = frame.clone();
        longer.push(0);
        assert_eq!(Request::parse(&longer), Err(FrameError::Malformed(frame[0])));
        for end in 1..frame.len() {
            assert!(Request::parse(&frame[..end]).is_err(), "{end} of {frame:?}");
        }
    }
    assert_eq!(Request::parse(&[]), Err(FrameError::Empty));
}

#[test]
fn tells_unknown_extensions_from_malformed_ones() {
    let mut query = vec![27];
    put_string(&mut query, b"query");
    assert_eq!(Request::parse(&query), Ok(Request::UnknownExtension));
    assert_eq!(Request::parse(&[27, 0, 0, 0, 9, b'x']), Err(FrameError::Malformed(27)));
    // Every value but zero is true (RFC 4251 section 5).
    let mut bind = bind_frame();
    *bind.last_mut().unwrap() = 7;
    assert!(matches!(Request::parse(&bind), Ok(Request::SessionBind(bind)) if bind.is_forwarding));
}

#[test]
fn writes_answers_as_the_protocol_says() {
    assert_eq!(Response::Failure.encode(), [0, 0, 0, 1, 5]);
    assert_eq!(Response::Success.encode(), [0, 0, 0, 1, 6]);
    assert_eq!(Response::ExtensionFailure.encode(), [0, 0, 0, 1, 28]);
    assert_eq!(Response::Signature(b"s".to_vec()).encode(), [0, 0, 0, 6, 14, 0, 0, 0, 1, b's']);
    let identity = OfferedIdentity { blob: b"b".to_vec(), comment: "c".to_owned() };
    assert_eq!(
        Response::Identities(Some(identity)).encode(),
        [0, 0, 0, 15, 12, 0, 0, 0, 1, 0, 0, 0, 1, b'b', 0, 0, 0, 1, b'c']
    );
}
