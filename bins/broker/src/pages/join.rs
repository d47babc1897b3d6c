//! What a first login by an identity provider makes here: a user with names of its own, and the provider's groups in the
//! connector's namespace. Nobody is ever taken for a user who is there already.

use std::net::IpAddr;

use usher_audit::{Actor, Event, Record};
use usher_identity::{UserRecord, UserStatus, naming};
use usher_sign_in::oidc::{GroupsClaim, ProviderIdentity};
use usher_store::{
    WriteTx,
    connectors::{self, Connector},
    groups::{self, CreateGroupError, Group},
    project_users::{self, Scope},
    users::{self, CreateUserError},
};
use usher_types::{GroupId, Sha256, TeamRole, UnixTime, UserId};

use crate::{error::ApiError, random};

/// Makes the user of an external id that nobody has.
pub(super) async fn create(
    tx: &mut WriteTx,
    connector: &Connector,
    identity: &ProviderIdentity,
    peer: IpAddr,
    now: UnixTime,
) -> Result<UserRecord, ApiError> {
    let id = UserId::new(now, random::bytes()?);
    for (user_name, unix_user_name) in naming::users(identity.user_name()) {
        let said = identity.display_name().and_then(naming::display_name);
        let display_name = match said {
            Some(name) => name,
            None => user_name.as_str().parse().map_err(ApiError::internal)?,
        };
        let user = UserRecord {
            id,
            user_name,
            display_name,
            unix_user_name,
            status: UserStatus::Active,
            team_role: TeamRole::Member,
            connector_id: Some(connector.id),
            created_at: now,
        };
        match users::create(tx, &user).await {
            Ok(()) => {}
            Err(
                CreateUserError::LooksLikeId(_)
                | CreateUserError::Taken { .. }
                | CreateUserError::UnixNameUsed(_),
            ) => continue,
            Err(CreateUserError::Store(error)) => return Err(error.into()),
        }
        let external_id = Sha256::of(identity.external_id().as_str().as_bytes());
        connectors::bind(tx, connector.id, identity.external_id(), &user)
            .await
            .map_err(ApiError::internal)?;
        let created = Event::UserCreate {
            user_id: id,
            user_name: user.user_name.clone(),
            unix_user_name: user.unix_user_name.clone(),
            team_role: TeamRole::Member,
            connector_id: Some(connector.id),
        };
        audit(tx, id, peer, now, created).await?;
        let bound = Event::UserBind { user_id: id, connector_id: connector.id, external_id };
        audit(tx, id, peer, now, bound).await?;
        return Ok(user);
    }
    Err(ApiError::internal("no name is free for a new user"))
}

/// Makes the user's groups of this connector those of the claim: none when it does not hold.
pub(super) async fn groups(
    tx: &mut WriteTx,
    connector: &Connector,
    user: &UserRecord,
    claim: &GroupsClaim,
    peer: IpAddr,
    now: UnixTime,
) -> Result<(), ApiError> {
    let wanted: &[String] = match claim {
        GroupsClaim::NotAsked => return Ok(()),
        GroupsClaim::Listed(groups) => groups,
        GroupsClaim::Faulty(_) => &[],
    };
    let is_wanted = |group: &Group| group.display_name.as_ref().is_some_and(|name| wanted.contains(name));
    let mine: Vec<Group> = groups::of_user(tx, user.id)
        .await?
        .into_iter()
        .filter(|group| group.connector_id == Some(connector.id))
        .collect();
    for group in mine.iter().filter(|group| !is_wanted(group)) {
        groups::remove_member(tx, group.id, user.id).await?;
        let event = Event::GroupRemoveMember { group_id: group.id, user_id: user.id };
        audit(tx, user.id, peer, now, event).await?;
    }
    let known = groups::of_connector(tx, connector.id).await?;
    for name in wanted.iter().filter(|name| !naming::is_reserved_group(name)) {
        let group = match known.iter().find(|group| group.display_name.as_ref() == Some(name)) {
            Some(group) => group.clone(),
            None => new_group(tx, connector, user.id, name, peer, now).await?,
        };
        if groups::add_member(tx, group.id, user.id, now).await? {
            let event = Event::GroupAddMember { group_id: group.id, user_id: user.id };
            audit(tx, user.id, peer, now, event).await?;
        }
    }
    project_users::allocate(tx, Scope::User(user.id), now).await?;
    Ok(())
}

async fn new_group(
    tx: &mut WriteTx,
    connector: &Connector,
    user: UserId,
    display_name: &str,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Group, ApiError> {
    let id = GroupId::new(now, random::bytes()?);
    for name in naming::groups(connector.name.as_str(), display_name) {
        let group = Group {
            id,
            name,
            connector_id: Some(connector.id),
            display_name: Some(display_name.to_owned()),
            created_at: now,
        };
        match groups::create(tx, &group).await {
            Ok(()) => {
                let connector_id = Some(connector.id);
                let event = Event::GroupCreate { group_id: id, group_name: group.name.clone(), connector_id };
                audit(tx, user, peer, now, event).await?;
                return Ok(group);
            }
            Err(CreateGroupError::Store(error)) => return Err(error.into()),
            Err(_taken) => {}
        }
    }
    Err(ApiError::internal("no name is free for a new group"))
}

async fn audit(
    tx: &mut WriteTx,
    user_id: UserId,
    peer: IpAddr,
    now: UnixTime,
    event: Event,
) -> Result<(), ApiError> {
    let actor = Actor::User { user_id, device_id: None, session_id: None };
    tx.audit(&Record { at: now, actor, client_address: Some(peer), event }).await?;
    Ok(())
}
