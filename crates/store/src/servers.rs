//! Enrolled servers: what their tokens and administrators say they are, and what their agents report. What they may do
//! follows from the former only.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use usher_enrollment::{EnrolledServer, Placement, PriorEnrollment, ServerRecord};
use usher_types::{
    HostName, Label, ProjectId, ProjectSlug, ServerId, Sha256, Thumbprint, TokenId, UnixTime, UserId,
};

use crate::{
    Conn, ServerRole, StoreError, WriteTx,
    addresses::{AddressChange, CONFLICT, settle},
    conn::query,
    locks::{self, Target},
    row::{Columns, Labels, Row, statements, to_json},
};

/// A server whose agent has not reported for this long counts as silent: no route goes through it.
pub const SILENT_AFTER: Duration = Duration::from_secs(90);

statements! {
    BY_ID = "SELECT s.id, s.name, s.project_id, p.slug, s.role, s.bastion_group, s.via, s.labels, s.facts, s.conflicts,
        s.applied_generation, s.applied_server_generation, s.clock_offset_millis, s.enrolled_at, s.last_seen_at,
        s.trusts, (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = s.id
            OR l.kind = 'project' AND l.target = s.project_id) AS locks
        FROM servers s JOIN projects p ON p.id = s.project_id WHERE s.id = $1";
    BY_NAME = "SELECT s.id, s.name, s.project_id, p.slug, s.role, s.bastion_group, s.via, s.labels, s.facts, s.conflicts,
        s.applied_generation, s.applied_server_generation, s.clock_offset_millis, s.enrolled_at, s.last_seen_at,
        s.trusts, (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = s.id
            OR l.kind = 'project' AND l.target = s.project_id) AS locks
        FROM servers s JOIN projects p ON p.id = s.project_id WHERE s.name = $1";
    LIST = "SELECT s.id, s.name, s.project_id, p.slug, s.role, s.bastion_group, s.via, s.labels, s.facts, s.conflicts,
        s.applied_generation, s.applied_server_generation, s.clock_offset_millis, s.enrolled_at, s.last_seen_at,
        s.trusts, (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = s.id
            OR l.kind = 'project' AND l.target = s.project_id) AS locks
        FROM servers s JOIN projects p ON p.id = s.project_id ORDER BY s.name";
    LIST_VISIBLE = "SELECT s.id, s.name, s.project_id, p.slug, s.role, s.bastion_group, s.via, s.labels, s.facts,
        s.conflicts, s.applied_generation, s.applied_server_generation, s.clock_offset_millis, s.enrolled_at,
        s.last_seen_at, s.trusts, (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = s.id
            OR l.kind = 'project' AND l.target = s.project_id) AS locks
        FROM servers s JOIN projects p ON p.id = s.project_id
        WHERE EXISTS (SELECT 1 FROM project_groups g JOIN group_members m ON m.group_id = g.group_id
            WHERE g.project_id = s.project_id AND g.removed_at IS NULL AND g.server_access = 1 AND m.user_id = $1)
        ORDER BY s.name";
    BASTIONS = "SELECT s.id, s.name, s.project_id, p.slug, s.role, s.bastion_group, s.via, s.labels, s.facts, s.conflicts,
        s.applied_generation, s.applied_server_generation, s.clock_offset_millis, s.enrolled_at, s.last_seen_at,
        s.trusts, (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = s.id
            OR l.kind = 'project' AND l.target = s.project_id) AS locks
        FROM servers s JOIN projects p ON p.id = s.project_id
        WHERE s.role = 'bastion' AND s.bastion_group = $1 ORDER BY s.id";
    AGENT = "SELECT id, project_id FROM servers WHERE agent_jkt = $1";
    RECORD = "SELECT id, name, project_id, agent_jkt FROM servers WHERE id = $1";
    NAMES = "SELECT name FROM servers WHERE name = $1 OR (name >= $2 AND name < $3)";
    PLACEMENTS = "SELECT DISTINCT role, bastion_group, via FROM servers WHERE id <> $1";
    PRIOR = "SELECT s.id, s.enrolled_at, r.token_id FROM servers s
        LEFT JOIN token_redemptions r ON r.server_id = s.id AND r.agent_jkt = s.agent_jkt WHERE s.agent_jkt = $1";
    USE_TOKEN = "UPDATE enrollment_tokens SET uses = uses + 1 WHERE id = $1 AND uses < max_uses";
    REDEEM = "INSERT INTO token_redemptions (token_id, agent_jkt, server_id, redeemed_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (token_id, agent_jkt) DO UPDATE SET server_id = excluded.server_id, redeemed_at = excluded.redeemed_at";
    CREATE = "INSERT INTO servers (id, name, project_id, role, bastion_group, via, labels, agent_key, agent_jkt, facts,
            conflicts, applied_generation, applied_server_generation, enrolled_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '[]', 0, 0, $11) ON CONFLICT DO NOTHING";
    SET_PLACEMENT = "UPDATE servers SET role = $2, bastion_group = $3, via = $4 WHERE id = $1";
    SET_FACTS = "UPDATE servers SET facts = $2, conflicts = $3 WHERE id = $1";
    REMOVE = "DELETE FROM servers WHERE id = $1";
    REPORT = "UPDATE servers SET facts = $2, conflicts = $3, applied_generation = $4, applied_server_generation = $5,
        clock_offset_millis = $6, last_seen_at = $7, trusts = $8 WHERE id = $1";
    TAKEN_BY_SERVER = "SELECT unix_id FROM taken_ids WHERE server_id = $1";
    FORGET_TAKEN = "DELETE FROM taken_ids WHERE server_id = $1";
    REMEMBER_TAKEN = "INSERT INTO taken_ids (server_id, unix_id) VALUES ($1, $2)";
}

