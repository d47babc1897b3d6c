//! Desired state: what its documents are made of, read in one snapshot, and the signed documents themselves. Nothing is
//! signed here and no document is laid out here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use usher_types::{
    DisplayName, GroupId, HostName, Label, LoginName, ProjectId, ProjectSlug, ServerId, Sha256,
    UnixGroupName, UnixTime, UserId,
};

use crate::{
    AdminSudo, Conn, PortForwarding, ServerRole, StoreError, WriteTx,
    conn::query,
    row::{Columns, Row, statements},
    servers::HostFacts,
};

statements! {
    PROJECT = "SELECT id, slug, admin_sudo, port_forwarding,
        (SELECT COUNT(*) FROM locks l WHERE l.kind = 'project' AND l.target = projects.id) AS locks
        FROM projects WHERE id = $1";
    ACCOUNTS = "SELECT a.user_id, a.login, a.unix_uid, a.unix_gid, u.display_name, MAX(g.server_admin) AS admin,
        (SELECT COUNT(*) FROM locks l WHERE l.kind = 'user' AND l.target = a.user_id) AS locks
        FROM project_users a
        JOIN users u ON u.id = a.user_id AND u.status = 'active'
        JOIN group_members m ON m.user_id = a.user_id
        JOIN project_groups g ON g.group_id = m.group_id AND g.project_id = a.project_id
            AND g.removed_at IS NULL AND g.server_access = 1
        WHERE a.project_id = $1
        GROUP BY a.user_id, a.login, a.unix_uid, a.unix_gid, u.display_name";
    WITHOUT_ACCOUNT = "SELECT 1 AS found
        FROM project_groups g
        JOIN group_members m ON m.group_id = g.group_id
        JOIN users u ON u.id = m.user_id AND u.status = 'active'
        LEFT JOIN project_users a ON a.project_id = g.project_id AND a.user_id = m.user_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL AND g.server_access = 1 AND a.user_id IS NULL
        LIMIT 1";
    GROUPS = "SELECT group_id, unix_group_name, unix_gid FROM project_groups
        WHERE project_id = $1 AND removed_at IS NULL";
    MEMBERS = "SELECT g.group_id, a.login FROM project_groups g
        JOIN group_members m ON m.group_id = g.group_id
        JOIN project_users a ON a.project_id = g.project_id AND a.user_id = m.user_id
        WHERE g.project_id = $1 AND g.removed_at IS NULL";
    SERVERS = "SELECT id, name, role, bastion_group,
        (SELECT COUNT(*) FROM locks l WHERE l.kind = 'server' AND l.target = servers.id) AS locks
        FROM servers WHERE project_id = $1";
    REACHED = "SELECT id, via, facts FROM servers WHERE via IN
        (SELECT bastion_group FROM servers WHERE project_id = $1 AND role = 'bastion' AND bastion_group IS NOT NULL)";
    PROJECT_HEAD = "SELECT document, generation, sha256, key_id FROM documents WHERE document = $1";
    SERVER_HEADS = "SELECT d.document, d.generation, d.sha256, d.key_id FROM servers s JOIN documents d ON d.document = s.id
        WHERE s.project_id = $1";
    DOCUMENT = "SELECT document, generation, sha256, head, signature, key_id, body, issued_at
        FROM documents WHERE document = $1";
    FIRST = "INSERT INTO documents (document, generation, sha256, head, signature, key_id, body, issued_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    NEXT = "UPDATE documents SET generation = $2, sha256 = $3, head = $4, signature = $5, key_id = $6, body = $7,
        issued_at = $8 WHERE document = $1 AND generation = $9";
    FORGET = "DELETE FROM documents WHERE document = $1";
}

/// What a project's document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectState {
    /// The project.
    pub id: ProjectId,
    /// Its name.
    pub slug: ProjectSlug,
    /// How administrators use sudo.
    pub admin_sudo: AdminSudo,
    /// What may be forwarded on its servers.
    pub port_forwarding: PortForwarding,
    /// Active users with access to its servers.
    pub accounts: Vec<Account>,
    /// Its groups.
    pub groups: Vec<UnixGroup>,
    /// Whether it is locked.
    pub locked: bool,
}

