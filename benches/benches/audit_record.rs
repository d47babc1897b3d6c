//! A row of the audit log: its bytes, and its place in the chain.
#![expect(clippy::unwrap_used, reason = "a bench that cannot start should fail loudly")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use usher_audit::{
    Actor, CertificateKind, Event, Head, IssuedCertificate, Record, Serial, SessionPurpose, WriterId, encode,
    verify_chain,
};
use usher_testkit::{NOW, fixture};
use usher_types::{LoginName, Principal, SessionId, Sha256};

fn issue() -> Record {
    let login: LoginName = "alice".parse().unwrap();
    let certificate = IssuedCertificate {
        serial: Serial::new(u64::MAX).unwrap(),
        sha256: Sha256::of(b"certificate"),
        principal: Principal::login(&login, fixture::server(1)),
        key: Some(Sha256::of(b"key")),
        kind: CertificateKind::Ssh,
    };
    Record {
        at: NOW,
        actor: Actor::User {
            user_id: fixture::user(1),
            device_id: Some(fixture::device(1)),
            session_id: Some(SessionId::new(NOW, [1; 10])),
        },
        client_address: Some([192, 0, 2, 7].into()),
        event: Event::ConnectionIssue {
            connection_id: fixture::connection(1),
            project_id: fixture::project(1),
            server_id: fixture::server(1),
            login,
            server_admin: false,
            purpose: SessionPurpose::Interactive,
            valid_before: NOW,
            certificates: vec![certificate],
        },
    }
}

fn rows(criterion: &mut Criterion) {
    let record = issue();
    let bytes = encode(&record).unwrap();
    let start = Head::genesis(WriterId::new(NOW, [1; 10]));
    let mut group = criterion.benchmark_group("audit_record");
    group.bench_function("encode", |bencher| bencher.iter(|| encode(black_box(&record)).unwrap()));
    group.bench_function("hash", |bencher| bencher.iter(|| start.append(black_box(&bytes))));
    group.bench_function("encode and hash", |bencher| {
        bencher.iter(|| start.append(&encode(black_box(&record)).unwrap()));
    });
    let row = start.row(1, bytes);
    group.bench_function("verify", |bencher| bencher.iter(|| verify_chain([black_box(&row)])));
    group.finish();
}

criterion_group!(benches, rows);
criterion_main!(benches);
