//! What providers say over SCIM: in whose name, under which names here, and what it does to access.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher_identity::{
    UserStatus,
    scim::{Attribute, Attributes, Filter, MemberChange, Order, ResourceType, Test, TextTest},
};
use usher_store::{
    ConnectorState, JoinRule, WriteTx,
    connectors::{self, Connector, ConnectorSettings},
    project_groups, project_users,
    scim::{
        ListError, Listing,
        groups::{self as scim_groups, Moves, ScimGroup, WriteGroupError},
        tokens::{self, ScimToken},
        users::{self as scim_users, ScimUser, WriteUserError},
    },
    sessions, users,
};
use usher_types::{ConnectorId, GroupId, Sha256, TeamRole, TokenId, UnixTime, UserId};

use crate::support::{Db, NOW, admin, project, session, unique, user, user_record};

async fn connector(tx: &mut WriteTx, name: &str) -> Connector {
    let connector = Connector {
        id: ConnectorId::new(NOW, unique()),
        name: name.parse().unwrap(),
        oidc: None,
        settings: ConnectorSettings::default(),
        join_rule: JoinRule::Scim,
        state: ConnectorState::Active,
        created_at: NOW,
    };
    connectors::create(tx, &connector).await.unwrap();
    connector
}

fn said(value: &Value) -> Attributes {
    Attributes::read(ResourceType::User, value.as_object().unwrap()).unwrap()
}

async fn try_provision(
    tx: &mut WriteTx,
    connector: &Connector,
    value: &Value,
) -> Result<ScimUser, WriteUserError> {
    scim_users::create(tx, connector.id, said(value), UserId::new(NOW, unique()), NOW).await
}

async fn provision(tx: &mut WriteTx, connector: &Connector, value: &Value) -> ScimUser {
    try_provision(tx, connector, value).await.unwrap()
}

async fn new_group(tx: &mut WriteTx, connector: &Connector, name: &str) -> ScimGroup {
    let id = GroupId::new(NOW, unique());
    scim_groups::create(tx, (connector.id, &connector.name), name, None, id, NOW).await.unwrap()
}

fn all() -> Listing {
    Listing { filter: None, sort_by: None, descending: false, skip: 0, count: 100 }
}

#[tokio::test]
async fn names_are_made_once_and_follow_nothing() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    user(&mut tx, "alice").await;
    let okta = connector(&mut tx, "okta").await;
    let names = |user: &ScimUser| (user.user.user_name.to_string(), user.user.unix_user_name.to_string());

    let alice = provision(&mut tx, &okta, &json!({"userName": "alice@example.com", "externalId": "1"})).await;
    assert_eq!(names(&alice), ("alice2".to_owned(), "alice2".to_owned()));
    assert_eq!(alice.user.team_role, TeamRole::Member);
    assert_eq!(alice.user.connector_id, Some(okta.id));
    let root = provision(&mut tx, &okta, &json!({"userName": "root", "displayName": "The: Root"})).await;
    assert_eq!(names(&root), ("root2".to_owned(), "root2".to_owned()));
    assert_eq!(root.user.display_name.as_str(), "The Root");

    for name in ["root@example.com", "bob", "alice"] {
        let renamed = said(&json!({"userName": name, "displayName": "Alice"}));
        let before = scim_users::by_id(&mut tx, okta.id, alice.user.id).await.unwrap().unwrap();
        let renamed =
            scim_users::update(&mut tx, &before, renamed.replacing(&before.attributes).unwrap(), NOW);
        let after = renamed.await.unwrap();
        assert_eq!(names(&after), names(&alice));
        assert_eq!((after.attributes.name(), after.version), (name, before.version + 1));
        assert_eq!(users::by_id(&mut tx, alice.user.id).await.unwrap(), Some(after.user));
    }
}

