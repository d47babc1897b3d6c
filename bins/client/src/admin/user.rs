//! `usher user`: people of the team.

use usher_api::v1::{CreateUser, CreatedUser, SecondFactorReset, SetUpCode, UpdateUser, User, UserStatus};
use usher_types::{DisplayName, LoginName, TeamRole, TeamRoles, UserName};

use super::{UserReference, api, done, fields, list, project::text};
use crate::{
    cli::Context,
    exit::Failure,
    output::{self, Table},
};

/// Verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum UserCommand {
    /// Create a user; prints where and with what code the user sets a password and a second factor
    Create {
        /// Name in the directory
        name: UserName,
        /// What people call the user
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// Account name on servers; the user name when absent
        #[arg(long, value_name = "LOGIN")]
        unix_user_name: Option<LoginName>,
        /// What the user is in the team: owner, admin, access-manager, auditor or member
        #[arg(long, value_name = "ROLE", default_value_t)]
        role: TeamRole,
    },
    /// Delete a user for good
    Delete {
        /// Name or id
        user: UserReference,
    },
    /// End all access: no certificate from this moment, accounts are taken away
    Disable {
        /// Name or id
        user: UserReference,
    },
    /// Give access back
    Enable {
        /// Name or id
        user: UserReference,
    },
    /// All users
    List,
    /// Take away a user's authenticator, passkeys and recovery codes; prints where and with what code new ones are made
    ResetSecondFactor {
        /// Name or id
        user: UserReference,
    },
    /// Change the role in the team, or the display name
    Set {
        /// Name or id
        user: UserReference,
        /// What people call the user
        #[arg(long, value_name = "NAME")]
        display_name: Option<DisplayName>,
        /// What the user is in the team: owner, admin, access-manager, auditor or member
        #[arg(long, value_name = "ROLE")]
        role: Option<TeamRole>,
    },
    /// New set-up code; ends the user's sessions
    SetUpCode {
        /// Name or id
        user: UserReference,
    },
    /// One user and the groups it is in
    Show {
        /// Name or id
        user: UserReference,
    },
}

/// Runs a verb.
///
/// # Errors
/// What the broker answered.
pub fn run(context: &Context, command: UserCommand) -> Result<(), Failure> {
    match command {
        UserCommand::Create { name, display_name, unix_user_name, role } => {
            let create = CreateUser { user_name: name, display_name, unix_user_name, team_role: role };
            let created: CreatedUser = api(context)?.send("POST", "/v1/users", &create)?;
            output::show(context.format, &created, |created| set_up(&created.user, &created.set_up))
        }
        UserCommand::Delete { user } => {
            api(context)?.act("DELETE", &format!("/v1/users/{user}"))?;
            done(format_args!("deleted user `{user}`"))
        }
        UserCommand::Disable { user } => update(
            context,
            &user,
            &UpdateUser { status: Some(UserStatus::Disabled), ..UpdateUser::default() },
        ),
        UserCommand::Enable { user } => {
            update(context, &user, &UpdateUser { status: Some(UserStatus::Active), ..UpdateUser::default() })
        }
        UserCommand::List => list(context, "/v1/users", |users: &[User]| {
            let mut table = Table::new(&["name", "display name", "login", "status", "team role"]);
            for user in users {
                table.row([
                    user.user_name.to_string(),
                    user.display_name.to_string(),
                    user.unix_user_name.to_string(),
                    text(&user.status),
                    user.team_role.to_string(),
                ]);
            }
            table.render()
        }),
        UserCommand::Set { user, display_name, role } => {
            let change = UpdateUser { status: None, display_name, team_role: role };
            if change == UpdateUser::default() {
                return Err(Failure::usage("nothing to change"));
            }
            update(context, &user, &change)
        }
        UserCommand::ResetSecondFactor { user } => {
            let path = format!("/v1/users/{user}/second-factor/reset");
            let reset: SecondFactorReset = api(context)?.call("POST", &path, "", None::<&()>)?;
            output::show(context.format, &reset, |reset| match &reset.set_up {
                Some(code) => set_up(&reset.user, code),
                None => format!(
                    "`{}` registers a new second factor when next asked for one\n",
                    reset.user.user_name
                ),
            })
        }
        UserCommand::SetUpCode { user } => {
            let path = format!("/v1/users/{user}/set-up-code");
            let created: CreatedUser = api(context)?.call("POST", &path, "", None::<&()>)?;
            output::show(context.format, &created, |created| set_up(&created.user, &created.set_up))
        }
        UserCommand::Show { user } => {
            let user: User = api(context)?.get(&format!("/v1/users/{user}"))?;
            output::show(context.format, &user, show)
        }
    }
}

fn update(context: &Context, user: &UserReference, change: &UpdateUser) -> Result<(), Failure> {
    let user: User = api(context)?.send("PATCH", &format!("/v1/users/{user}"), change)?;
    output::show(context.format, &user, show)
}

fn set_up(user: &User, code: &SetUpCode) -> String {
    fields([
        ("user", user.user_name.to_string()),
        ("invitation", code.link.clone()),
        ("set-up page", code.url.clone()),
        ("set-up code", code.code.clone()),
        ("valid until", code.expires_at.to_string()),
    ])
}

/// What the user may do, and where that comes from when its own role is not all.
fn roles(user: &User) -> String {
    let all: TeamRoles = user.team_roles.iter().copied().chain([user.team_role]).collect();
    let own = user.team_role;
    if all.iter().all(|role| role == own || role == TeamRole::Member) {
        own.to_string()
    } else {
        format!("{all} (its own: {own})")
    }
}

fn show(user: &User) -> String {
    let groups: Vec<String> = user.groups.iter().map(ToString::to_string).collect();
    fields([
        ("name", user.user_name.to_string()),
        ("id", user.id.to_string()),
        ("display name", user.display_name.to_string()),
        ("login", user.unix_user_name.to_string()),
        ("status", text(&user.status)),
        ("team role", roles(user)),
        ("groups", if groups.is_empty() { "-".to_owned() } else { groups.join(" ") }),
        ("created", user.created_at.to_string()),
    ])
}
