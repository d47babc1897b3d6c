//! Connections: the facts that decide about one, and the row that says it was made. The row is also the record that
//! makes its request idempotent.

mod batch;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use usher_policy::{
    AccessFacts, Assignment, Lock, Locked, PortForwarding, ProjectFacts, Purpose, ServerFacts,
};
use usher_types::{
    ConnectionId, DeviceId, GroupId, LoginName, Principal, ProjectId, ServerId, SessionId, Sha256,
    Thumbprint, UnixTime, UserId,
};

use crate::{
    Conn, StoreError, WriteTx,
    conn::query,
    locks, named_proofs, policies,
    row::{Columns, Row, statements},
    servers::Server,
};

pub use self::batch::insert;
pub(crate) use self::batch::{STATEMENTS as BATCH_STATEMENTS, insert_all, insert_each};

/// How long the answer to a request is kept for a repetition of it.
pub const ANSWER_KEPT: Duration = Duration::from_secs(10 * 60);

statements! {
    PROJECT = "SELECT id, slug, certificate_lifetime_seconds, clock_skew_seconds, port_forwarding, authentication
        FROM projects WHERE id = $1";
    LOGIN = "SELECT login FROM project_users WHERE project_id = $1 AND user_id = $2";
    MEMBERSHIPS = "SELECT group_id FROM group_members WHERE user_id = $1";
    ASSIGNMENTS = "SELECT g.group_id, d.name, g.server_access, g.server_admin, g.conditions
        FROM project_groups g JOIN groups d ON d.id = g.group_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL ORDER BY d.name";
    ANSWERED = "SELECT content, answer, created_at FROM connections WHERE jkt = $1 AND jti = $2";
    FORGET_ANSWERS = "UPDATE connections SET answer = NULL WHERE answer IS NOT NULL AND created_at < $1";
}

/// A connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewConnection {
    /// Its id.
    pub id: ConnectionId,
    /// The target's project.
    pub project_id: ProjectId,
    /// The target.
    pub server_id: ServerId,
    /// Who.
    pub user_id: UserId,
    /// On which device.
    pub device_id: DeviceId,
    /// In which session.
    pub session_id: SessionId,
    /// The account.
    pub login: LoginName,
    /// What it is for.
    pub purpose: Purpose,
    /// The TCP peer.
    pub client_address: IpAddr,
    /// Every certificate that was signed for it.
    pub certificates: Vec<CertificateRow>,
    /// When it was made.
    pub created_at: UnixTime,
    /// When its certificates end.
    pub expires_at: UnixTime,
    /// The request that asked for it.
    pub request: RequestName,
    /// The answer's body, kept for [`ANSWER_KEPT`]. Certificates are of no use without their keys, which never leave
    /// the client.
    pub answer: String,
}

/// A certificate as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its principal: names the server and the account.
    pub principal: Principal,
    /// Its serial.
    pub serial: u64,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
    /// Whether it is an X.509 certificate.
    pub x509: bool,
}

/// What makes a repeated request recognisable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestName {
    /// Thumbprint of the key that proved it.
    pub jkt: Thumbprint,
    /// The proof's `jti`.
    pub jti: String,
    /// SHA-256 of what was asked for.
    pub content: Sha256,
}

/// What a request got that was answered before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The same request: this was the answer.
    Answer(String),
    /// The same request, but too long ago.
    Forgotten,
    /// Another request had the same name.
    OtherContent,
}

/// A project, and its groups' roles; `None` when it is gone.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn rules(
    conn: &mut Conn,
    project: ProjectId,
) -> Result<Option<(ProjectFacts, Vec<Assignment>)>, StoreError> {
    let project = project.to_string();
    let Some(row) = query(PROJECT).bind(&project).fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let assignments = query(ASSIGNMENTS).bind(&project).fetch_all(&mut *conn).await?;
    let assignments = assignments.iter().map(read_assignment).collect::<Result<_, _>>()?;
    Ok(Some((read_project(&row)?, assignments)))
}