#[tokio::test]
async fn a_user_is_of_its_connector_alone() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let local = user(&mut tx, "local").await;
    let (okta, entra) = (connector(&mut tx, "okta").await, connector(&mut tx, "entra").await);
    let alice = provision(&mut tx, &okta, &json!({"userName": "alice", "externalId": "1"})).await;
    let other = provision(&mut tx, &entra, &json!({"userName": "ALICE", "externalId": "1"})).await;
    assert_ne!(alice.user.id, other.user.id);
    for id in [local.id, other.user.id] {
        assert_eq!(scim_users::by_id(&mut tx, okta.id, id).await.unwrap(), None);
    }
    let seen = scim_users::list(&mut tx, okta.id, &all()).await.unwrap();
    assert_eq!((seen.total, seen.items), (1, vec![alice.clone()]));

    for (value, attribute) in [
        (json!({"userName": "Alice", "externalId": "2"}), "userName"),
        (json!({"userName": "bob", "externalId": "1"}), "externalId"),
    ] {
        let taken = try_provision(&mut tx, &okta, &value).await.unwrap_err();
        assert!(matches!(taken, WriteUserError::Taken(which) if which == attribute), "{taken}");
    }
    let group = new_group(&mut tx, &okta, "SRE").await;
    for stranger in [local.id, other.user.id] {
        let change = [MemberChange::Add(vec![stranger])];
        let refused = scim_groups::change_members(&mut tx, okta.id, group.group.id, &change, NOW).await;
        assert!(matches!(refused, Err(WriteGroupError::NotAUser(id)) if id == stranger));
    }
    assert_eq!(scim_groups::by_id(&mut tx, entra.id, group.group.id).await.unwrap(), None);
}

#[tokio::test]
async fn who_signed_in_first_is_found_by_its_external_id() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let known = usher_identity::UserRecord { connector_id: Some(okta.id), ..user_record("alice") };
    users::create(&mut tx, &known).await.unwrap();
    connectors::bind(&mut tx, okta.id, &"1".parse().unwrap(), &known).await.unwrap();
    let said = provision(&mut tx, &okta, &json!({"userName": "alice@example.com", "externalId": "1"})).await;
    assert_eq!((said.user.id, said.user.unix_user_name), (known.id, known.unix_user_name));
}

#[tokio::test]
async fn a_deactivation_ends_sessions_and_moves_the_epoch() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let alice = provision(&mut tx, &okta, &json!({"userName": "alice"})).await;
    let (_, open) = session(&mut tx, &alice.user).await;
    tx.commit().await.unwrap();
    let before = db.store.read().await.unwrap().epoch().await.unwrap();

    let mut tx = db.store.begin().await.unwrap();
    let inactive = said(&json!({"userName": "alice", "active": "False"}));
    let disabled = scim_users::update(&mut tx, &alice, inactive, NOW).await.unwrap();
    assert_eq!(disabled.user.status, UserStatus::Disabled);
    tx.commit().await.unwrap();
    let mut reader = db.store.read().await.unwrap();
    assert!(reader.epoch().await.unwrap() > before);
    let rows = sessions::caller(&mut reader, open.token_id).await.unwrap().unwrap();
    assert!(rows.session.ended_at.is_some());
}

#[tokio::test]
async fn whom_somebody_here_disabled_the_provider_does_not_let_in_by_saying_the_same_again() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let alice = provision(&mut tx, &okta, &json!({"userName": "alice", "active": true})).await;
    let disable = users::UserChange { status: Some(UserStatus::Disabled), ..users::UserChange::default() };
    users::update(&mut tx, &alice.user, &disable, NOW).await.unwrap();
    let mut step = async |value: Value| {
        let before = scim_users::by_id(&mut tx, okta.id, alice.user.id).await.unwrap().unwrap();
        scim_users::update(&mut tx, &before, said(&value), NOW).await.unwrap().user.status
    };
    let same = json!({"userName": "alice", "active": true, "title": "Boss"});
    assert_eq!(step(same.clone()).await, UserStatus::Disabled);
    assert_eq!(step(json!({"userName": "alice", "active": false})).await, UserStatus::Disabled);
    assert_eq!(step(same).await, UserStatus::Active);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let alice = provision(&mut tx, &okta, &json!({"userName": "alice"})).await;
    let promote = users::UserChange { team_role: Some(TeamRole::Owner), ..users::UserChange::default() };
    users::update(&mut tx, &alice.user, &promote, NOW).await.unwrap();
    let alice = scim_users::by_id(&mut tx, okta.id, alice.user.id).await.unwrap().unwrap();
    let inactive = said(&json!({"userName": "alice", "active": false}));
    let refused = scim_users::update(&mut tx, &alice, inactive.clone(), NOW).await;
    assert!(matches!(refused, Err(WriteUserError::Change(_))));
    admin(&mut tx, "another").await;
    assert!(scim_users::update(&mut tx, &alice, inactive, NOW).await.is_ok());
}

