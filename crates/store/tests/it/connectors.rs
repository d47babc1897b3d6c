//! Identity providers: one issuer, one connector; one external id, one user.

use usher_identity::{UserRecord, UserStatus};
use usher_store::{
    ConnectorState, ExternalIdClaim, JoinRule,
    connectors::{
        self, BindError, Connector, ConnectorSettings, DeleteConnectorError, OidcClient, WriteConnectorError,
    },
    groups::{self, CreateGroupError},
    sealed, sessions, users,
};
use usher_types::{ConnectorId, ExternalId, GroupId};

use crate::support::{Db, NOW, group, session, unique, user, user_record};

fn connector(name: &str) -> Connector {
    Connector {
        id: ConnectorId::new(NOW, unique()),
        name: name.parse().unwrap(),
        oidc: Some(OidcClient {
            issuer: format!("https://{name}.example"),
            client_id: "usher".to_owned(),
            sealed_secret: Some(b"sealed".to_vec()),
        }),
        settings: ConnectorSettings::default(),
        join_rule: JoinRule::FirstLogin,
        state: ConnectorState::Active,
        created_at: NOW,
    }
}

fn of(connector: &Connector, name: &str) -> UserRecord {
    UserRecord { connector_id: Some(connector.id), ..user_record(name) }
}

fn external(text: &str) -> ExternalId {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_connector_comes_back_as_it_was_stored_and_changed() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let mut okta = connector("okta");
    connectors::create(&mut tx, &okta).await.unwrap();
    let scim_only = Connector { oidc: None, join_rule: JoinRule::Scim, ..connector("entra") };
    connectors::create(&mut tx, &scim_only).await.unwrap();
    assert_eq!(connectors::list(&mut tx).await.unwrap(), [scim_only, okta.clone()]);

    okta.settings = ConnectorSettings {
        scopes: vec!["groups".to_owned()],
        external_id_claim: ExternalIdClaim::Oid,
        groups_claim: Some("groups".to_owned()),
        acr_values: vec!["mfa".to_owned()],
        private_networks: vec!["10.0.0.0/8".parse().unwrap()],
    };
    okta.join_rule = JoinRule::Scim;
    okta.oidc.as_mut().unwrap().sealed_secret = None;
    connectors::update(&mut tx, &okta, NOW).await.unwrap();
    for text in ["okta", &okta.id.to_string()] {
        assert_eq!(connectors::find(&mut tx, text).await.unwrap(), Some(okta.clone()));
    }
    assert_eq!(connectors::find(&mut tx, "OKTA").await.unwrap(), None);
    connectors::delete(&mut tx, &okta).await.unwrap();
    assert_eq!(connectors::by_id(&mut tx, okta.id).await.unwrap(), None);
}