/// What a host says about itself, after the broker has checked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Where its sshd listens, most useful first; empty when others have all of what it reports.
    pub addresses: Vec<SocketAddr>,
    /// Its SSH host keys, without comments; never empty.
    pub host_keys: Vec<String>,
    /// Its operating system.
    pub os: String,
    /// Version of its sshd.
    pub sshd_version: String,
    /// The one port that bastions open: as first reported, or as an administrator accepted since. Not the host's to say.
    #[serde(default)]
    pub ssh_port: Option<u16>,
}

/// Digests of the keys that are in force on a server, as its agent says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trusts {
    /// Of the SSH user CA keys that its sshd trusts.
    pub ssh_user_ca: BTreeSet<Sha256>,
    /// Of the X.509 CA certificates.
    pub x509_ca: BTreeSet<Sha256>,
    /// Thumbprints of the keys that it believes state from.
    pub state_keys: BTreeSet<Sha256>,
    /// Pins that it accepts a broker by.
    pub pins: BTreeSet<Sha256>,
}

impl HostFacts {
    /// The addresses that bastions open: those at the one port.
    #[must_use]
    pub fn behind_bastions(&self) -> Vec<SocketAddr> {
        let port = self.ssh_port.or_else(|| self.addresses.first().map(SocketAddr::port));
        self.addresses.iter().copied().filter(|address| Some(address.port()) == port).collect()
    }
}

/// Something on the host that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// `user`, `group`, `home`, `sudoers`, `sshd`.
    pub kind: String,
    /// What it is about.
    pub name: String,
    /// One sentence.
    pub reason: String,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// Its name, unique in the team.
    pub name: HostName,
    /// Its project.
    pub project_id: ProjectId,
    /// Its project's name.
    pub project: ProjectSlug,
    /// What it is for and how it is reached: set by its token or an administrator, never by its agent.
    pub placement: Placement,
    /// Its labels.
    pub labels: Labels,
    /// What its agent reported last.
    pub facts: HostFacts,
    /// What stands in the way, as its agent reported it.
    pub conflicts: Vec<Conflict>,
    /// Generation of the project document that it has applied.
    pub applied_generation: u64,
    /// Generation of the server document that it has applied.
    pub applied_server_generation: u64,
    /// How far its clock was ahead of the broker's.
    pub clock_offset_millis: Option<i64>,
    /// When it joined.
    pub enrolled_at: UnixTime,
    /// When it last reported.
    pub last_seen_at: Option<UnixTime>,
    /// What it trusts; none until its agent has said.
    pub trusts: Option<Trusts>,
    /// Whether it or its project is locked.
    pub locked: bool,
}

/// The three columns of a placement; the tokens' table has the same.
pub(crate) fn read_placement(row: &Row) -> Result<Placement, StoreError> {
    let role = match row.parse("role")? {
        ServerRole::Bastion => usher_enrollment::ServerRole::Bastion,
        ServerRole::Target => usher_enrollment::ServerRole::Target,
    };
    Placement::new(role, row.parse_opt("bastion_group")?, row.parse_opt("via")?)
        .map_err(|_error| StoreError::Corrupt { column: "bastion_group" })
}

/// As in the database.
pub(crate) fn role_text(placement: &Placement) -> &'static str {
    match placement.role() {
        usher_enrollment::ServerRole::Bastion => ServerRole::Bastion.as_str(),
        usher_enrollment::ServerRole::Target => ServerRole::Target.as_str(),
    }
}