#[tokio::test]
async fn members_move_in_order_and_the_epoch_with_them() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let group = new_group(&mut tx, &okta, "SRE").await.group.id;
    let mut people = Vec::new();
    for number in 0..70 {
        let said = json!({"userName": format!("user{number}")});
        people.push(provision(&mut tx, &okta, &said).await.user.id);
    }
    tx.commit().await.unwrap();
    let mut epoch = db.store.read().await.unwrap().epoch().await.unwrap();
    let (a, b, c) = (people[0], people[1], people[2]);
    let of = |ids: &[UserId]| ids.iter().copied().collect::<BTreeSet<_>>();
    for (changes, joined, left, moves) in [
        (vec![MemberChange::Add(vec![a, b, a])], of(&[a, b]), of(&[]), true),
        (vec![MemberChange::Add(vec![a])], of(&[]), of(&[]), false),
        (vec![MemberChange::Remove(vec![a, c]), MemberChange::Add(vec![a])], of(&[]), of(&[]), false),
        (vec![MemberChange::Replace(vec![b, c])], of(&[c]), of(&[a]), true),
        (
            vec![MemberChange::Add(people.clone())],
            of(&people).difference(&of(&[b, c])).copied().collect(),
            of(&[]),
            true,
        ),
        (vec![MemberChange::RemoveAll, MemberChange::Add(vec![a])], of(&[]), of(&people[1..]), true),
    ] {
        let mut tx = db.store.begin().await.unwrap();
        let done = scim_groups::change_members(&mut tx, okta.id, group, &changes, NOW).await.unwrap();
        assert_eq!(done, Moves { joined, left });
        tx.commit().await.unwrap();
        let now = db.store.read().await.unwrap().epoch().await.unwrap();
        assert_eq!(now > epoch, moves, "{changes:?}");
        epoch = now;
    }
}

#[tokio::test]
async fn a_group_goes_with_its_roles() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let group = new_group(&mut tx, &okta, "Site Reliability").await;
    assert_eq!(group.group.name.as_str(), "okta.site-reliability");
    assert_eq!(
        new_group(&mut tx, &okta, "site reliability").await.group.name.as_str(),
        "okta.site-reliability2"
    );
    let prod = project(&mut tx, "prod").await;
    let alice = provision(&mut tx, &okta, &json!({"userName": "alice"})).await.user.id;
    let add = [MemberChange::Add(vec![alice])];
    scim_groups::change_members(&mut tx, okta.id, group.group.id, &add, NOW).await.unwrap();
    project_groups::set(&mut tx, prod.id, &group.group, project_groups::Role::Admin, NOW).await.unwrap();
    project_users::allocate(&mut tx, project_users::Scope::Project(prod.id), NOW).await.unwrap();

    let renamed = scim_groups::update(&mut tx, &group, "Platform", Some("g1"), NOW).await.unwrap();
    assert_eq!((renamed.display_name(), &renamed.group.name), ("Platform", &group.group.name));
    for name in ["owners", "EVERYONE"] {
        let refused = scim_groups::update(&mut tx, &renamed, name, None, NOW).await;
        assert!(matches!(refused, Err(WriteGroupError::Reserved(_))), "{name}");
    }
    assert_eq!(scim_groups::delete(&mut tx, &renamed.group, NOW).await.unwrap(), [prod.id]);
    assert_eq!(project_groups::list(&mut tx, prod.id).await.unwrap(), []);
    assert_eq!(scim_groups::list(&mut tx, okta.id, &all()).await.unwrap().total, 1);
}

#[tokio::test]
async fn a_token_is_kept_until_it_is_revoked() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let owner = admin(&mut tx, "owner").await;
    let token = ScimToken {
        id: TokenId::new(NOW, unique()),
        connector_id: okta.id,
        connector: okta.name.clone(),
        connector_state: ConnectorState::Active,
        description: "okta".parse().unwrap(),
        hash: Sha256::of(b"secret"),
        cidr: Some("10.0.0.0/8".parse().unwrap()),
        created_by: owner.id,
        created_by_name: owner.user_name,
        created_at: NOW,
        expires_at: UnixTime::from_secs(NOW.as_secs() + 60),
        revoked_at: None,
        last_used_at: None,
    };
    tokens::create(&mut tx, &token).await.unwrap();
    assert_eq!(tokens::list(&mut tx).await.unwrap(), std::slice::from_ref(&token));
    tokens::used(&mut tx, token.id, NOW).await.unwrap();
    assert!(tokens::revoke(&mut tx, token.id, NOW).await.unwrap());
    assert!(!tokens::revoke(&mut tx, token.id, NOW).await.unwrap());
    let expected = ScimToken { revoked_at: Some(NOW), last_used_at: Some(NOW), ..token };
    assert_eq!(tokens::by_id(&mut tx, expected.id).await.unwrap(), Some(expected));
}

