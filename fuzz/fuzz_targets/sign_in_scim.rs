//! What an identity provider's token lets somebody send: a filter, or a resource and a PATCH of it, one a line. What a PATCH
//! makes of a resource can be stored and read again, and keeps what cannot be changed.
#![no_main]

use serde_json::{Map, Value};
use usher_identity::scim::{Attributes, ResourceType, apply, members};
use usher_sign_in::scim::{MAX_TERMS, parse_attribute, parse_filter, parse_patch};

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    for of in ResourceType::ALL {
        let _ = parse_attribute(of, first);
        let resource = object(first).and_then(|body| {
            let _ = members(&body);
            Attributes::read(of, &body).ok()
        });
        if let Ok(filter) = parse_filter(of, first) {
            assert!(filter.terms() <= MAX_TERMS);
            let _ = object(second).is_some_and(|values| filter.matches(&values));
        }
        let (Some(resource), Some(patch)) = (resource, object(second)) else { continue };
        let Ok(operations) = parse_patch(of, &patch) else { continue };
        if let Ok((after, _members)) = apply(&resource, &operations) {
            assert!(resource.external_id().is_none_or(|id| after.external_id() == Some(id)));
            assert!(!after.name().trim().is_empty());
            assert_eq!(Attributes::stored(of, after.values().clone()).as_ref(), Ok(&after));
            assert_eq!(Attributes::read(of, after.values()).as_ref(), Ok(&after));
        }
    }
});
