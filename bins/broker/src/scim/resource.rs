//! Users and groups as their provider sees them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use usher_identity::{
    UserStatus,
    scim::{ResourceType, schemas},
};
use usher_store::scim::{groups::ScimGroup, users::ScimUser};
use usher_types::{GroupId, UnixTime, UserId};

/// The version of a user. What somebody here did to it makes another of it, too.
pub(super) fn user_version(user: &ScimUser) -> String {
    let disabled = if user.user.status == UserStatus::Disabled { "d" } else { "" };
    format!("W/\"{}{disabled}\"", user.version)
}

/// The version of a group.
pub(super) fn group_version(group: &ScimGroup) -> String {
    format!("W/\"{}\"", group.version)
}

/// A user, with its groups when they were looked up.
pub(super) fn user(base: &str, user: &ScimUser, groups: Option<&BTreeMap<GroupId, String>>) -> Value {
    let mut resource = user.attributes.values().clone();
    resource.insert("active".to_owned(), (user.user.status == UserStatus::Active).into());
    if let Some(groups) = groups.filter(|groups| !groups.is_empty()) {
        let shown = groups.iter().map(|(id, name)| {
            json!({"value": id, "$ref": location(base, ResourceType::Group, id), "display": name})
        });
        resource.insert("groups".to_owned(), shown.collect());
    }
    let (created, changed) = (user.user.created_at, user.changed_at);
    let about = Meta { base, of: ResourceType::User, created, changed, version: user_version(user) };
    resource.insert("schemas".to_owned(), json!(schemas(&user.attributes)));
    about.add_to(resource, &user.user.id.to_string())
}

/// A group, with its members when they were looked up.
pub(super) fn group(base: &str, group: &ScimGroup, members: Option<&BTreeSet<UserId>>) -> Value {
    let mut resource = Map::new();
    resource.insert("schemas".to_owned(), json!([ResourceType::Group.urn()]));
    resource.insert("displayName".to_owned(), group.display_name().into());
    if let Some(external_id) = &group.external_id {
        resource.insert("externalId".to_owned(), external_id.as_str().into());
    }
    if let Some(members) = members.filter(|members| !members.is_empty()) {
        let shown = members
            .iter()
            .map(|id| json!({"value": id, "$ref": location(base, ResourceType::User, id), "type": "User"}));
        resource.insert("members".to_owned(), shown.collect());
    }
    let (created, changed) = (group.group.created_at, group.changed_at);
    let about = Meta { base, of: ResourceType::Group, created, changed, version: group_version(group) };
    about.add_to(resource, &group.group.id.to_string())
}

fn location(base: &str, of: ResourceType, id: &impl std::fmt::Display) -> String {
    format!("{base}{}/{id}", of.endpoint())
}

struct Meta<'a> {
    base: &'a str,
    of: ResourceType,
    created: UnixTime,
    changed: UnixTime,
    version: String,
}

impl Meta<'_> {
    fn add_to(self, mut resource: Map<String, Value>, id: &str) -> Value {
        resource.insert("id".to_owned(), id.into());
        let meta = json!({
            "resourceType": self.of.name(),
            "created": self.created,
            "lastModified": self.changed,
            "location": location(self.base, self.of, &id),
            "version": self.version,
        });
        resource.insert("meta".to_owned(), meta);
        Value::Object(resource)
    }
}