impl Server {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parse("id")?,
            name: row.parse("name")?,
            project_id: row.parse("project_id")?,
            project: row.parse("slug")?,
            placement: read_placement(row)?,
            labels: row.json("labels")?,
            facts: row.json("facts")?,
            conflicts: row.json("conflicts")?,
            applied_generation: row.number("applied_generation")?,
            applied_server_generation: row.number("applied_server_generation")?,
            clock_offset_millis: row.int_opt("clock_offset_millis")?,
            enrolled_at: row.time("enrolled_at")?,
            last_seen_at: row.time_opt("last_seen_at")?,
            trusts: row.json_opt("trusts")?,
            locked: row.int("locks")? > 0,
        })
    }

    /// Whether its agent reported within [`SILENT_AFTER`].
    #[must_use]
    pub fn is_healthy(&self, now: UnixTime) -> bool {
        self.last_seen_at.is_some_and(|seen| now.since(seen) <= SILENT_AFTER)
    }
}

/// Why a server cannot be enrolled although its token is good.
#[derive(Debug, Error)]
pub enum EnrollServerError {
    /// The token made its last server in the meantime, or the agent's key or the name was taken. Not to be expected
    /// when the same transaction decided.
    #[error("server `{0}` cannot be enrolled: its name, its agent's key or its token was taken")]
    Conflict(HostName),
    /// The database failed.
    #[error("the server was not enrolled")]
    Store(#[source] StoreError),
}

impl From<StoreError> for EnrollServerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The server that an agent's key has made already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// With a token that is still known.
    Known(PriorEnrollment),
    /// With a token that is gone.
    TokenGone,
}

/// Which server an agent's key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agent {
    /// The server.
    pub server_id: ServerId,
    /// Its project.
    pub project_id: ProjectId,
}

/// What an agent reports.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the host says about itself.
    pub facts: HostFacts,
    /// What stands in the way.
    pub conflicts: Vec<Conflict>,
    /// Generation of the project document that is applied.
    pub applied_generation: u64,
    /// Generation of the server document that is applied.
    pub applied_server_generation: u64,
    /// Ids that the host uses for something of its own.
    pub taken_ids: BTreeSet<u32>,
    /// How far its clock is ahead of the broker's.
    pub clock_offset_millis: i64,
    /// What it trusts now; none when its agent does not know.
    pub trusts: Option<Trusts>,
}

/// What a report changed that others depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Other addresses than before, or others that were refused.
    pub addresses: Option<AddressChange>,
    /// Other host keys than before.
    pub host_keys: bool,
    /// Other certificate authorities than before: another key may have to sign for it.
    pub authorities: bool,
}

async fn one(conn: &mut Conn, sql: &'static str, value: String) -> Result<Option<Server>, StoreError> {
    let row = query(sql).bind(value).fetch_optional(conn).await?;
    row.as_ref().map(Server::read).transpose()
}

/// One server by id.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_id(conn: &mut Conn, id: ServerId) -> Result<Option<Server>, StoreError> {
    one(conn, BY_ID, id.to_string()).await
}

/// What a server enrolled as.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn record(conn: &mut Conn, id: ServerId) -> Result<Option<ServerRecord>, StoreError> {
    let row = query(RECORD).bind(id.to_string()).fetch_optional(conn).await?;
    row.map(|row| {
        Ok(ServerRecord {
            id: row.parse("id")?,
            name: row.parse("name")?,
            project_id: row.parse("project_id")?,
            agent_key: row.parse("agent_jkt")?,
        })
    })
    .transpose()
}

/// One server by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn by_name(conn: &mut Conn, name: &HostName) -> Result<Option<Server>, StoreError> {
    one(conn, BY_NAME, name.to_string()).await
}

/// One server by id or, when the text is no id, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn find(conn: &mut Conn, name_or_id: &str) -> Result<Option<Server>, StoreError> {
    if let Ok(id) = name_or_id.parse() {
        return by_id(conn, id).await;
    }
    match name_or_id.parse() {
        Ok(name) => by_name(conn, &name).await,
        Err(_) => Ok(None),
    }
}

/// All servers by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list(conn: &mut Conn) -> Result<Vec<Server>, StoreError> {
    query(LIST).fetch_all(conn).await?.iter().map(Server::read).collect()
}

/// The servers of the projects that a user has access to, by name.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn list_visible_to(conn: &mut Conn, user: UserId) -> Result<Vec<Server>, StoreError> {
    let rows = query(LIST_VISIBLE).bind(user.to_string()).fetch_all(conn).await?;
    rows.iter().map(Server::read).collect()
}

