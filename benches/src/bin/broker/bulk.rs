//! Rows in bulk: a team of any size around the real one. Written by SQL while no broker runs; nobody signs in as these
//! users, but every decision has to find its way between them.

use std::path::Path;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::Options;

/// Most servers that are asked for: more would measure how well the generator spreads.
const TARGETS: usize = 1000;

/// Ids are digits behind the prefix: as good as any. `{n}` counts from 1 to `$1`.
const FILL: [&str; 8] = [
    "INSERT INTO users (id, user_name, display_name, unix_user_name, status, team_role, created_at)
     SELECT 'usr_' || printf('%026d', i), 'bulk' || i, 'Bulk ' || i, 'bulk' || i, 'active', 'member', 0 FROM n WHERE i <= {users}",
    "INSERT INTO groups (id, name, created_at)
     SELECT 'grp_' || printf('%026d', i), 'bulk' || i, 0 FROM n WHERE i <= {projects}",
    "INSERT INTO group_members (group_id, user_id, added_at)
     SELECT DISTINCT 'grp_' || printf('%026d', (u.i * 20 + k.i) % {projects} + 1), 'usr_' || printf('%026d', u.i), 0
     FROM n u CROSS JOIN n k WHERE u.i <= {users} AND k.i <= 20",
    "INSERT INTO projects (id, slug, next_unix_uid, next_unix_gid, ssh_certificate_type, certificate_lifetime_seconds,
        clock_skew_seconds, port_forwarding, admin_sudo, created_at)
     SELECT 'prj_' || printf('%026d', i), 'bulk' || i, 90001, 90001, 'ed25519', 180, 60, 'local', 'passwordless', 0
     FROM n WHERE i <= {projects}",
    "INSERT INTO project_groups (project_id, group_id, server_access, server_admin, unix_group_name, unix_gid, created_at)
     SELECT 'prj_' || printf('%026d', p.i), 'grp_' || printf('%026d', (p.i + k.i) % {projects} + 1), 1, 0,
        'bulk' || ((p.i + k.i) % {projects} + 1), 63001 + k.i, 0
     FROM n p CROSS JOIN n k WHERE p.i <= {projects} AND k.i <= 3",
    "INSERT INTO project_users (project_id, user_id, login, unix_uid, unix_gid, created_at)
     SELECT project_id, user_id, 'bulk' || CAST(substr(user_id, 5) AS INTEGER), 70000 + o, 70000 + o, 0 FROM (
        SELECT project_id, user_id, row_number() OVER (PARTITION BY project_id ORDER BY user_id) AS o FROM (
            SELECT DISTINCT g.project_id, m.user_id FROM project_groups g JOIN group_members m ON m.group_id = g.group_id
            WHERE g.project_id LIKE 'prj_00000000%'))",
    // Every project's CA, the real ones' too, has a row of the same size; these do not open, and nobody asks for them.
    "INSERT INTO keys (id, purpose, project_id, algorithm, public, sealed, state, created_at)
     SELECT 'bulk' || i, 'ssh-user-ca', 'prj_' || printf('%026d', i), 'ed25519', randomblob(32), randomblob(128), 'active', 0
     FROM n WHERE i <= {projects}",
    // A tenth goes to the projects that are asked for.
    "INSERT INTO servers (id, name, project_id, role, labels, agent_key, agent_jkt, facts, conflicts, applied_generation,
        applied_server_generation, enrolled_at, last_seen_at)
     SELECT 'srv_' || printf('%026d', i), 'bulk-' || i,
        CASE WHEN i % 10 = 0 THEN (SELECT id FROM projects WHERE slug = 'load-' || (i / 10 % 10))
             ELSE 'prj_' || printf('%026d', i % {projects} + 1) END,
        'target', '{}', randomblob(65), hex(randomblob(20)) || i,
        (SELECT json_set(facts, '$.host_keys[1]', 'ecdsa-sha2-nistp256 ' || hex(randomblob(70)),
            '$.host_keys[2]', 'ssh-rsa ' || hex(randomblob(190))) FROM servers WHERE name = 'load-0-0'),
        '[]', 1, 1, 0, 0
     FROM n WHERE i <= {servers}",
];

async fn open(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.unwrap()
}

/// Adds what the options say.
pub(crate) async fn fill(database: &Path, options: &Options) {
    let mut connection = open(database).await;
    let (projects, servers, users) = (options.projects, options.servers, options.users);
    let most = projects.max(servers).max(users).max(20);
    let with = format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most})");
    sqlx::query("BEGIN").execute(&mut connection).await.unwrap();
    for statement in FILL {
        let sql = statement
            .replace("{projects}", &projects.to_string())
            .replace("{servers}", &servers.to_string())
            .replace("{users}", &users.to_string());
        let (insert, select) = sql.split_once("SELECT").unwrap();
        let sql = format!("{insert} {with} SELECT {select}");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    sqlx::query("UPDATE epoch SET value = value + 1").execute(&mut connection).await.unwrap();
    sqlx::query("COMMIT").execute(&mut connection).await.unwrap();
    sqlx::query("ANALYZE").execute(&mut connection).await.unwrap();
}

/// Names of servers that the team's users may connect to.
pub(crate) async fn targets(database: &Path) -> Vec<String> {
    let mut connection = open(database).await;
    let sql = "SELECT s.name FROM servers s JOIN projects p ON p.id = s.project_id WHERE p.slug LIKE 'load-%' ORDER BY s.id";
    let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
    let step = rows.len().div_ceil(TARGETS).max(1);
    rows.iter().step_by(step).map(|row| row.get("name")).collect()
}
