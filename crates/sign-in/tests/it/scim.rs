//! Filters, paths and PATCH bodies as providers write them.
#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is passed as it stands")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use usher_identity::scim::{
    AttributeError, Attributes, Filter, MemberChange, PatchError, ResourceType, apply, members,
};
use usher_sign_in::scim::{
    FilterError, MAX_TERMS, ParsePatchError, parse_attribute, parse_filter, parse_patch,
};
use usher_types::UserId;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(object) = value else { panic!("not an object: {value}") };
    object
}

fn user(value: Value) -> Attributes {
    Attributes::read(ResourceType::User, &object(value)).unwrap()
}

fn alice() -> Attributes {
    user(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "alice@example.com",
        "externalId": "00u1",
        "name": {"givenName": "Alice", "familyName": "Smith"},
        "displayName": "Alice Smith",
        "active": true,
        "emails": [
            {"value": "alice@example.com", "type": "work", "primary": true},
            {"value": "alice@home.example", "type": "home"},
        ],
    }))
}

/// What a PATCH makes of a user.
fn patched(before: &Attributes, operations: Value) -> Result<Value, PatchError> {
    let body =
        json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
    let operations = parse_patch(before.of(), &object(body)).unwrap();
    Ok(Value::Object(apply(before, &operations)?.0.values().clone()))
}

#[track_caller]
fn check(operations: Value, attribute: &str, expected: Value) {
    let after = patched(&alice(), operations.clone()).unwrap();
    assert_eq!(after.get(attribute).cloned().unwrap_or_default(), expected, "after {operations}");
}

fn member_changes(operations: Value) -> Result<Vec<MemberChange>, PatchError> {
    let group = Attributes::read(ResourceType::Group, &object(json!({"displayName": "SRE"}))).unwrap();
    let operations = parse_patch(ResourceType::Group, &object(json!({"Operations": operations}))).unwrap();
    Ok(apply(&group, &operations)?.1)
}

fn somebody(number: u8) -> UserId {
    UserId::new(usher_types::UnixTime::from_secs(1_790_000_000), [number; 10])
}

mod dialects {
    use super::*;

    #[test]
    fn entra_disables_with_a_capital_and_a_text() {
        check(json!([{"op": "Replace", "path": "active", "value": "False"}]), "active", json!(false));
        check(json!([{"op": "replace", "value": {"active": "False"}}]), "active", json!(false));
        check(json!([{"op": "Add", "path": "active", "value": "True"}]), "active", json!(true));
    }

    #[test]
    fn entra_puts_one_value_into_an_array_of_objects() {
        check(
            json!([{"op": "Add", "path": "displayName", "value": [{"$ref": null, "value": "Alice S."}]}]),
            "displayName",
            json!("Alice S."),
        );
    }

    #[test]
    fn entra_writes_paths_as_names_in_the_value() {
        check(
            json!([{"op": "Add", "value": {
                "name.givenName": "Alicia",
                "emails[type eq \"work\"].value": "alicia@example.com",
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department": "Ops",
                "urn:example:unknown:thing": "ignored",
            }}]),
            "name",
            json!({"givenName": "Alicia", "familyName": "Smith"}),
        );
    }

    #[test]
    fn entra_adds_to_an_address_that_is_not_there_yet() {
        check(
            json!([{"op": "Add", "path": "emails[type eq \"other\"].value", "value": "a@other.example"}]),
            "emails",
            json!([
                {"value": "alice@example.com", "type": "work", "primary": true},
                {"value": "alice@home.example", "type": "home"},
                {"value": "a@other.example", "type": "other"},
            ]),
        );
    }

    #[test]
    fn entra_sets_a_manager_by_the_id_alone() {
        let expected = json!({"manager": {"value": "7"}});
        for path in ["manager", "manager.value"] {
            let path = format!("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:{path}");
            check(
                json!([{"op": "Add", "path": path, "value": "7"}]),
                "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
                expected.clone(),
            );
        }
    }

