-- Everything the first version keeps. Ids are TEXT with their prefix, times INTEGER milliseconds since 1970, flags 0 or 1,
-- digests 43 characters of base64url, JSON as TEXT. STRICT makes SQLite refuse what PostgreSQL would refuse. Text
-- compares byte by byte (BINARY here, COLLATE "C" there).

-- One row: which team this database belongs to.
CREATE TABLE team (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    slug        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- One row: moves with every change that can turn an allow into a deny. Each issuing batch compares it.
CREATE TABLE epoch (
    singleton   INTEGER PRIMARY KEY CHECK (singleton = 1),
    value       INTEGER NOT NULL
) STRICT;
INSERT INTO epoch (singleton, value) VALUES (1, 1);

CREATE TABLE users (
    id              TEXT PRIMARY KEY,
    user_name       TEXT NOT NULL UNIQUE,
    display_name    TEXT NOT NULL,
    unix_user_name  TEXT NOT NULL UNIQUE,
    status          TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
    team_admin      INTEGER NOT NULL CHECK (team_admin IN (0, 1)),
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE passwords (
    user_id     TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash        TEXT NOT NULL,
    changed_at  INTEGER NOT NULL
) STRICT;

-- last_used_step: a code works once (RFC 6238 section 5.2).
CREATE TABLE totp_secrets (
    user_id         TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed          BLOB NOT NULL,
    last_used_step  INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;

CREATE TABLE sign_in_failures (
    user_id         TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    failed_attempts INTEGER NOT NULL,
    locked_until    INTEGER
) STRICT;

-- One code per user.
CREATE TABLE set_up_codes (
    user_id     TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    code_hash   TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE group_members (
    group_id    TEXT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    added_at    INTEGER NOT NULL,
    PRIMARY KEY (group_id, user_id)
) STRICT;
CREATE INDEX group_members_by_user ON group_members (user_id);

CREATE TABLE projects (
    id                              TEXT PRIMARY KEY,
    slug                            TEXT NOT NULL UNIQUE,
    next_unix_uid                   INTEGER NOT NULL,
    next_unix_gid                   INTEGER NOT NULL,
    ssh_certificate_type            TEXT NOT NULL CHECK (ssh_certificate_type IN ('ed25519', 'ecdsa-p256')),
    certificate_lifetime_seconds    INTEGER NOT NULL CHECK (certificate_lifetime_seconds > 0),
    clock_skew_seconds              INTEGER NOT NULL CHECK (clock_skew_seconds >= 0),
    port_forwarding                 TEXT NOT NULL CHECK (port_forwarding IN ('off', 'local', 'all')),
    admin_sudo                      TEXT NOT NULL CHECK (admin_sudo IN ('passwordless')),
    created_at                      INTEGER NOT NULL,
    CHECK (certificate_lifetime_seconds + clock_skew_seconds <= 600)
) STRICT;

-- A group that was taken out keeps its row (removed_at) and so its GID; the directory group itself may be gone.
CREATE TABLE project_groups (
    project_id      TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    group_id        TEXT NOT NULL,
    server_access   INTEGER NOT NULL CHECK (server_access IN (0, 1)),
    server_admin    INTEGER NOT NULL CHECK (server_admin IN (0, 1)),
    unix_group_name TEXT NOT NULL,
    unix_gid        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    removed_at      INTEGER,
    PRIMARY KEY (project_id, group_id),
    UNIQUE (project_id, unix_gid),
    CHECK (server_access = 1 OR server_admin = 0)
) STRICT;
CREATE INDEX project_groups_by_group ON project_groups (group_id);
CREATE UNIQUE INDEX project_groups_live_name ON project_groups (project_id, unix_group_name) WHERE removed_at IS NULL;

-- Never deleted while the project lives, not even with the user: login, UID and GID are not given out twice.
CREATE TABLE project_users (
    project_id  TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL,
    login       TEXT NOT NULL,
    unix_uid    INTEGER NOT NULL,
    unix_gid    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (project_id, user_id),
    UNIQUE (project_id, login),
    UNIQUE (project_id, unix_uid),
    UNIQUE (project_id, unix_gid)
) STRICT;
CREATE INDEX project_users_by_user ON project_users (user_id);
CREATE INDEX project_users_by_login ON project_users (login);

-- purpose: ssh-user-ca, x509-ca (with a project), state, tls-root, audit (without). public: raw Ed25519 key or SEC1
-- point. sealed: the private key under the seal key. certificate: DER of a CA certificate, where there is one.
CREATE TABLE keys (
    id          TEXT PRIMARY KEY,
    purpose     TEXT NOT NULL CHECK (purpose IN ('ssh-user-ca', 'x509-ca', 'state', 'tls-root', 'audit')),
    project_id  TEXT REFERENCES projects (id) ON DELETE CASCADE,
    algorithm   TEXT NOT NULL CHECK (algorithm IN ('ed25519', 'p256')),
    public      BLOB NOT NULL,
    sealed      BLOB NOT NULL,
    certificate BLOB,
    state       TEXT NOT NULL CHECK (state IN ('active', 'retired')),
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX keys_by_purpose ON keys (purpose, project_id);

CREATE TABLE nonce_keys (
    id          INTEGER PRIMARY KEY,
    key         BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE enrollment_tokens (
    id              TEXT PRIMARY KEY,
    project_id      TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    description     TEXT NOT NULL,
    secret_hash     TEXT NOT NULL,
    created_by      TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    max_uses        INTEGER NOT NULL CHECK (max_uses > 0),
    uses            INTEGER NOT NULL CHECK (uses >= 0 AND uses <= max_uses),
    role            TEXT NOT NULL CHECK (role IN ('target', 'bastion')),
    bastion_group   TEXT,
    via             TEXT,
    labels          TEXT NOT NULL,
    name_pattern    TEXT,
    cidr            TEXT,
    revoked_at      INTEGER
) STRICT;

-- name: unique in the team. facts, conflicts: JSON as the agent reported them. agent_key: SEC1 point.
CREATE TABLE servers (
    id                          TEXT PRIMARY KEY,
    name                        TEXT NOT NULL UNIQUE,
    project_id                  TEXT NOT NULL REFERENCES projects (id),
    role                        TEXT NOT NULL CHECK (role IN ('target', 'bastion')),
    bastion_group               TEXT,
    via                         TEXT,
    labels                      TEXT NOT NULL,
    agent_key                   BLOB NOT NULL,
    agent_jkt                   TEXT NOT NULL UNIQUE,
    facts                       TEXT NOT NULL,
    conflicts                   TEXT NOT NULL,
    applied_generation          INTEGER NOT NULL,
    applied_server_generation   INTEGER NOT NULL,
    clock_offset_millis         INTEGER,
    enrolled_at                 INTEGER NOT NULL,
    last_seen_at                INTEGER
) STRICT;
CREATE INDEX servers_by_project ON servers (project_id);
CREATE INDEX servers_by_bastion_group ON servers (bastion_group);

-- Makes redemption idempotent for the same agent key.
CREATE TABLE token_redemptions (
    token_id    TEXT NOT NULL REFERENCES enrollment_tokens (id) ON DELETE CASCADE,
    agent_jkt   TEXT NOT NULL,
    server_id   TEXT NOT NULL,
    redeemed_at INTEGER NOT NULL,
    PRIMARY KEY (token_id, agent_jkt)
) STRICT;

-- UIDs and GIDs of the managed ranges that a host uses for something of its own.
CREATE TABLE taken_ids (
    server_id   TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    unix_id     INTEGER NOT NULL,
    PRIMARY KEY (server_id, unix_id)
) STRICT;

CREATE TABLE devices (
    id          TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    key         BLOB NOT NULL,
    jkt         TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'revoked')),
    created_at  INTEGER NOT NULL,
    decided_at  INTEGER,
    decided_by  TEXT,
    UNIQUE (user_id, jkt)
) STRICT;
CREATE INDEX devices_by_jkt ON devices (jkt);

CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    token_id    TEXT NOT NULL UNIQUE,
    token_hash  TEXT NOT NULL,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device_id   TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    auth_time   INTEGER NOT NULL,
    amr         TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_device ON sessions (device_id);

-- Between the sign-in page and the session. request_hash: one page leads to one code.
CREATE TABLE authorization_codes (
    code_hash       TEXT PRIMARY KEY,
    request_hash    TEXT NOT NULL UNIQUE,
    user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    redirect_uri    TEXT NOT NULL,
    code_challenge  TEXT NOT NULL,
    dpop_jkt        TEXT NOT NULL,
    auth_time       INTEGER NOT NULL,
    amr             TEXT NOT NULL,
    expires_at      INTEGER NOT NULL,
    used_at         INTEGER
) STRICT;

-- Writes by the proof that named them. content: digest over method, path, query and body. status NULL: claimed, not
-- answered. answer NULL with a status: a secret that was shown once.
CREATE TABLE requests (
    jkt         TEXT NOT NULL,
    jti         TEXT NOT NULL,
    content     TEXT NOT NULL,
    status      INTEGER,
    answer      BLOB,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (jkt, jti)
) STRICT;
CREATE INDEX requests_by_expiry ON requests (expires_at);

-- History: no foreign keys. certificates: JSON list of {server, principal, serial, sha256}. The row is also its request's
-- idempotency record; answer is forgotten after ten minutes.
CREATE TABLE connections (
    id              TEXT PRIMARY KEY,
    project_id      TEXT NOT NULL,
    server_id       TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    device_id       TEXT NOT NULL,
    session_id      TEXT NOT NULL,
    login           TEXT NOT NULL,
    purpose         TEXT NOT NULL,
    client_address  TEXT,
    certificates    TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    jkt             TEXT NOT NULL,
    jti             TEXT NOT NULL,
    method          TEXT NOT NULL,
    path            TEXT NOT NULL,
    body_hash       TEXT NOT NULL,
    answer          TEXT,
    UNIQUE (jkt, jti)
) STRICT;
CREATE INDEX connections_by_time ON connections (created_at);
CREATE INDEX connections_with_answer ON connections (created_at) WHERE answer IS NOT NULL;

-- position orders the log for readers; (writer, sequence) orders a chain. body: the exact JSON bytes that were hashed.
CREATE TABLE audit (
    position        INTEGER PRIMARY KEY AUTOINCREMENT,
    writer          TEXT NOT NULL,
    sequence        INTEGER NOT NULL,
    previous_hash   TEXT NOT NULL,
    hash            TEXT NOT NULL,
    body            BLOB NOT NULL,
    UNIQUE (writer, sequence)
) STRICT;

-- Signed heads, a chain themselves. body: the exact bytes that were signed. position: the last row of the log that it
-- speaks about.
CREATE TABLE audit_checkpoints (
    number      INTEGER PRIMARY KEY,
    position    INTEGER NOT NULL,
    body        BLOB NOT NULL,
    signature   BLOB NOT NULL,
    key_id      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- Signed desired state, the newest of each document. document: a project's or a server's id.
CREATE TABLE documents (
    document    TEXT PRIMARY KEY,
    generation  INTEGER NOT NULL,
    sha256      TEXT NOT NULL,
    head        TEXT NOT NULL,
    signature   BLOB NOT NULL,
    key_id      TEXT NOT NULL,
    body        TEXT NOT NULL,
    issued_at   INTEGER NOT NULL
) STRICT;