/// Attributes by their names, from the resource inwards.
fn path(of: ResourceType, names: &[&str]) -> Vec<&'static Attribute> {
    let mut steps = vec![of.attribute(names[0]).unwrap()];
    for name in &names[1..] {
        steps.push(steps.last().unwrap().part(name).unwrap());
    }
    steps
}

fn test(names: &[&str], test: Test) -> Filter {
    Filter::Test { path: path(ResourceType::User, names), test }
}

fn any(attribute: &str, filter: Filter) -> Filter {
    let attribute = ResourceType::User.attribute(attribute).unwrap();
    // Inside, paths begin at the value.
    let inner = |path: Vec<&'static Attribute>| path[1..].to_vec();
    let filter = match filter {
        Filter::Test { path, test } => Filter::Test { path: inner(path), test },
        other => other,
    };
    Filter::Any { attribute, filter: Box::new(filter) }
}

const ENTERPRISE: &str = usher_identity::scim::ENTERPRISE_URN;

/// Filters of every kind over what [`people`] have.
fn filters() -> Vec<Filter> {
    let texts = ["", "a", "A", "smith", "work", "é", "%", "_", "'", "\"", "x\\y"];
    let tests = [
        TextTest::Contains,
        TextTest::Ends,
        TextTest::Starts,
        TextTest::Order(Order::Equal),
        TextTest::Order(Order::Greater),
        TextTest::Order(Order::GreaterOrEqual),
        TextTest::Order(Order::Less),
        TextTest::Order(Order::LessOrEqual),
    ];
    let places: [&[&str]; 5] = [
        &["title"],
        &["name", "familyName"],
        &["externalId"],
        &[ENTERPRISE, "department"],
        &[ENTERPRISE, "manager", "value"],
    ];
    let mut simple = Vec::new();
    for place in places {
        simple.push(test(place, Test::Present));
        for kind in tests {
            simple.extend(texts.map(|text| test(place, Test::Text(kind, text.to_owned()))));
        }
    }
    for kind in tests {
        for text in texts {
            for part in ["value", "type"] {
                simple.push(any("emails", test(&["emails", part], Test::Text(kind, text.to_owned()))));
            }
        }
    }
    simple.push(test(&["emails"], Test::Present));
    for flag in [true, false] {
        simple.push(any("emails", test(&["emails", "primary"], Test::Flag(flag))));
    }
    let mut all = Vec::new();
    for (index, filter) in simple.iter().enumerate() {
        let other = simple[(index * 7 + 3) % simple.len()].clone();
        all.push(filter.clone());
        all.push(Filter::Not(Box::new(filter.clone())));
        all.push(Filter::And(vec![filter.clone(), Filter::Not(Box::new(other.clone()))]));
        all.push(Filter::Or(vec![Filter::Not(Box::new(filter.clone())), other]));
    }
    all.extend([Filter::And(Vec::new()), Filter::Or(Vec::new())]);
    all
}

fn people() -> Vec<Value> {
    vec![
        json!({"userName": "a", "title": "a", "externalId": "a"}),
        json!({"userName": "b", "title": "A%_", "externalId": "A"}),
        json!({"userName": "c", "name": {"familyName": "Smith"}, "emails": [{"value": "a@x", "type": "work", "primary": true}]}),
        json!({"userName": "d", "name": {"familyName": "smithson", "givenName": "D"}, "emails": [{"value": "b@x"}, {"type": "Work", "primary": false}]}),
        json!({"userName": "e", "title": "é", "externalId": "smith", ENTERPRISE: {"department": "work", "manager": {"value": "A"}}}),
        json!({"userName": "f", "title": "it's \"x\\y\"", ENTERPRISE: {"department": "it's"}}),
        json!({"userName": "g"}),
    ]
}

/// SQL and the tree's own reading of a filter are the same, on both engines.
#[tokio::test]
async fn a_filter_finds_what_it_matches() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let mut everybody = Vec::new();
    for person in people() {
        everybody.push(provision(&mut tx, &okta, &person).await);
    }
    let entra = connector(&mut tx, "entra").await;
    for person in people() {
        provision(&mut tx, &entra, &person).await;
    }
    for filter in filters() {
        let expected: Vec<_> =
            everybody.iter().filter(|user| filter.matches(user.attributes.values())).cloned().collect();
        let listing = Listing { filter: Some(filter.clone()), ..all() };
        let found = scim_users::list(&mut tx, okta.id, &listing).await.unwrap();
        assert_eq!(found.items, expected, "{filter:?}");
        assert_eq!(found.total, u64::try_from(expected.len()).unwrap());
    }
}

