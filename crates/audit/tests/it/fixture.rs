//! Records and logs.

use std::net::{IpAddr, Ipv4Addr};

use usher_audit::{
    Actor, ChainRow, Code, Event, Head, IssuedCertificate, Record, Serial, SessionPurpose, WriterId, encode,
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
            serial: Serial::new(u64::MAX).unwrap(),
            sha256: Sha256::of(b"certificate"),
            principal: Principal::login(&login, server_id),
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
    let bytes = encode(&record(event)).unwrap();
    let head = head.append(&bytes);
    rows.push(ChainRow { writer: head.writer, sequence: head.sequence, hash: head.hash, bytes });
    head
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
    Head { writer, sequence: last.sequence, hash: last.hash }
}