    #[test]
    fn okta_replaces_without_a_path() {
        check(json!([{"op": "replace", "value": {"active": false}}]), "active", json!(false));
        check(
            json!([{"op": "replace", "value": {"id": "usr_x", "displayName": "A", "meta": {"version": "9"}}}]),
            "displayName",
            json!("A"),
        );
    }

    #[test]
    fn members_leave_in_every_spelling() {
        let (alice, bob) = (somebody(1), somebody(2));
        let leave = |operation: Value| member_changes(json!([operation])).unwrap();
        let expected = vec![MemberChange::Remove(vec![alice])];
        assert_eq!(
            leave(json!({"op": "remove", "path": format!("members[value eq \"{alice}\"]")})),
            expected
        );
        assert_eq!(leave(json!({"op": "Remove", "path": "members", "value": [{"value": alice}]})), expected);
        assert_eq!(
            leave(
                json!({"op": "remove", "path": format!("members[value eq \"{alice}\" or value eq \"{bob}\"]")})
            ),
            vec![MemberChange::Remove(vec![alice, bob])]
        );
        assert_eq!(leave(json!({"op": "remove", "path": "members"})), vec![MemberChange::RemoveAll]);
        // Somebody who cannot exist is no member.
        assert_eq!(
            leave(json!({"op": "remove", "path": "members[value eq \"x\"]"})),
            vec![MemberChange::Remove(Vec::new())]
        );
    }

    #[test]
    fn members_join_and_are_replaced() {
        let (alice, bob) = (somebody(1), somebody(2));
        let changes = member_changes(json!([
            {"op": "Add", "path": "members", "value": [{"$ref": null, "value": alice}]},
            {"op": "replace", "value": {"members": [{"value": bob, "display": "bob"}], "displayName": "SRE 2"}},
        ]));
        assert_eq!(changes, Ok(vec![MemberChange::Add(vec![alice]), MemberChange::Replace(vec![bob])]));
    }

    #[test]
    fn members_are_users_and_chosen_by_id() {
        let refused = |operation: Value| member_changes(json!([operation])).unwrap_err();
        let group =
            json!({"op": "add", "path": "members", "value": [{"value": somebody(1), "type": "Group"}]});
        assert!(matches!(refused(group), PatchError::Attribute(AttributeError::Value { .. })));
        let by_type = json!({"op": "remove", "path": "members[type eq \"User\"]"});
        assert_eq!(refused(by_type), PatchError::MemberFilter);
        assert!(members(&object(json!({"members": [{"value": "root"}]}))).is_err());
        assert_eq!(members(&object(json!({"Members": null}))), Ok(Some(Vec::new())));
        assert_eq!(members(&object(json!({}))), Ok(None));
    }
}

mod patch {
    use super::*;

    #[test]
    fn a_list_is_added_to_replaced_and_emptied() {
        let more = json!({"value": "x@example.com"});
        let after = patched(&alice(), json!([{"op": "add", "path": "emails", "value": [more]}])).unwrap();
        assert_eq!(after["emails"].as_array().unwrap().len(), 3);
        check(json!([{"op": "replace", "path": "emails", "value": [more]}]), "emails", json!([more]));
        check(json!([{"op": "replace", "path": "emails", "value": []}]), "emails", json!(null));
        check(json!([{"op": "remove", "path": "emails"}]), "emails", json!(null));
    }

    #[test]
    fn the_new_primary_value_takes_the_place_of_the_old() {
        check(
            json!([{"op": "add", "path": "emails", "value": [{"value": "new@example.com", "primary": true}]}]),
            "emails",
            json!([
                {"value": "alice@example.com", "type": "work", "primary": false},
                {"value": "alice@home.example", "type": "home"},
                {"value": "new@example.com", "primary": true},
            ]),
        );
        check(
            json!([{"op": "replace", "path": "emails[type eq \"home\"].primary", "value": "true"}]),
            "emails",
            json!([
                {"value": "alice@example.com", "type": "work", "primary": false},
                {"value": "alice@home.example", "type": "home", "primary": true},
            ]),
        );
    }