/// An account that should be on every server of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub user_id: UserId,
    /// Its name.
    pub login: LoginName,
    /// Its UID.
    pub uid: u32,
    /// Its private group's GID.
    pub gid: u32,
    /// What the person is called.
    pub display_name: DisplayName,
    /// Whether it may use sudo.
    pub admin: bool,
    /// Whether its user is locked.
    pub locked: bool,
}

/// A Unix group that should be on every server of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixGroup {
    /// Its name.
    pub name: UnixGroupName,
    /// Its GID.
    pub gid: u32,
    /// Those of its members who have an account.
    pub members: BTreeSet<LoginName>,
}

/// What a server's document says, but for [`Reached`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPlace {
    /// The server.
    pub id: ServerId,
    /// Its name.
    pub name: HostName,
    /// Whether it forwards.
    pub role: ServerRole,
    /// The group it belongs to.
    pub bastion_group: Option<Label>,
    /// Whether it is locked.
    pub locked: bool,
}

/// A server that is reached through a bastion group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The server, of this or another project.
    pub id: ServerId,
    /// The group.
    pub via: Label,
    /// Where its sshd listens, at the port that bastions open.
    pub addresses: Vec<SocketAddr>,
}

/// Which generation of a document is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHead {
    /// Its generation.
    pub generation: u64,
    /// SHA-256 of its body.
    pub sha256: Sha256,
    /// Which state key signed it.
    pub key_id: String,
}

/// A signed document. `document` names what it is about: a project's or a server's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// A project's or a server's id.
    pub document: String,
    /// Grows by one with every change.
    pub generation: u64,
    /// SHA-256 of `body`.
    pub sha256: Sha256,
    /// The signed head.
    pub head: String,
    /// The signature over it, `r || s`.
    pub signature: Vec<u8>,
    /// Which state key signed.
    pub key_id: String,
    /// The exact bytes that `sha256` is of.
    pub body: String,
    /// When it was signed.
    pub issued_at: UnixTime,
}

/// Everything of one snapshot that the documents of a project and its servers are made of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The project.
    pub project: ProjectState,
    /// Its servers.
    pub servers: Vec<ServerPlace>,
    /// What is reached through its bastions.
    pub reached: Vec<Reached>,
    /// What is stored already, by document.
    pub stored: BTreeMap<String, StoredHead>,
}

/// Reads everything that a project's documents are made of; `None` when there is no such project. Give it a
/// [`Reader`](crate::Reader): all parts must be of one snapshot.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn snapshot(conn: &mut Conn, project: ProjectId) -> Result<Option<Snapshot>, StoreError> {
    let id = project.to_string();
    let Some(project) = project_state(conn, &id).await? else { return Ok(None) };
    let servers = query(SERVERS).bind(&id).fetch_all(&mut *conn).await?;
    let servers = servers.iter().map(read_place).collect::<Result<_, _>>()?;
    let reached = query(REACHED).bind(&id).fetch_all(&mut *conn).await?;
    let reached = reached.iter().map(read_reached).collect::<Result<_, _>>()?;
    let mut stored = BTreeMap::new();
    for sql in [PROJECT_HEAD, SERVER_HEADS] {
        for row in query(sql).bind(&id).fetch_all(&mut *conn).await? {
            let head = StoredHead {
                generation: row.number("generation")?,
                sha256: row.parse("sha256")?,
                key_id: row.text("key_id")?,
            };
            stored.insert(row.text("document")?, head);
        }
    }
    Ok(Some(Snapshot { project, servers, reached, stored }))
}