#[tokio::test]
async fn names_issuers_and_the_names_of_groups_belong_to_one_connector() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector("okta");
    connectors::create(&mut tx, &okta).await.unwrap();
    let again = Connector { oidc: None, ..connector("okta") };
    let error = connectors::create(&mut tx, &again).await.unwrap_err();
    assert!(matches!(error, WriteConnectorError::Taken(_)), "{error}");
    let mut other = Connector { oidc: okta.oidc.clone(), ..connector("other") };
    let error = connectors::create(&mut tx, &other).await.unwrap_err();
    assert!(matches!(&error, WriteConnectorError::IssuerTaken(name) if *name == okta.name), "{error}");
    other.oidc = None;
    connectors::create(&mut tx, &other).await.unwrap();
    other.oidc = okta.oidc.clone();
    let error = connectors::update(&mut tx, &other, NOW).await.unwrap_err();
    assert!(matches!(error, WriteConnectorError::IssuerTaken(_)), "{error}");

    group(&mut tx, "google.staff").await;
    let error = connectors::create(&mut tx, &connector("google")).await.unwrap_err();
    assert!(matches!(error, WriteConnectorError::GroupsBegin(_)), "{error}");
    connectors::create(&mut tx, &connector("goog")).await.unwrap();

    // And the other way round: what begins with a connector's name is the connector's to give.
    for (name, refused) in
        [("okta.x", true), ("goog.x", true), ("okta", false), ("oktax.y", false), ("x.okta.y", false)]
    {
        let group = groups::Group::local(GroupId::new(NOW, unique()), name.parse().unwrap(), NOW);
        let outcome = groups::create(&mut tx, &group).await;
        assert_eq!(matches!(outcome, Err(CreateGroupError::Namespace(_))), refused, "{name}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_external_id_is_one_user_of_its_connector_for_ever() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let (okta, entra) = (connector("okta"), connector("entra"));
    connectors::create(&mut tx, &okta).await.unwrap();
    connectors::create(&mut tx, &entra).await.unwrap();
    let (alice, bob) = (of(&okta, "alice"), of(&okta, "bob"));
    users::create(&mut tx, &alice).await.unwrap();
    users::create(&mut tx, &bob).await.unwrap();
    connectors::bind(&mut tx, okta.id, &external("00u1"), &alice).await.unwrap();

    assert_eq!(connectors::user(&mut tx, okta.id, &external("00u1")).await.unwrap(), Some(alice.clone()));
    assert_eq!(connectors::external_id(&mut tx, okta.id, alice.id).await.unwrap(), Some(external("00u1")));
    for (connector, id) in [(&entra, "00u1"), (&okta, "00U1"), (&okta, "00u"), (&okta, "00u1\u{301}")] {
        assert_eq!(connectors::user(&mut tx, connector.id, &external(id)).await.unwrap(), None, "{id}");
    }
    for (id, user) in [("00u1", &bob), ("00u2", &alice)] {
        let error = connectors::bind(&mut tx, okta.id, &external(id), user).await.unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{id}: {error}");
    }

    // Neither the directory of the broker nor another connector's.
    let local = user(&mut tx, "carol").await;
    for (connector, user) in [(&okta, &local), (&entra, &bob)] {
        let error = connectors::bind(&mut tx, connector.id, &external("00u9"), user).await.unwrap_err();
        assert!(matches!(error, BindError::Foreign(_)), "{error}");
    }
}

#[tokio::test]
async fn disabling_a_connector_ends_the_sessions_of_its_users_only() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let mut okta = connector("okta");
    connectors::create(&mut tx, &okta).await.unwrap();
    let alice = of(&okta, "alice");
    users::create(&mut tx, &alice).await.unwrap();
    let local = user(&mut tx, "carol").await;
    let (_, of_alice) = session(&mut tx, &alice).await;
    let (_, of_local) = session(&mut tx, &local).await;
    tx.commit().await.unwrap();
    let before = db.store.read().await.unwrap().epoch().await.unwrap();

    let mut tx = db.store.begin().await.unwrap();
    okta.state = ConnectorState::Disabled;
    connectors::update(&mut tx, &okta, NOW).await.unwrap();
    tx.commit().await.unwrap();

    let mut reader = db.store.read().await.unwrap();
    assert!(reader.epoch().await.unwrap() > before);
    let ended = sessions::caller(&mut reader, of_alice.token_id).await.unwrap().unwrap();
    assert_eq!((ended.session.ended_at, ended.user.connector_id), (Some(NOW), Some(okta.id)));
    assert_eq!(ended.user.status, UserStatus::Active);
    let goes_on = sessions::caller(&mut reader, of_local.token_id).await.unwrap().unwrap();
    assert_eq!(goes_on.session.ended_at, None);
}

#[tokio::test]
async fn a_connector_with_users_or_groups_is_not_deleted() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector("okta");
    connectors::create(&mut tx, &okta).await.unwrap();
    let alice = of(&okta, "alice");
    users::create(&mut tx, &alice).await.unwrap();
    connectors::bind(&mut tx, okta.id, &external("00u1"), &alice).await.unwrap();
    let staff = groups::Group {
        id: GroupId::new(NOW, unique()),
        name: "okta.staff".parse().unwrap(),
        connector_id: Some(okta.id),
        display_name: Some("Staff (EU)".to_owned()),
        created_at: NOW,
    };
    groups::create(&mut tx, &staff).await.unwrap();
    assert_eq!(groups::find(&mut tx, "okta.staff").await.unwrap(), Some(staff.clone()));
    let error = connectors::delete(&mut tx, &okta).await.unwrap_err();
    assert!(matches!(error, DeleteConnectorError::InUse { users: 1, groups: 1, .. }), "{error}");

    users::delete(&mut tx, &alice).await.unwrap();
    groups::delete(&mut tx, &staff).await.unwrap();
    connectors::delete(&mut tx, &okta).await.unwrap();
}

#[tokio::test]
async fn a_client_secret_is_among_what_is_sealed() {
    let db = Db::new().await;
    let mut tx = db.store.begin().await.unwrap();
    let okta = connector("okta");
    connectors::create(&mut tx, &okta).await.unwrap();
    let mut all = sealed::all(&mut tx).await.unwrap();
    let [secret] = all.as_mut_slice() else { panic!("{all:?}") };
    assert_eq!(secret.place, sealed::SealedPlace::ClientSecret(okta.id));
    secret.bytes = b"sealed anew".to_vec();
    sealed::replace_all(&mut tx, &all, usher_types::SealKeyId::new([7; 8])).await.unwrap();
    let read = connectors::by_id(&mut tx, okta.id).await.unwrap().unwrap();
    assert_eq!(read.oidc.unwrap().sealed_secret.as_deref(), Some(b"sealed anew".as_slice()));
}
