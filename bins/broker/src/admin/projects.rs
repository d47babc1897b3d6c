//! Projects. Making one makes its certificate authorities' keys in the same transaction.

use std::collections::BTreeSet;

use axum::{Router, extract::State, routing::get};
use usher_account_lifecycle::allocate;
use usher_api::v1::{
    AdminSudo, CertificateType, CreateProject, KeyCustody, Page, PortForwarding, Project, UpdateProject,
};
use usher_audit::{Code, Event, ForwardingRule, Network, ProjectSettings};
use usher_identity::ApprovedUser;
use usher_keystore::Custody;
use usher_store::{
    Conn, KeyPurpose, addresses,
    keys::{self, StoredKey},
    projects::{self, CreateProjectError, ProjectChange},
};
use usher_types::{Cidr, Permission, ProjectId, UnixTime};

use super::{Change, begin, conditions};
use crate::{
    AppState,
    answer::Answer,
    error::ApiError,
    extract::{Admin, Approved, Path},
    keys::{
        fingerprint,
        make::{self, Made},
        ssh_user_ca_lines,
    },
    random,
};

const DEFAULT_UID: u32 = 60_001;
const DEFAULT_GID: u32 = 63_001;
const DEFAULT_LIFETIME: u32 = 180;
const DEFAULT_SKEW: u32 = 60;
/// Lifetime and skew together; the certificate's own limit.
const LONGEST: u32 = 600;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/v1/projects", get(list).post(create))
        .route("/v1/projects/{project}", get(show).patch(update).delete(delete))
}

/// Finds a project by name or id.
pub(super) async fn find(conn: &mut Conn, name: &str) -> Result<projects::Project, ApiError> {
    projects::find(conn, name).await?.ok_or_else(|| ApiError::not_found("project", name))
}

async fn shown(conn: &mut Conn, project: projects::Project) -> Result<Project, ApiError> {
    let ssh_user_ca = ssh_user_ca_lines(conn, project.id).await?;
    let networks = addresses::networks(conn, project.id).await?.iter().map(ToString::to_string).collect();
    Ok(Project {
        id: project.id,
        name: project.slug,
        next_unix_uid: project.next_unix_uid,
        next_unix_gid: project.next_unix_gid,
        ssh_certificate_type: match project.ssh_certificate_type {
            usher_store::CertificateType::EcdsaP256 => CertificateType::EcdsaP256,
            usher_store::CertificateType::Ed25519 => CertificateType::Ed25519,
        },
        certificate_lifetime_seconds: project.certificate_lifetime_seconds,
        clock_skew_seconds: project.clock_skew_seconds,
        port_forwarding: match project.port_forwarding {
            usher_store::PortForwarding::All => PortForwarding::All,
            usher_store::PortForwarding::Local => PortForwarding::Local,
            usher_store::PortForwarding::Off => PortForwarding::Off,
        },
        admin_sudo: match project.admin_sudo {
            usher_store::AdminSudo::Passwordless => AdminSudo::Passwordless,
        },
        ssh_user_ca,
        networks,
        authentication: conditions::shown_authentication(&project.authentication),
        created_at: project.created_at,
    })
}

async fn list(
    State(app): State<AppState>,
    Approved { user, .. }: Approved,
) -> Result<Answer<Page<Project>>, ApiError> {
    let mut reader = app.store().read().await?;
    let caller = user.user();
    let visible = if caller.team_roles().permit(Permission::ReadTeam) {
        projects::list(&mut reader).await?
    } else {
        projects::list_visible_to(&mut reader, caller.user_id()).await?
    };
    let mut items = Vec::with_capacity(visible.len());
    for project in visible {
        items.push(shown(&mut reader, project).await?);
    }
    Ok(Answer::ok(Page { items }))
}

async fn show(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Approved { user, .. }: Approved,
) -> Result<Answer<Project>, ApiError> {
    let mut reader = app.store().read().await?;
    let project = find(&mut reader, &name).await?;
    if !may_see(&mut reader, &user, project.id).await? {
        return Err(ApiError::not_found("project", &name));
    }
    Ok(Answer::ok(shown(&mut reader, project).await?))
}

/// Administrators see everything, others the projects whose servers they have access to.
pub(super) async fn may_see(
    conn: &mut Conn,
    user: &ApprovedUser,
    project: ProjectId,
) -> Result<bool, ApiError> {
    let caller = user.user();
    Ok(caller.team_roles().permit(Permission::ReadTeam)
        || projects::is_visible_to(conn, project, caller.user_id()).await?)
}

