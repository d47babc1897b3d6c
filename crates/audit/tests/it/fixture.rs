//! Records and logs.

use std::net::{IpAddr, Ipv4Addr};

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use usher_audit::{
    Actor, CertificateKind, ChainRow, Checkpoint, Code, Event, Fault, Head, IssuedCertificate, LogVerifier,
    Record, Report, RowFault, Serial, SessionPurpose, SignedCheckpoint, Trust, WriterId,
    checkpoint_sign_input, encode, verify_chain,
};
use usher_types::{
    ConnectionId, DeviceId, LoginName, Principal, ProjectId, ServerId, SessionId, Sha256, UnixTime, UserId,
};

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_790_000_000);

pub(crate) fn user_id(seed: u8) -> UserId {
    UserId::new(NOW, [seed; 10])
}

pub(crate) fn writer(seed: u8) -> WriterId {
    WriterId::new(NOW, [seed; 10])
}

pub(crate) fn alice() -> Actor {
    Actor::User {
        user_id: user_id(1),
        device_id: Some(DeviceId::new(NOW, [2; 10])),
        session_id: Some(SessionId::new(NOW, [3; 10])),
    }
}

pub(crate) fn record(event: Event) -> Record {
    Record { at: NOW, actor: alice(), client_address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))), event }
}

pub(crate) fn issue() -> Event {
    let login: LoginName = "alice".parse().unwrap();
    let server_id = ServerId::new(NOW, [4; 10]);
    Event::ConnectionIssue {
        connection_id: ConnectionId::new(NOW, [5; 10]),
        project_id: ProjectId::new(NOW, [6; 10]),
        server_id,
        login: login.clone(),
        server_admin: false,
        purpose: SessionPurpose::Interactive,
        valid_before: UnixTime::from_secs(NOW.as_secs() + 180),
        certificates: vec![IssuedCertificate {
            kind: CertificateKind::Ssh,
            serial: Serial::new(u64::MAX).unwrap(),
            sha256: Sha256::of(b"certificate"),
            principal: Principal::login(&login, server_id),
            key: None,
        }],
    }
}

pub(crate) fn deny() -> Event {
    Event::ConnectionDeny {
        connection_id: ConnectionId::new(NOW, [5; 10]),
        server_id: Some(ServerId::new(NOW, [4; 10])),
        login: Some("bob".parse().unwrap()),
        reasons: vec![Code::new("no_access"), Code::new("other_login")],
    }
}

/// Appends a row to `rows` and gives the writer's new head.
pub(crate) fn append(rows: &mut Vec<ChainRow>, head: Head, event: Event) -> Head {
    let position = i64::try_from(rows.len()).unwrap() + 1;
    let row = head.row(position, encode(&record(event)).unwrap());
    rows.push(row.clone());
    row.head()
}

/// Two writers, the second beginning after the first has written four rows; then both write on.
pub(crate) fn log() -> Vec<ChainRow> {
    let mut rows = Vec::new();
    let mut first =
        append(&mut rows, Head::genesis(writer(1)), Event::LogStart { after: None, checkpoint: None });
    for seed in 1..4 {
        first = append(&mut rows, first, Event::UserDisable { user_id: user_id(seed) });
    }
    let start = Event::LogStart { after: Some(first), checkpoint: None };
    let mut second = append(&mut rows, Head::genesis(writer(2)), start);
    for seed in 1..4 {
        first = append(&mut rows, first, Event::UserEnable { user_id: user_id(seed) });
        second = append(&mut rows, second, issue());
    }
    rows
}

/// Where `writer` stands at the end of `rows`.
pub(crate) fn head_of(rows: &[ChainRow], writer: WriterId) -> Head {
    let last = rows.iter().rfind(|row| row.writer == writer).unwrap();
    last.head()
}

pub(crate) fn row_fault(of: u8, sequence: u64, position: Option<i64>, fault: RowFault) -> Fault {
    Fault::Row { writer: writer(of), sequence, position, fault }
}

pub(crate) fn faults(rows: &[ChainRow]) -> Vec<Fault> {
    verify_chain(rows).faults
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

pub(crate) fn public(key: &SigningKey) -> [u8; 65] {
    key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap()
}

pub(crate) fn sign(key: &SigningKey, checkpoint: &Checkpoint) -> SignedCheckpoint {
    let bytes = checkpoint.encode().unwrap();
    let signature: Signature = key.sign(&checkpoint_sign_input(&bytes));
    SignedCheckpoint { bytes, signature: signature.to_bytes().into() }
}

/// The state of [`log`] at its end.
pub(crate) fn checkpoint() -> Checkpoint {
    let heads = vec![head_of(&log(), writer(1)), head_of(&log(), writer(2))];
    Checkpoint { number: 1, issued_at: NOW, previous: None, heads }
}

/// Checks `rows` against checkpoints signed by keys that the log names.
pub(crate) fn against(rows: &[ChainRow], checkpoints: &[Checkpoint]) -> Report {
    let mut verifier = LogVerifier::new();
    for checkpoint in checkpoints {
        verifier.checkpoint(&sign(&key(1), checkpoint), &[public(&key(1))]);
    }
    rows.iter().for_each(|row| verifier.row(row));
    verifier.finish(Trust::Named)
}
