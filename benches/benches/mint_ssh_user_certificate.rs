//! From a grant to the text of a certificate, beside the bare signature.
#![expect(clippy::unwrap_used, reason = "a bench that cannot start should fail loudly")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use usher_benches::{grant, leg, subject};
use usher_ca::{Signer as _, prepare};
use usher_keystore::{Algorithm, SoftwareKey};
use usher_testkit::NOW;

fn mint(criterion: &mut Criterion) {
    let grant = grant();
    let subject = subject();
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let key = SoftwareKey::generate(algorithm).unwrap();
        let checked = key.checked().unwrap();
        let authority = key.public_key();
        let mut rng = UnwrapErr(SysRng);
        let mut group = criterion.benchmark_group(format!("mint/{}", algorithm.as_str()));
        group.bench_function("certificate", |bencher| {
            bencher.iter(|| {
                let prepared = prepare(leg(&grant), &subject, &authority, NOW, &mut rng).unwrap();
                prepared.sign_with(checked).unwrap().to_openssh()
            });
        });
        let message = prepare(leg(&grant), &subject, &authority, NOW, &mut rng).unwrap();
        group.bench_function("signature alone", |bencher| {
            bencher.iter(|| key.sign_message(black_box(message.bytes())).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, mint);
criterion_main!(benches);