async fn project_state(conn: &mut Conn, id: &str) -> Result<Option<ProjectState>, StoreError> {
    let Some(row) = query(PROJECT).bind(id).fetch_optional(&mut *conn).await? else { return Ok(None) };
    let accounts = query(ACCOUNTS).bind(id).fetch_all(&mut *conn).await?;
    let accounts: Vec<Account> = accounts.iter().map(read_account).collect::<Result<_, _>>()?;
    let logins: BTreeSet<&LoginName> = accounts.iter().map(|account| &account.login).collect();
    let mut members = BTreeMap::<GroupId, BTreeSet<LoginName>>::new();
    for member in query(MEMBERS).bind(id).fetch_all(&mut *conn).await? {
        let login: LoginName = member.parse("login")?;
        if logins.contains(&login) {
            members.entry(member.parse("group_id")?).or_default().insert(login);
        }
    }
    let mut groups = Vec::new();
    for group in query(GROUPS).bind(id).fetch_all(&mut *conn).await? {
        groups.push(UnixGroup {
            name: group.parse("unix_group_name")?,
            gid: group.number("unix_gid")?,
            members: members.remove(&group.parse("group_id")?).unwrap_or_default(),
        });
    }
    Ok(Some(ProjectState {
        id: row.parse("id")?,
        slug: row.parse("slug")?,
        admin_sudo: row.parse("admin_sudo")?,
        port_forwarding: row.parse("port_forwarding")?,
        accounts,
        groups,
        locked: row.int("locks")? > 0,
    }))
}

fn read_account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        user_id: row.parse("user_id")?,
        login: row.parse("login")?,
        uid: row.number("unix_uid")?,
        gid: row.number("unix_gid")?,
        display_name: row.parse("display_name")?,
        admin: row.flag("admin")?,
        locked: row.int("locks")? > 0,
    })
}

fn read_place(row: &Row) -> Result<ServerPlace, StoreError> {
    Ok(ServerPlace {
        id: row.parse("id")?,
        name: row.parse("name")?,
        role: row.parse("role")?,
        bastion_group: row.parse_opt("bastion_group")?,
        locked: row.int("locks")? > 0,
    })
}

fn read_reached(row: &Row) -> Result<Reached, StoreError> {
    let facts: HostFacts = row.json("facts")?;
    Ok(Reached { id: row.parse("id")?, via: row.parse("via")?, addresses: facts.behind_bastions() })
}

/// Whether somebody has access to the project's servers and no account there yet.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn lacks_accounts(conn: &mut Conn, project: ProjectId) -> Result<bool, StoreError> {
    Ok(query(WITHOUT_ACCOUNT).bind(project.to_string()).fetch_optional(conn).await?.is_some())
}

/// One signed document.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn document(conn: &mut Conn, document: &str) -> Result<Option<StoredDocument>, StoreError> {
    let row = query(DOCUMENT).bind(document).fetch_optional(conn).await?;
    row.map(|row| {
        Ok(StoredDocument {
            document: row.text("document")?,
            generation: row.number("generation")?,
            sha256: row.parse("sha256")?,
            head: row.text("head")?,
            signature: row.bytes("signature")?,
            key_id: row.text("key_id")?,
            body: row.text("body")?,
            issued_at: row.time("issued_at")?,
        })
    })
    .transpose()
}

/// Stores the generation that follows the one that is stored (1 when there is none). False when another broker was
/// faster; then nothing was stored, and the state is to be read again.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn put(tx: &mut WriteTx, document: &StoredDocument) -> Result<bool, StoreError> {
    let generation =
        i64::try_from(document.generation).map_err(|_error| StoreError::Corrupt { column: "generation" })?;
    let first = generation == 1;
    let query = query(if first { FIRST } else { NEXT })
        .bind(&document.document)
        .bind(generation)
        .bind(document.sha256.to_string())
        .bind(&document.head)
        .bind(document.signature.as_slice())
        .bind(&document.key_id)
        .bind(&document.body)
        .bind(document.issued_at.as_millis());
    let query = if first { query } else { query.bind(generation.saturating_sub(1)) };
    Ok(query.execute(tx).await?.rows_affected() == 1)
}

/// Forgets the document of a server that is removed.
pub(crate) async fn forget_server(tx: &mut WriteTx, server: ServerId) -> Result<(), StoreError> {
    query(FORGET).bind(server.to_string()).execute(tx).await?;
    Ok(())
}
