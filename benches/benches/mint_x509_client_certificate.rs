//! From a grant to the DER of an X.509 client certificate, beside the bare signature.
#![expect(clippy::unwrap_used, reason = "a bench that cannot start should fail loudly")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use usher_benches::{client, grant, proven, x509_authority};
use usher_ca::{Signer as _, x509::prepare_client};
use usher_keystore::{Algorithm, SoftwareKey};
use usher_testkit::NOW;

fn mint(criterion: &mut Criterion) {
    let (grant, subject) = (grant(), proven());
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let key = SoftwareKey::generate(algorithm).unwrap();
        let checked = key.checked().unwrap();
        let authority = x509_authority(checked);
        let mut rng = UnwrapErr(SysRng);
        let mut group = criterion.benchmark_group(format!("mint x509/{}", algorithm.as_str()));
        group.bench_function("certificate", |bencher| {
            bencher.iter(|| {
                let prepared = prepare_client(client(&grant), &subject, &authority, NOW, &mut rng).unwrap();
                prepared.sign_with(checked).unwrap()
            });
        });
        let message = prepare_client(client(&grant), &subject, &authority, NOW, &mut rng).unwrap();
        group.bench_function("signature alone", |bencher| {
            bencher.iter(|| key.sign_message(black_box(message.bytes())).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, mint);
criterion_main!(benches);