/// The bastions of a group, healthy or not.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn bastions(conn: &mut Conn, group: &Label) -> Result<Vec<Server>, StoreError> {
    let rows = query(BASTIONS).bind(group.as_str()).fetch_all(conn).await?;
    rows.iter().map(Server::read).collect()
}

/// The server that an agent's key belongs to; `None` when it was removed or never enrolled.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn agent(conn: &mut Conn, jkt: &Thumbprint) -> Result<Option<Agent>, StoreError> {
    let row = query(AGENT).bind(jkt.to_string()).fetch_optional(conn).await?;
    row.map(|row| Ok(Agent { server_id: row.parse("id")?, project_id: row.parse("project_id")? })).transpose()
}

/// The names that the allocation rule has to avoid when `name` is asked for: itself and `<name>-...`.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn names_like(conn: &mut Conn, name: &HostName) -> Result<BTreeSet<HostName>, StoreError> {
    // A long name loses its end to the number; what is left of it is longer than this.
    const SURE: usize = 40;
    let (low, high) = match name.as_str().get(..SURE) {
        Some(stem) => (stem.to_owned(), format!("{stem}~")),
        // `.` is the character behind `-`: everything in between begins with `<name>-`.
        None => (format!("{name}-"), format!("{name}.")),
    };
    let rows = query(NAMES).bind(name.as_str()).bind(low).bind(high).fetch_all(conn).await?;
    rows.iter().map(|row| row.parse("name")).collect()
}

/// Every placement that servers have, but for `except`'s own: what the rules about hops and cycles are checked
/// against.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn placements_but_for(
    conn: &mut Conn,
    except: Option<ServerId>,
) -> Result<BTreeSet<Placement>, StoreError> {
    let except = except.map(|id| id.to_string()).unwrap_or_default();
    let rows = query(PLACEMENTS).bind(except).fetch_all(conn).await?;
    rows.iter().map(read_placement).collect()
}

/// The server that an agent's key has made already, if any.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn prior(conn: &mut Conn, jkt: &Thumbprint) -> Result<Option<Prior>, StoreError> {
    let Some(row) = query(PRIOR).bind(jkt.to_string()).fetch_optional(conn).await? else {
        return Ok(None);
    };
    let token: Option<TokenId> = row.parse_opt("token_id")?;
    Ok(Some(match token {
        Some(token_id) => Prior::Known(PriorEnrollment {
            server_id: row.parse("id")?,
            token_id,
            enrolled_at: row.time("enrolled_at")?,
        }),
        None => Prior::TokenGone,
    }))
}

/// Writes down a server that has just joined, with its agent's public key (an uncompressed SEC1 point), and counts the
/// token's use.
///
/// # Errors
/// [`EnrollServerError`]; drop the transaction then.
pub async fn enroll(
    tx: &mut WriteTx,
    server: EnrolledServer,
    agent_key: &[u8],
    facts: &HostFacts,
) -> Result<Option<AddressChange>, EnrollServerError> {
    let id = server.id().to_string();
    let token = server.token_id().to_string();
    let jkt = server.agent_key().to_string();
    let conflict = || EnrollServerError::Conflict(server.name().clone());
    let used = query(USE_TOKEN).bind(&token).execute(tx).await.map_err(StoreError::from)?;
    if used.rows_affected() != 1 {
        return Err(conflict());
    }
    let placement = server.placement();
    let created = query(CREATE)
        .bind(&id)
        .bind(server.name().as_str())
        .bind(server.project_id().to_string())
        .bind(role_text(placement))
        .bind(placement.bastion_group().map(Label::as_str))
        .bind(placement.via().map(Label::as_str))
        .bind(to_json(server.labels(), "labels")?)
        .bind(agent_key)
        .bind(&jkt)
        .bind(to_json(facts, "facts")?)
        .bind(server.enrolled_at().as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    if created.rows_affected() != 1 {
        return Err(conflict());
    }
    let mut facts = facts.clone();
    let refused = settle(tx, server.id(), placement, None, &mut facts, server.enrolled_at()).await?;
    query(SET_FACTS)
        .bind(&id)
        .bind(to_json(&facts, "facts")?)
        .bind(to_json(&refused.conflicts, "conflicts")?)
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    query(REDEEM)
        .bind(&token)
        .bind(&jkt)
        .bind(&id)
        .bind(server.enrolled_at().as_millis())
        .execute(tx)
        .await
        .map_err(StoreError::from)?;
    tx.bump_epoch().await?;
    let refused = refused.addresses;
    let change = AddressChange { before: Vec::new(), after: facts.addresses, refused };
    Ok(Some(change).filter(|change| !change.refused.is_empty()))
}

/// Accepts another port of a server's sshd. Its next report may name it.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_port(tx: &mut WriteTx, server: &Server, port: u16) -> Result<(), StoreError> {
    let facts = HostFacts { ssh_port: Some(port), ..server.facts.clone() };
    query(SET_FACTS)
        .bind(server.id.to_string())
        .bind(to_json(&facts, "facts")?)
        .bind(to_json(&server.conflicts, "conflicts")?)
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// Changes a server's place in the network. The rules about hops are the caller's to check in the same transaction.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn set_placement(tx: &mut WriteTx, id: ServerId, placement: &Placement) -> Result<(), StoreError> {
    query(SET_PLACEMENT)
        .bind(id.to_string())
        .bind(role_text(placement))
        .bind(placement.bastion_group().map(Label::as_str))
        .bind(placement.via().map(Label::as_str))
        .execute(tx)
        .await?;
    tx.bump_epoch().await?;
    Ok(())
}