    #[test]
    fn only_what_matches_is_removed() {
        let work = json!([{"value": "alice@example.com", "type": "work", "primary": true}]);
        check(json!([{"op": "remove", "path": "emails[type eq \"HOME\"]"}]), "emails", work.clone());
        check(
            json!([{"op": "remove", "path": "emails", "value": [{"value": "alice@home.example"}]}]),
            "emails",
            work,
        );
        check(json!([{"op": "remove", "path": "name.givenName"}]), "name", json!({"familyName": "Smith"}));
    }

    #[test]
    fn a_replace_finds_its_target_or_is_refused() {
        let operations =
            json!([{"op": "replace", "path": "emails[value co \"nowhere\"].type", "value": "x"}]);
        assert_eq!(patched(&alice(), operations), Err(PatchError::NoTarget("emails")));
    }

    #[test]
    fn what_is_not_the_providers_is_refused_by_name() {
        for path in ["id", "meta.created", "groups", "meta"] {
            let operations = json!([{"op": "replace", "path": path, "value": "x"}]);
            assert!(
                matches!(
                    patched(&alice(), operations),
                    Err(PatchError::Attribute(AttributeError::ReadOnly(_)))
                ),
                "{path}"
            );
        }
        for path in ["team_admin", "status", "unix_user_name", "connector_id", "password", "roles"] {
            let body = json!({"Operations": [{"op": "replace", "path": path, "value": "x"}]});
            let refused = parse_patch(ResourceType::User, &object(body));
            assert!(matches!(refused, Err(ParsePatchError::Path(_))), "{path}");
        }
    }

    #[test]
    fn an_external_id_is_set_once() {
        let immutable = Err(PatchError::Attribute(AttributeError::Immutable("externalId")));
        assert_eq!(
            patched(&alice(), json!([{"op": "replace", "path": "externalId", "value": "x"}])),
            immutable
        );
        assert_eq!(patched(&alice(), json!([{"op": "remove", "path": "externalId"}])), immutable);
        check(json!([{"op": "replace", "path": "externalId", "value": "00u1"}]), "externalId", json!("00u1"));
        let nobody = user(json!({"userName": "n"}));
        let twice = json!([{"op": "add", "path": "externalId", "value": "a"}, {"op": "add", "path": "externalId", "value": "b"}]);
        assert_eq!(patched(&nobody, twice), immutable);
    }

    #[test]
    fn a_name_is_required_and_bounded() {
        let refused = |operations| patched(&alice(), operations).unwrap_err();
        let missing = PatchError::Attribute(AttributeError::Missing("userName"));
        assert_eq!(refused(json!([{"op": "remove", "path": "userName"}])), missing);
        let silent = PatchError::Attribute(AttributeError::Missing("active"));
        assert_eq!(
            refused(json!([{"op": "remove", "path": "active"}])),
            silent,
            "nobody is let in by saying nothing"
        );
        assert_eq!(refused(json!([{"op": "replace", "path": "active", "value": null}])), silent);
        assert_eq!(refused(json!([{"op": "replace", "path": "userName", "value": " "}])), missing);
        let long = json!([{"op": "replace", "path": "userName", "value": "x".repeat(257)}]);
        assert!(matches!(refused(long), PatchError::Attribute(AttributeError::Value { .. })));
    }

    #[test]
    fn nothing_happens_unless_everything_does() {
        let before = alice();
        let operations = json!([{"op": "replace", "path": "active", "value": false}, {"op": "remove", "path": "userName"}]);
        assert!(patched(&before, operations).is_err());
        assert_eq!(before, alice());
    }