#[tokio::test]
async fn what_is_kept_in_columns_is_found_too() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    let alice = provision(&mut tx, &okta, &json!({"userName": "Élise@example.com"})).await;
    let bob = provision(&mut tx, &okta, &json!({"userName": "bob", "active": false})).await;
    let group = new_group(&mut tx, &okta, "SRE").await;
    let add = [MemberChange::Add(vec![alice.user.id])];
    scim_groups::change_members(&mut tx, okta.id, group.group.id, &add, NOW).await.unwrap();

    let text = |text: &str| Test::Text(TextTest::Order(Order::Equal), text.to_owned());
    let group_id = group.group.id.to_string();
    for (filter, expected) in [
        (test(&["userName"], text("éLISE@example.com")), vec![&alice]),
        (test(&["id"], text(&bob.user.id.to_string())), vec![&bob]),
        (test(&["active"], Test::Flag(true)), vec![&alice]),
        (test(&["active"], Test::Flag(false)), vec![&bob]),
        (test(&["meta", "created"], Test::Time(Order::Less, NOW)), vec![]),
        (test(&["meta", "lastModified"], Test::Time(Order::GreaterOrEqual, NOW)), vec![&alice, &bob]),
        (any("groups", test(&["groups", "value"], text(&group_id))), vec![&alice]),
        (any("groups", test(&["groups", "display"], text("sre"))), vec![&alice]),
        (Filter::Not(Box::new(test(&["groups"], Test::Present))), vec![&bob]),
    ] {
        let listing = Listing { filter: Some(filter.clone()), ..all() };
        let found = scim_users::list(&mut tx, okta.id, &listing).await.unwrap();
        assert_eq!(found.items.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let of_group = |names: &[&str], test| Filter::Test { path: path(ResourceType::Group, names), test };
    let members = ResourceType::Group.attribute("members").unwrap();
    let value = vec![members.part("value").unwrap()];
    let member = |id: &str| Filter::Any {
        attribute: members,
        filter: Box::new(Filter::Test { path: value.clone(), test: text(id) }),
    };
    for (filter, total) in [
        (of_group(&["displayName"], text("sre")), 1),
        (of_group(&["displayName"], text("other")), 0),
        (member(&alice.user.id.to_string()), 1),
        (member(&bob.user.id.to_string()), 0),
    ] {
        let listing = Listing { filter: Some(filter.clone()), ..all() };
        assert_eq!(scim_groups::list(&mut tx, okta.id, &listing).await.unwrap().total, total, "{filter:?}");
    }
    let location = test(&["meta", "location"], Test::Present);
    let listing = Listing { filter: Some(location), ..all() };
    let refused = scim_users::list(&mut tx, okta.id, &listing).await.unwrap_err();
    assert!(matches!(refused, ListError::Attribute("location")));
}

#[tokio::test]
async fn lists_are_sorted_and_cut() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector(&mut tx, "okta").await;
    for person in people() {
        provision(&mut tx, &okta, &person).await;
    }
    let mut names = async |sort_by: Option<&[&str]>, descending, skip, count| {
        let sort_by = sort_by.map(|names| path(ResourceType::User, names));
        let listing = Listing { filter: None, sort_by, descending, skip, count };
        let page = scim_users::list(&mut tx, okta.id, &listing).await.unwrap();
        assert_eq!(page.total, 7);
        page.items.iter().map(|user| user.attributes.name().to_owned()).collect::<String>()
    };
    assert_eq!(names(None, false, 0, 100).await, "abcdefg");
    assert_eq!(names(None, true, 0, 2).await, "gf");
    assert_eq!(names(None, false, 5, 100).await, "fg");
    assert_eq!(names(None, false, 7, 100).await, "");
    assert_eq!(names(None, false, 0, 0).await, "");
    assert_eq!(names(Some(&["userName"]), true, 1, 3).await, "fed");
    assert_eq!(names(Some(&["title"]), false, 0, 3).await, "abf");
    assert_eq!(names(Some(&["emails"]), false, 0, 2).await, "cd");
    assert_eq!(names(Some(&["name", "familyName"]), true, 5, 2).await, "dc");
    assert_eq!(names(Some(&["active"]), false, 0, 1).await, "a");
    assert_eq!(names(Some(&["meta", "created"]), false, 0, 1).await, "a");
    let whole = path(ResourceType::User, &["name"]);
    let listing = Listing { sort_by: Some(whole), ..all() };
    assert!(scim_users::list(&mut tx, okta.id, &listing).await.is_err());
}
