//! Properties: whatever is authorized comes out, and nothing else gets in.

use std::{net::IpAddr, time::Duration};

use proptest::prelude::*;
use usher_ca::{Serial, Signer as _, SourceAddresses, inspect, prepare, verify_at};
use usher_testkit::{NOW, fixture, rng};
use usher_types::{KeyId, Principal, UnixTime, ValidityWindow};

use crate::{
    example::{Example, ed25519, p256, subject},
    forge::{Forged, text_of},
};

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}

fn network() -> impl Strategy<Value = ipnet::IpNet> {
    (address(), any::<u8>()).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        ipnet::IpNet::new(address, length % (most + 1)).unwrap()
    })
}

fn source() -> impl Strategy<Value = SourceAddresses> {
    prop_oneof![
        Just(SourceAddresses::any()),
        prop::collection::vec(network(), 1..=32).prop_map(|list| SourceAddresses::only(list).unwrap()),
    ]
}

prop_compose! {
    fn example()(
        login in "[a-z_][a-z0-9_-]{0,29}[a-z0-9]",
        slug in "[a-z][a-z0-9-]{0,29}[a-z0-9]",
        numbers in any::<[u16; 3]>(),
        hop in any::<bool>(),
        skew in 0_u64..=120,
        lifetime in 1_u64..=480,
        pty in any::<bool>(),
        forwarding in any::<bool>(),
        source in source(),
        client_address in prop::option::of(address()),
    ) -> Option<Example> {
        let login = login.parse().ok()?;
        let slug = slug.parse().ok()?;
        let [one, two, three] = numbers.map(fixture::server);
        Some(Example {
            principal: if hop { Principal::hop(one, two) } else { Principal::login(&login, three) },
            key_id: KeyId::new(&slug, &login, fixture::device(numbers[0]), fixture::connection(numbers[1])),
            window: ValidityWindow::around(NOW, Duration::from_secs(skew), Duration::from_secs(lifetime)).unwrap(),
            pty, forwarding, source, client_address,
        })
    }
}

fn limit() -> impl Strategy<Value = u64> {
    let ends = [0, 1 << 31, 1 << 32, 253_402_300_800, i64::MAX.unsigned_abs(), u64::MAX];
    let near = (prop::sample::select(ends.to_vec()), -700..700_i64);
    prop_oneof![
        any::<u64>(),
        near.prop_map(|(end, offset)| end.saturating_add_signed(offset)),
        (-700..700_i64).prop_map(|offset| NOW.as_secs().unsigned_abs().saturating_add_signed(offset)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn certificates_say_what_was_authorized(example in example(), seed in any::<u64>(), curve in any::<bool>()) {
        let Some(example) = example else { return Ok(()) };
        let key = if curve { p256() } else { ed25519() };
        let prepared = prepare(example.clone(), &subject(), &key.public_key(), NOW, &mut rng(seed)).unwrap();
        prop_assert!(prepared.bytes().len() < 4096);
        let certificate = prepared.sign_with(&key).unwrap();
        let verified = verify_at(&certificate.to_openssh(), &[key.public_key()], NOW).unwrap();
        prop_assert_eq!(verified.principal(), &example.principal);
        prop_assert_eq!(verified.key_id(), example.key_id.as_str());
        prop_assert_eq!(verified.valid_after(), example.window.valid_after());
        prop_assert_eq!(verified.valid_before(), example.window.valid_before());
        prop_assert_eq!(verified.permit_pty(), example.pty);
        prop_assert_eq!(verified.permit_port_forwarding(), example.forwarding);
        prop_assert_eq!(verified.source_addresses(), &example.source);
        prop_assert_eq!(verified.subject(), &subject());
        prop_assert_eq!(Some(verified.serial()), Serial::new(certificate.serial().get()));
        let names: Vec<_> = inspect(&certificate.to_openssh()).unwrap().extensions.into_keys().collect();
        prop_assert!(names.iter().all(|name| name.ends_with("@usher.internal")
            || (name == "permit-pty" && example.pty)
            || (name == "permit-port-forwarding" && example.forwarding)));
    }

    #[test]
    fn windows_are_half_open(example in example(), offset in -700_000_i64..700_000) {
        let Some(example) = example else { return Ok(()) };
        let key = ed25519();
        let text = prepare(example.clone(), &subject(), &key.public_key(), NOW, &mut rng(1))
            .unwrap().sign_with(&key).unwrap().to_openssh();
        let at = UnixTime::from_millis(NOW.as_millis() + offset);
        prop_assert_eq!(verify_at(&text, &[key.public_key()], at).is_ok(), example.window.contains(at));
    }

    /// Any two numbers, and often ones near an end or near the present; calculated here without any range.
    #[test]
    fn limits_are_taken_as_they_stand(after in limit(), before in limit(), at in limit()) {
        let text = Forged { valid_after: after, valid_before: before, ..Forged::good() }.to_text();
        let now = UnixTime::from_secs(i64::try_from(at).unwrap_or(i64::MAX));
        let accepted = verify_at(&text, &[Forged::authority()], now).is_ok();
        prop_assert_eq!(accepted, 0 < after && after <= at && at < before && before - after <= 600 && before <= 253_402_300_800);
        let read = inspect(&text).unwrap();
        prop_assert_eq!((read.valid_after, read.valid_before), (
            (after != 0).then(|| UnixTime::from_secs(i64::try_from(after).unwrap_or(i64::MAX))),
            (before != u64::MAX).then(|| UnixTime::from_secs(i64::try_from(before).unwrap_or(i64::MAX))),
        ));
    }

    #[test]
    fn one_changed_byte_is_one_too_many(position in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        let mut blob = Forged::good().to_blob();
        let position = position.index(blob.len());
        blob[position] ^= flip;
        prop_assert!(verify_at(&text_of(&blob), &[Forged::authority()], NOW).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn only_principals_of_ours_are_accepted(
        principals in prop::collection::vec(
            prop_oneof![
                any::<Vec<u8>>(),
                "[a-z*?!,@. ]{0,20}".prop_map(String::into_bytes),
                "(alice|root|usher-hop|al ice)[@,]srv_[0-7][0-9a-hjkmnp-tv-z]{25}[ ,\\n]?".prop_map(String::into_bytes),
            ],
            0..3,
        ),
    ) {
        let forged = Forged { principals: principals.clone(), ..Forged::good() };
        let accepted = verify_at(&forged.to_text(), &[Forged::authority()], NOW).is_ok();
        let ours = match principals.as_slice() {
            [only] => std::str::from_utf8(only).is_ok_and(|text| {
                text.parse::<Principal>().is_ok_and(|read| read.to_string() == text)
            }),
            _ => false,
        };
        prop_assert_eq!(accepted, ours);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in ".{0,80}") {
        for text in [text_of(&bytes), text] {
            let _ = inspect(&text);
            prop_assert!(verify_at(&text, &[Forged::authority()], NOW).is_err());
        }
    }
}