    #[test]
    fn a_resource_cannot_grow_without_bound() {
        let many: Vec<_> = (0..101).map(|number| json!({"value": number.to_string()})).collect();
        assert!(patched(&alice(), json!([{"op": "add", "path": "emails", "value": many}])).is_err());
        let mut grown = alice();
        let mut rounds = 0;
        while rounds < 100 {
            let long: Vec<_> =
                (0..20).map(|n| json!({"value": format!("{rounds}-{n}-{}", "x".repeat(900))})).collect();
            let body = json!({"Operations": [{"op": "add", "path": "emails", "value": long}]});
            match apply(&grown, &parse_patch(ResourceType::User, &object(body)).unwrap()) {
                Ok((more, _)) => grown = more,
                Err(_) => break,
            }
            rounds += 1;
        }
        assert!(rounds < 5, "{rounds} rounds");
    }

    #[test]
    fn bodies_that_are_none_are_refused() {
        let refused = |body| parse_patch(ResourceType::User, &object(body)).unwrap_err();
        assert!(matches!(refused(json!({})), ParsePatchError::Syntax(_)));
        assert!(matches!(refused(json!({"Operations": []})), ParsePatchError::Syntax(_)));
        assert!(matches!(refused(json!({"Operations": [1]})), ParsePatchError::Syntax(_)));
        assert!(matches!(
            refused(json!({"Operations": [{"op": "test", "path": "active"}]})),
            ParsePatchError::Syntax(_)
        ));
        assert!(matches!(refused(json!({"Operations": [{"op": "remove"}]})), ParsePatchError::NoTarget));
        let many: Vec<_> = (0..1001).map(|_| json!({"op": "remove", "path": "title"})).collect();
        assert!(matches!(refused(json!({"Operations": many})), ParsePatchError::TooMany));
        let schemas = json!({"schemas": ["urn:x"], "Operations": [{"op": "remove", "path": "title"}]});
        assert!(matches!(refused(schemas), ParsePatchError::Syntax(_)));
    }
}

mod replace {
    use super::*;

    #[test]
    fn what_is_not_said_is_cleared_but_for_who_it_is_and_whether_it_is_let_in() {
        let before = patched(&alice(), json!([{"op": "replace", "path": "active", "value": false}])).unwrap();
        let before = user(before);
        let after = user(json!({"userName": "alice2@example.com"})).replacing(&before).unwrap();
        let expected = json!({"userName": "alice2@example.com", "externalId": "00u1", "active": false});
        assert_eq!(Value::Object(after.values().clone()), expected);
        let other = user(json!({"userName": "a", "externalId": "00u2"}));
        assert_eq!(other.replacing(&before).unwrap_err(), AttributeError::Immutable("externalId"));
    }

    #[test]
    fn internal_attributes_of_a_body_are_not_read() {
        let read = user(json!({
            "userName": "a", "id": "usr_1", "team_role": "owner", "status": "active", "unix_user_name": "root",
            "connector_id": "idp_1", "password": "secret", "roles": [{"value": "owner"}],
            "groups": [{"value": "grp_1"}], "meta": {"created": "2020-01-01T00:00:00Z"},
        }));
        assert_eq!(Value::Object(read.values().clone()), json!({"userName": "a"}));
    }
}

mod filters {
    use super::*;

    #[track_caller]
    fn check(filter: &str, expected: bool) {
        let parsed =
            parse_filter(ResourceType::User, filter).unwrap_or_else(|error| panic!("`{filter}`: {error}"));
        assert_eq!(parsed.matches(alice().values()), expected, "`{filter}`");
    }

    #[test]
    fn match_as_the_standard_says() {
        check("userName eq \"ALICE@example.com\"", true);
        check("username Eq \"alice@example.com\"", true);
        check("userName ne \"alice@example.com\"", false);
        check("externalId eq \"00U1\"", false);
        check("userName sw \"ali\" and userName ew \".com\" and userName co \"@EX\"", true);
        check("title pr", false);
        check("title ne \"Boss\"", true);
        check("title eq null", true);
        check("not (title pr)", true);
        check("active eq true", true);
        check("active eq \"True\"", true);
        check("name.familyName gt \"sm\" and name.familyName le \"smith\"", true);
        check("emails.value eq \"alice@home.example\"", true);
        check("emails co \"home\"", true);
        check("emails[type eq \"work\" and value co \"home\"]", false);
        check("emails[type eq \"home\" and value co \"home\"]", true);
        check("emails.type ne \"work\"", true);
        check("emails pr and not (phoneNumbers pr)", true);
        check("title pr or (active eq true and userName pr)", true);
        check("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"alice@example.com\"", true);
        check("urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"x\"", false);
    }

