//! What somebody is in the team: the user's own role is in its row, here are those of groups. A role is a group's by its id,
//! so a group that comes later under the same name has none.

use std::collections::BTreeMap;

use usher_types::{GroupId, TeamRole, TeamRoles, UserId};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    row::{Columns, statements},
};

statements! {
    OF_USER = "SELECT team_role AS role FROM users WHERE id = $1
        UNION SELECT r.role FROM group_members m JOIN group_team_roles r ON r.group_id = m.group_id
        WHERE m.user_id = $1";
    OF_GROUP = "SELECT role FROM group_team_roles WHERE group_id = $1";
    OF_GROUPS = "SELECT group_id, role FROM group_team_roles";
    SET = "INSERT INTO group_team_roles (group_id, role) VALUES ($1, $2)
        ON CONFLICT (group_id) DO UPDATE SET role = excluded.role";
    CLEAR = "DELETE FROM group_team_roles WHERE group_id = $1";
}

/// All roles that a user has: its own and those of its groups.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<TeamRoles, StoreError> {
    let rows = query(OF_USER).bind(user.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| row.parse("role")).collect()
}

/// The role that a group's members have.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_group(conn: &mut Conn, group: GroupId) -> Result<TeamRole, StoreError> {
    let row = query(OF_GROUP).bind(group.to_string()).fetch_optional(conn).await?;
    row.as_ref().map_or(Ok(TeamRole::Member), |row| row.parse("role"))
}

/// The roles of all groups that have one.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn of_groups(conn: &mut Conn) -> Result<BTreeMap<GroupId, TeamRole>, StoreError> {
    let rows = query(OF_GROUPS).fetch_all(conn).await?;
    rows.iter().map(|row| Ok((row.parse("group_id")?, row.parse("role")?))).collect()
}

/// Gives a group's members a role; [`TeamRole::Member`] takes it away. Moves the epoch.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set(tx: &mut WriteTx, group: GroupId, role: TeamRole) -> Result<(), StoreError> {
    let change = match role {
        TeamRole::Member => query(CLEAR).bind(group.to_string()),
        TeamRole::AccessManager | TeamRole::Admin | TeamRole::Auditor | TeamRole::Owner => {
            query(SET).bind(group.to_string()).bind(role.as_str())
        }
    };
    change.execute(tx).await?;
    tx.bump_epoch().await?;
    Ok(())
}