/// Everything that decides about one user's access to one server, from one device; without a device, what does not
/// depend on it. Give it a [`Reader`](crate::Reader) or the
/// transaction that is to insert: all parts must be of one snapshot. `None` when the server's project is gone.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn facts(
    conn: &mut Conn,
    user: UserId,
    device: Option<DeviceId>,
    server: &Server,
) -> Result<Option<AccessFacts>, StoreError> {
    let Some((project, assignments)) = rules(conn, server.project_id).await? else { return Ok(None) };
    let user_text = user.to_string();
    let login = query(LOGIN).bind(project.id.to_string()).bind(&user_text).fetch_optional(&mut *conn).await?;
    let groups = query(MEMBERSHIPS).bind(&user_text).fetch_all(&mut *conn).await?;
    let groups: BTreeSet<GroupId> =
        groups.iter().map(|row| row.parse("group_id")).collect::<Result<_, _>>()?;
    let asked = assignments.iter().map(|assignment| &assignment.conditions.authentication);
    let named_at = if asked.chain([&project.authentication]).any(|asked| asked.named_server) {
        match device {
            Some(device) => named_proofs::given_at(conn, user, device, server.id).await?,
            None => None,
        }
    } else {
        None
    };
    let policies = policies::of_project(conn, project.id).await?;
    let locks = locks::of_access(conn, user, device, server.id, server.project_id).await?;
    Ok(Some(AccessFacts {
        user_id: user,
        locks: locks.into_iter().map(read_lock).collect(),
        login: login.map(|row| row.parse("login")).transpose()?,
        groups,
        server: ServerFacts {
            id: server.id,
            name: server.name.clone(),
            project_id: server.project_id,
            labels: Arc::new(server.labels.clone()),
        },
        project,
        assignments,
        policies: Arc::new(policies),
        named_at,
    }))
}

/// The columns of `PROJECT`.
pub(crate) fn read_project(row: &Row) -> Result<ProjectFacts, StoreError> {
    Ok(ProjectFacts {
        id: row.parse("id")?,
        slug: row.parse("slug")?,
        certificate_lifetime: Duration::from_secs(row.number("certificate_lifetime_seconds")?),
        clock_skew: Duration::from_secs(row.number("clock_skew_seconds")?),
        port_forwarding: match row.parse("port_forwarding")? {
            crate::PortForwarding::All => PortForwarding::All,
            crate::PortForwarding::Local => PortForwarding::Local,
            crate::PortForwarding::Off => PortForwarding::Off,
        },
        authentication: row.json_opt("authentication")?.unwrap_or_default(),
    })
}

fn read_lock((kind, reason): locks::Standing) -> Lock {
    let on = match kind {
        crate::LockKind::Device => Locked::Device,
        crate::LockKind::Project => Locked::Project,
        crate::LockKind::Server => Locked::Server,
        crate::LockKind::User => Locked::User,
    };
    Lock { on, reason }
}

fn read_assignment(row: &Row) -> Result<Assignment, StoreError> {
    Ok(Assignment {
        group_id: row.parse("group_id")?,
        group_name: row.parse("name")?,
        server_access: row.flag("server_access")?,
        server_admin: row.flag("server_admin")?,
        conditions: row.json_opt("conditions")?.unwrap_or_default(),
    })
}

/// Whether a connection was made for this request before.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn repeated(
    conn: &mut Conn,
    request: &RequestName,
    now: UnixTime,
) -> Result<Option<Repeated>, StoreError> {
    let query = query(ANSWERED).bind(request.jkt.to_string()).bind(&request.jti);
    let Some(row) = query.fetch_optional(conn).await? else { return Ok(None) };
    let content: Sha256 = row.parse("content")?;
    if content != request.content {
        return Ok(Some(Repeated::OtherContent));
    }
    let kept = now.since(row.time("created_at")?) < ANSWER_KEPT;
    Ok(Some(match row.text_opt("answer")? {
        Some(answer) if kept => Repeated::Answer(answer),
        Some(_) | None => Repeated::Forgotten,
    }))
}

/// Forgets answers that are too old to be given again; the rows stay. Call it every few minutes.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn forget_answers(tx: &mut WriteTx, now: UnixTime) -> Result<u64, StoreError> {
    let before = now.saturating_sub(ANSWER_KEPT).as_millis();
    Ok(query(FORGET_ANSWERS).bind(before).execute(tx).await?.rows_affected())
}