    #[test]
    fn bombs_are_refused() {
        let refused = |filter: &str| parse_filter(ResourceType::User, filter).unwrap_err();
        let deep = format!("{}title pr{}", "not (".repeat(9), ")".repeat(9));
        assert_eq!(refused(&deep), FilterError::TooMany);
        let wide = vec!["title pr"; MAX_TERMS + 1].join(" or ");
        assert_eq!(refused(&wide), FilterError::TooMany);
        assert_eq!(refused(&format!("title eq \"{}\"", "x".repeat(5000))), FilterError::TooMany);
        assert!(parse_filter(ResourceType::User, &vec!["title pr"; MAX_TERMS].join(" or ")).is_ok());
        let nested = "(".repeat(2000);
        assert_eq!(refused(&nested), FilterError::Form);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for filter in [
            "",
            "userName",
            "userName eq",
            "userName eq 1",
            "active gt true",
            "active eq \"yes\"",
            "meta.created gt \"yesterday\"",
            "password eq \"x\"",
            "status eq \"active\"",
            "team_admin eq true",
            "u.team_admin eq 1",
            "userName eq \"x\" or 1 eq 1",
            "name[familyName eq \"x\"]",
            "emails[nothing eq \"x\"]",
            "userName eq \"\\u0000\"",
            "userName eq \"x\"; DROP TABLE users",
        ] {
            assert!(parse_filter(ResourceType::User, filter).is_err(), "`{filter}`");
        }
        assert!(parse_filter(ResourceType::Group, "userName eq \"x\"").is_err());
        assert!(parse_filter(ResourceType::Group, "members[value eq \"x\"]").is_ok());
        assert!(parse_filter(ResourceType::User, "meta.lastModified gt \"2026-01-31T12:00:00Z\"").is_ok());
        assert!(parse_attribute(ResourceType::User, "emails[type eq \"work\"]").is_err());
    }

    #[test]
    fn terms_are_counted_through_brackets() {
        let filter =
            parse_filter(ResourceType::User, "emails[type eq \"a\" and value pr] or title pr").unwrap();
        assert_eq!(filter.terms(), 3);
        assert_eq!(Filter::And(Vec::new()).terms(), 0);
    }
}

proptest! {
    #[test]
    fn no_text_is_more_than_refused(text in "\\PC{0,60}") {
        let _ = parse_filter(ResourceType::User, &text);
        let _ = parse_attribute(ResourceType::User, &text);
        let body = json!({"Operations": [{"op": "add", "path": text, "value": "x"}]});
        if let Ok(operations) = parse_patch(ResourceType::User, &object(body)) {
            let _ = apply(&alice(), &operations);
        }
    }

    #[test]
    fn a_patch_done_twice_is_a_patch_done_once(
        path in prop::sample::select(vec!["title", "emails", "name", "name.givenName", "active", "emails[type eq \"work\"].value"]),
        op in prop::sample::select(vec!["add", "replace", "remove"]),
        text in "[a-z]{1,5}",
    ) {
        let value = match path {
            "emails" => json!([{"value": text}]),
            "name" => json!({"familyName": text}),
            "active" => json!(text.len() > 2),
            _ => json!(text),
        };
        let op = if path == "active" { "replace" } else { op };
        let operation = if op == "remove" { json!([{"op": op, "path": path}]) } else { json!([{"op": op, "path": path, "value": value}]) };
        let once = patched(&alice(), operation.clone()).unwrap();
        let twice = patched(&user(once.clone()), operation).unwrap();
        prop_assert_eq!(once, twice);
    }
}
