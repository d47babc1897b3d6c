//! `usher group`: who belongs together, and which role a group has in a project.

use usher_api::v1::{CreateGroup, Group, ProjectGroup, SetProjectGroup, SetTeamRole};
use usher_types::{GroupName, TeamRole};

use super::{
    GroupReference, ProjectReference, UserReference, api,
    conditions::{self, ConditionOptions},
    done, fields, list,
};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum GroupCommand {
    /// Add users to a group
    Add {
        /// Name or id
        group: GroupReference,
        /// Users to add
        #[arg(required = true)]
        users: Vec<UserReference>,
    },
    /// Let a group's members log in on a project's servers
    Assign {
        /// Name or id
        group: GroupReference,
        /// The project
        #[arg(long)]
        project: ProjectReference,
        /// Members may also use sudo
        #[arg(long)]
        admin: bool,
        /// When the role counts.
        #[command(flatten)]
        conditions: ConditionOptions,
    },
    /// Create a group
    Create {
        /// Its name
        name: GroupName,
    },
    /// Delete a group
    Delete {
        /// Name or id
        group: GroupReference,
    },
    /// All groups
    List,
    /// Remove users from a group
    Remove {
        /// Name or id
        group: GroupReference,
        /// Users to remove
        #[arg(required = true)]
        users: Vec<UserReference>,
    },
    /// One group and its members
    Show {
        /// Name or id
        group: GroupReference,
    },
    /// Give a group's members a role in the team; `member` takes it away
    SetRole {
        /// Name or id
        group: GroupReference,
        /// owner, admin, access-manager, auditor or member
        role: TeamRole,
    },
    /// Take a group out of a project
    Unassign {
        /// Name or id
        group: GroupReference,
        /// The project
        #[arg(long)]
        project: ProjectReference,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: GroupCommand) -> Result<(), Failure> {
    match command {
        GroupCommand::Add { group, users } => {
            members(context, "PUT", &group, &users)?;
            done(format_args!("added to group `{group}`"))
        }
        GroupCommand::Assign { group, project, admin, conditions } => {
            let set =
                SetProjectGroup { server_access: true, server_admin: admin, conditions: conditions.into() };
            let path = format!("/v1/projects/{project}/groups/{group}");
            let assigned: ProjectGroup = api(context)?.send("PUT", &path, &set)?;
            output::show(context.format, &assigned, |assigned| {
                fields([
                    ("group", assigned.group.to_string()),
                    ("project", assigned.project.to_string()),
                    ("may", if assigned.server_admin { "log in, use sudo" } else { "log in" }.to_owned()),
                    ("when", conditions::words(&assigned.conditions)),
                    ("unix group", format!("{} ({})", assigned.unix_group_name, assigned.unix_gid)),
                ])
            })
        }
        GroupCommand::Create { name } => {
            let group: Group = api(context)?.send("POST", "/v1/groups", &CreateGroup { name })?;
            output::show(context.format, &group, show)
        }
        GroupCommand::Delete { group } => {
            api(context)?.act("DELETE", &format!("/v1/groups/{group}"))?;
            done(format_args!("deleted group `{group}`"))
        }
        GroupCommand::List => list(context, "/v1/groups", |groups: &[Group]| {
            let mut table = Table::new(&["name", "team role", "id", "created"]);
            for group in groups {
                table.row([
                    group.name.to_string(),
                    group.team_role.to_string(),
                    group.id.to_string(),
                    group.created_at.to_string(),
                ]);
            }
            table.render()
        }),
        GroupCommand::Remove { group, users } => {
            members(context, "DELETE", &group, &users)?;
            done(format_args!("removed from group `{group}`"))
        }
        GroupCommand::Show { group } => {
            let group: Group = api(context)?.get(&format!("/v1/groups/{group}"))?;
            output::show(context.format, &group, show)
        }
        GroupCommand::SetRole { group, role } => {
            let path = format!("/v1/groups/{group}/team-role");
            let group: Group = api(context)?.send("PUT", &path, &SetTeamRole { team_role: role })?;
            output::show(context.format, &group, show)
        }
        GroupCommand::Unassign { group, project } => {
            api(context)?.act("DELETE", &format!("/v1/projects/{project}/groups/{group}"))?;
            done(format_args!("took group `{group}` out of project `{project}`"))
        }
    }
}

fn members(
    context: &Context,
    method: &str,
    group: &GroupReference,
    users: &[UserReference],
) -> Result<(), Failure> {
    let mut api = api(context)?;
    users.iter().try_for_each(|user| {
        api.act(method, &format!("/v1/groups/{group}/members/{user}"))
            .map_err(|failure| failure.context(&format!("user `{user}`")))
    })
}

fn show(group: &Group) -> String {
    let members: Vec<String> = group.members.iter().map(ToString::to_string).collect();
    fields([
        ("name", group.name.to_string()),
        ("id", group.id.to_string()),
        ("team role", group.team_role.to_string()),
        ("members", if members.is_empty() { "-".to_owned() } else { members.join(" ") }),
        ("created", group.created_at.to_string()),
    ])
}
