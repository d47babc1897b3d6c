//! Every check of a proof of possession, with the broker's library and with the portable one.
#![expect(clippy::unwrap_used, reason = "a bench that cannot start should fail loudly")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use usher_benches::{AwsLcVerifier, Proved};
use usher_identity::dpop::{self, Es256Verifier as _, PortableVerifier};
use usher_testkit::NOW;

fn verify(criterion: &mut Criterion) {
    let proved = Proved::new();
    let mut group = criterion.benchmark_group("dpop_verify");
    group.bench_function("aws-lc", |bencher| {
        bencher.iter(|| {
            dpop::verify(black_box(&proved.proof), &proved.request(), &proved.nonces, NOW, &AwsLcVerifier)
                .unwrap()
        });
    });
    group.bench_function("portable", |bencher| {
        bencher.iter(|| {
            dpop::verify(black_box(&proved.proof), &proved.request(), &proved.nonces, NOW, &PortableVerifier)
                .unwrap()
        });
    });
    let message = [1; 400];
    let signature = proved.key.sign(&message);
    let key = proved.key.public();
    group.bench_function("signature alone", |bencher| {
        bencher.iter(|| assert!(AwsLcVerifier.verify(&key, black_box(&message), &signature)));
    });
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
