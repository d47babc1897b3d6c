//! A decision by roles: twenty groups of the user, twenty of the project.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use usher_benches::{client_address, facts, request, user};
use usher_policy::authorize;
use usher_testkit::{NOW, fixture};

fn decide(criterion: &mut Criterion) {
    let (user, request, allowed) = (user(), request(), facts());
    let denied = usher_policy::AccessFacts { groups: [fixture::group(1)].into(), ..allowed.clone() };
    let mut group = criterion.benchmark_group("authorize");
    for (name, facts) in [("allow", allowed), ("deny", denied)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                authorize(&user, &request, black_box(&facts), fixture::connection(1), client_address(), NOW)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