async fn create(
    State(app): State<AppState>,
    Admin { admin: caller, info, body }: Admin<CreateProject>,
) -> Result<Answer<Project>, ApiError> {
    let wanted = body.custody;
    let project = new_project(body, ProjectId::new(info.now, random::bytes()?), info.now)?;
    let custody = custody(&app, &project, wanted).await?;
    let ssh = make::of_project(&app, &project, KeyPurpose::SshUserCa, 1, custody, info.now).await?;
    let x509 = make::of_project(&app, &project, KeyPurpose::X509Ca, 1, custody, info.now).await;
    let x509 = make::kept(&app, &[Made::of(&ssh)], x509).await?;
    let made = [ssh, x509];
    let stored = async { store(begin(&app, &caller, info).await?, project, &made).await };
    make::kept(&app, &made.each_ref().map(Made::of), stored.await).await
}

async fn store(
    mut change: Change,
    project: projects::Project,
    made: &[StoredKey],
) -> Result<Answer<Project>, ApiError> {
    projects::create(&mut change.tx, &project).await?;
    change.audit(Event::ProjectCreate { project_id: project.id, project: project.slug.clone() }).await?;
    for key in made {
        keys::insert(&mut change.tx, key).await?;
        change.audit(Event::CaKeyCreate { project_id: project.id, key: fingerprint(key)? }).await?;
    }
    let shown = shown(&mut change.tx, project).await?;
    change.commit().await?;
    Ok(Answer::created(shown))
}

/// Where a project's keys are to live. A name that is taken is noticed before keys are made for it elsewhere.
async fn custody(
    app: &AppState,
    project: &projects::Project,
    wanted: Option<KeyCustody>,
) -> Result<Custody, ApiError> {
    let mut reader = app.store().read().await?;
    if projects::find(&mut reader, project.slug.as_str()).await?.is_some() {
        return Err(CreateProjectError::Taken(project.slug.clone()).into());
    }
    match wanted {
        Some(KeyCustody::AwsKms) => Ok(Custody::AwsKms),
        Some(KeyCustody::AwsKmsWrapped) => Ok(Custody::AwsKmsWrapped),
        Some(KeyCustody::Software) => Ok(Custody::Software),
        None => Ok(crate::keys::custody(crate::keys::state_keys(&mut reader).await?.signing.custody)),
    }
}

fn new_project(body: CreateProject, id: ProjectId, now: UnixTime) -> Result<projects::Project, ApiError> {
    let next_unix_uid = body.next_unix_uid.unwrap_or(DEFAULT_UID);
    let next_unix_gid = body.next_unix_gid.unwrap_or(DEFAULT_GID);
    if !allocate::is_assignable_uid(next_unix_uid) {
        return Err(reserved("next_unix_uid", next_unix_uid));
    }
    if !allocate::is_assignable_gid(next_unix_gid) {
        return Err(reserved("next_unix_gid", next_unix_gid));
    }
    let lifetime = body.certificate_lifetime_seconds.unwrap_or(DEFAULT_LIFETIME);
    let skew = body.clock_skew_seconds.unwrap_or(DEFAULT_SKEW);
    check_window(lifetime, skew)?;
    Ok(projects::Project {
        id,
        slug: body.name,
        next_unix_uid,
        next_unix_gid,
        ssh_certificate_type: match body.ssh_certificate_type {
            CertificateType::EcdsaP256 => usher_store::CertificateType::EcdsaP256,
            CertificateType::Ed25519 => usher_store::CertificateType::Ed25519,
        },
        certificate_lifetime_seconds: lifetime,
        clock_skew_seconds: skew,
        port_forwarding: forwarding(body.port_forwarding),
        admin_sudo: sudo(body.admin_sudo),
        authentication: usher_policy::Authentication::default(),
        created_at: now,
    })
}

fn reserved(field: &str, id: u32) -> ApiError {
    ApiError::invalid(format!("{field}: {id} lies in a range that systems keep for themselves"))
        .with_next("choose a number between 1000 and 61183, or leave it out")
}

fn check_window(lifetime: u32, skew: u32) -> Result<(), ApiError> {
    if !(30..=120).contains(&skew) {
        return Err(ApiError::invalid("clock_skew_seconds: use 30 to 120"));
    }
    if lifetime == 0 || lifetime.saturating_add(skew) > LONGEST {
        return Err(ApiError::invalid(format!(
            "certificate_lifetime_seconds: use at least 1, and with clock_skew_seconds at most {LONGEST}"
        )));
    }
    Ok(())
}