/// Removes a server and its desired state; false when there was none. Its agent is refused from now on.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn remove(tx: &mut WriteTx, id: ServerId) -> Result<bool, StoreError> {
    let done = query(REMOVE).bind(id.to_string()).execute(tx).await?;
    crate::desired::forget_server(tx, id).await?;
    locks::forget(tx, Target::Server(id)).await?;
    tx.bump_epoch().await?;
    Ok(done.rows_affected() == 1)
}

/// Takes over what an agent reports, its addresses as far as they are its own ([`crate::addresses`]). Only other addresses, host keys or trusted authorities move the epoch: routes, hop
/// lists and signing keys depend on them. What was trusted stands until another answer comes. `None` when the server is
/// gone.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn report(
    tx: &mut WriteTx,
    id: ServerId,
    report: &Report,
    now: UnixTime,
) -> Result<Option<Reported>, StoreError> {
    let Some(before) = by_id(tx, id).await? else { return Ok(None) };
    let mut facts = report.facts.clone();
    let refused = settle(tx, id, &before.placement, Some(&before.facts), &mut facts, now).await?;
    let known = before.conflicts.iter().filter(|conflict| conflict.kind == CONFLICT);
    // An agent cannot say what is found here only.
    let of_agent = report.conflicts.iter().filter(|conflict| conflict.kind != CONFLICT);
    let conflicts: Vec<&Conflict> = of_agent.chain(&refused.conflicts).collect();
    let addresses_changed = before.facts.addresses != facts.addresses;
    let trusts = report.trusts.as_ref().or(before.trusts.as_ref());
    let authorities = |trusts: &Trusts| (trusts.ssh_user_ca.clone(), trusts.x509_ca.clone());
    let changed = Reported {
        addresses: (addresses_changed || !known.eq(&refused.conflicts)).then(|| AddressChange {
            before: before.facts.addresses.clone(),
            after: facts.addresses.clone(),
            refused: refused.addresses.clone(),
        }),
        host_keys: before.facts.host_keys != report.facts.host_keys,
        authorities: before.trusts.as_ref().map(authorities) != trusts.map(authorities),
    };
    query(REPORT)
        .bind(id.to_string())
        .bind(to_json(&facts, "facts")?)
        .bind(to_json(&conflicts, "conflicts")?)
        .bind(i64::try_from(report.applied_generation).unwrap_or(i64::MAX))
        .bind(i64::try_from(report.applied_server_generation).unwrap_or(i64::MAX))
        .bind(report.clock_offset_millis)
        .bind(now.as_millis())
        .bind(trusts.map(|trusts| to_json(trusts, "trusts")).transpose()?)
        .execute(tx)
        .await?;
    let rows = query(TAKEN_BY_SERVER).bind(id.to_string()).fetch_all(tx).await?;
    let known: BTreeSet<u32> = rows.iter().map(|row| row.number("unix_id")).collect::<Result<_, _>>()?;
    if known != report.taken_ids {
        query(FORGET_TAKEN).bind(id.to_string()).execute(tx).await?;
        for taken in &report.taken_ids {
            query(REMEMBER_TAKEN).bind(id.to_string()).bind(i64::from(*taken)).execute(tx).await?;
        }
    }
    if addresses_changed || changed.host_keys || changed.authorities {
        tx.bump_epoch().await?;
    }
    Ok(Some(changed))
}