fn forwarding(forwarding: PortForwarding) -> usher_store::PortForwarding {
    match forwarding {
        PortForwarding::All => usher_store::PortForwarding::All,
        PortForwarding::Local => usher_store::PortForwarding::Local,
        PortForwarding::Off => usher_store::PortForwarding::Off,
    }
}

fn sudo(sudo: AdminSudo) -> usher_store::AdminSudo {
    match sudo {
        AdminSudo::Passwordless => usher_store::AdminSudo::Passwordless,
    }
}

async fn update(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body }: Admin<UpdateProject>,
) -> Result<Answer<Project>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let before = find(&mut change.tx, &name).await?;
    check_window(
        body.certificate_lifetime_seconds.unwrap_or(before.certificate_lifetime_seconds),
        body.clock_skew_seconds.unwrap_or(before.clock_skew_seconds),
    )?;
    let wanted = ProjectChange {
        certificate_lifetime_seconds: body.certificate_lifetime_seconds,
        clock_skew_seconds: body.clock_skew_seconds,
        port_forwarding: body.port_forwarding.map(forwarding),
        admin_sudo: body.admin_sudo.map(sudo),
        authentication: body.authentication.map(conditions::parse_authentication).transpose()?,
    };
    let after = projects::update(&mut change.tx, &before, &wanted).await?;
    if after != before {
        change.audit(updated(&before, &after)).await?;
    }
    if let Some(networks) = body.networks {
        let networks = parse_networks(&networks)?;
        addresses::set_networks(&mut change.tx, after.id, &networks).await?;
        let networks = networks
            .iter()
            .map(|cidr| Network { address: cidr.network(), prefix_length: cidr.prefix_length() });
        change.audit(Event::ProjectNetworks { project_id: after.id, networks: networks.collect() }).await?;
    }
    let shown = shown(&mut change.tx, after).await?;
    change.commit().await?;
    Ok(Answer::ok(shown))
}

/// More networks than any project is spread over.
const MAX_NETWORKS: usize = 64;

fn parse_networks(given: &[String]) -> Result<BTreeSet<Cidr>, ApiError> {
    if given.len() > MAX_NETWORKS {
        return Err(ApiError::invalid(format!("networks: at most {MAX_NETWORKS}")));
    }
    let parsed = given.iter().map(|text| text.parse::<Cidr>());
    parsed.collect::<Result<_, _>>().map_err(|error| ApiError::invalid(format!("networks: {error}")))
}

fn updated(before: &projects::Project, after: &projects::Project) -> Event {
    let (old, new) = (changed(before, after), changed(after, before));
    Event::ProjectUpdate {
        project_id: after.id,
        certificate_lifetime_seconds: new.certificate_lifetime_seconds,
        clock_skew_seconds: new.clock_skew_seconds,
        port_forwarding: new.port_forwarding,
        admin_sudo: new.admin_sudo,
        authentication: new.authentication,
        before: Some(old),
    }
}

/// The settings of `project` in which it is not like `other`.
fn changed(project: &projects::Project, other: &projects::Project) -> ProjectSettings {
    fn unlike<T: PartialEq + Copy>(value: T, other: T) -> Option<T> {
        (value != other).then_some(value)
    }
    ProjectSettings {
        certificate_lifetime_seconds: unlike(
            project.certificate_lifetime_seconds,
            other.certificate_lifetime_seconds,
        ),
        clock_skew_seconds: unlike(project.clock_skew_seconds, other.clock_skew_seconds),
        port_forwarding: unlike(project.port_forwarding, other.port_forwarding).map(|rule| match rule {
            usher_store::PortForwarding::All => ForwardingRule::All,
            usher_store::PortForwarding::Local => ForwardingRule::Local,
            usher_store::PortForwarding::Off => ForwardingRule::Off,
        }),
        admin_sudo: unlike(project.admin_sudo, other.admin_sudo).map(|rule| Code::new(rule.as_str())),
        authentication: (project.authentication != other.authentication)
            .then(|| conditions::audited_authentication(&project.authentication)),
    }
}

async fn delete(
    State(app): State<AppState>,
    Path(name): Path<String>,
    Admin { admin: caller, info, body: () }: Admin,
) -> Result<Answer<()>, ApiError> {
    let mut change = begin(&app, &caller, info).await?;
    let project = find(&mut change.tx, &name).await?;
    projects::delete(&mut change.tx, &project).await?;
    change.audit(Event::ProjectDelete { project_id: project.id, project: project.slug }).await?;
    change.commit().await?;
    Ok(Answer::empty())
}
