-- The tables of migrations/sqlite/0101_initial.sql, in PostgreSQL's spelling: BIGINT for INTEGER, BYTEA for BLOB, and text
-- that compares byte by byte.

-- One row: which team this database belongs to.
CREATE TABLE team (
    singleton   BIGINT PRIMARY KEY CHECK (singleton = 1),
    slug        TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL
);

-- One row: moves with every change that can turn an allow into a deny. Each issuing batch compares it.
CREATE TABLE epoch (
    singleton   BIGINT PRIMARY KEY CHECK (singleton = 1),
    value       BIGINT NOT NULL
);
INSERT INTO epoch (singleton, value) VALUES (1, 1);

CREATE TABLE users (
    id              TEXT COLLATE "C" PRIMARY KEY,
    user_name       TEXT COLLATE "C" NOT NULL UNIQUE,
    display_name    TEXT COLLATE "C" NOT NULL,
    unix_user_name  TEXT COLLATE "C" NOT NULL UNIQUE,
    status          TEXT COLLATE "C" NOT NULL CHECK (status IN ('active', 'disabled')),
    team_admin      BIGINT NOT NULL CHECK (team_admin IN (0, 1)),
    created_at      BIGINT NOT NULL
);

CREATE TABLE passwords (
    user_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    hash        TEXT COLLATE "C" NOT NULL,
    changed_at  BIGINT NOT NULL
);

-- last_used_step: a code works once (RFC 6238 section 5.2).
CREATE TABLE totp_secrets (
    user_id         TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed          BYTEA NOT NULL,
    last_used_step  BIGINT NOT NULL,
    created_at      BIGINT NOT NULL
);

CREATE TABLE sign_in_failures (
    user_id         TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    failed_attempts BIGINT NOT NULL,
    locked_until    BIGINT
);

-- One code per user.
CREATE TABLE set_up_codes (
    user_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    code_hash   TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);

CREATE TABLE groups (
    id          TEXT COLLATE "C" PRIMARY KEY,
    name        TEXT COLLATE "C" NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

CREATE TABLE group_members (
    group_id    TEXT COLLATE "C" NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    added_at    BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_by_user ON group_members (user_id);

CREATE TABLE projects (
    id                              TEXT COLLATE "C" PRIMARY KEY,
    slug                            TEXT COLLATE "C" NOT NULL UNIQUE,
    next_unix_uid                   BIGINT NOT NULL,
    next_unix_gid                   BIGINT NOT NULL,
    ssh_certificate_type            TEXT COLLATE "C" NOT NULL CHECK (ssh_certificate_type IN ('ed25519', 'ecdsa-p256')),
    certificate_lifetime_seconds    BIGINT NOT NULL CHECK (certificate_lifetime_seconds > 0),
    clock_skew_seconds              BIGINT NOT NULL CHECK (clock_skew_seconds >= 0),
    port_forwarding                 TEXT COLLATE "C" NOT NULL CHECK (port_forwarding IN ('off', 'local', 'all')),
    admin_sudo                      TEXT COLLATE "C" NOT NULL CHECK (admin_sudo IN ('passwordless')),
    created_at                      BIGINT NOT NULL,
    CHECK (certificate_lifetime_seconds + clock_skew_seconds <= 600)
);

-- A group that was taken out keeps its row (removed_at) and so its GID; the directory group itself may be gone.
CREATE TABLE project_groups (
    project_id      TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    group_id        TEXT COLLATE "C" NOT NULL,
    server_access   BIGINT NOT NULL CHECK (server_access IN (0, 1)),
    server_admin    BIGINT NOT NULL CHECK (server_admin IN (0, 1)),
    unix_group_name TEXT COLLATE "C" NOT NULL,
    unix_gid        BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    removed_at      BIGINT,
    PRIMARY KEY (project_id, group_id),
    UNIQUE (project_id, unix_gid),
    CHECK (server_access = 1 OR server_admin = 0)
);
CREATE INDEX project_groups_by_group ON project_groups (group_id);
CREATE UNIQUE INDEX project_groups_live_name ON project_groups (project_id, unix_group_name) WHERE removed_at IS NULL;

-- Never deleted while the project lives, not even with the user: login, UID and GID are not given out twice.
CREATE TABLE project_users (
    project_id  TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id     TEXT COLLATE "C" NOT NULL,
    login       TEXT COLLATE "C" NOT NULL,
    unix_uid    BIGINT NOT NULL,
    unix_gid    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id),
    UNIQUE (project_id, login),
    UNIQUE (project_id, unix_uid),
    UNIQUE (project_id, unix_gid)
);
CREATE INDEX project_users_by_user ON project_users (user_id);
CREATE INDEX project_users_by_login ON project_users (login);

-- purpose: ssh-user-ca, x509-ca (with a project), state, tls-root, audit (without). public: raw Ed25519 key or SEC1
-- point. sealed: the private key under the seal key. certificate: DER of a CA certificate, where there is one.
CREATE TABLE keys (
    id          TEXT COLLATE "C" PRIMARY KEY,
    purpose     TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('ssh-user-ca', 'x509-ca', 'state', 'tls-root', 'audit')),
    project_id  TEXT COLLATE "C" REFERENCES projects (id) ON DELETE CASCADE,
    algorithm   TEXT COLLATE "C" NOT NULL CHECK (algorithm IN ('ed25519', 'p256')),
    public      BYTEA NOT NULL,
    sealed      BYTEA NOT NULL,
    certificate BYTEA,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'retired')),
    created_at  BIGINT NOT NULL
);
CREATE INDEX keys_by_purpose ON keys (purpose, project_id);

CREATE TABLE nonce_keys (
    id          BIGINT PRIMARY KEY,
    key         BYTEA NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE enrollment_tokens (
    id              TEXT COLLATE "C" PRIMARY KEY,
    project_id      TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    description     TEXT COLLATE "C" NOT NULL,
    secret_hash     TEXT COLLATE "C" NOT NULL,
    created_by      TEXT COLLATE "C" NOT NULL,
    created_by_name TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    max_uses        BIGINT NOT NULL CHECK (max_uses > 0),
    uses            BIGINT NOT NULL CHECK (uses >= 0 AND uses <= max_uses),
    role            TEXT COLLATE "C" NOT NULL CHECK (role IN ('target', 'bastion')),
    bastion_group   TEXT COLLATE "C",
    via             TEXT COLLATE "C",
    labels          TEXT COLLATE "C" NOT NULL,
    name_pattern    TEXT COLLATE "C",
    cidr            TEXT COLLATE "C",
    revoked_at      BIGINT
);

-- name: unique in the team. facts, conflicts: JSON as the agent reported them. agent_key: SEC1 point.
CREATE TABLE servers (
    id                          TEXT COLLATE "C" PRIMARY KEY,
    name                        TEXT COLLATE "C" NOT NULL UNIQUE,
    project_id                  TEXT COLLATE "C" NOT NULL REFERENCES projects (id),
    role                        TEXT COLLATE "C" NOT NULL CHECK (role IN ('target', 'bastion')),
    bastion_group               TEXT COLLATE "C",
    via                         TEXT COLLATE "C",
    labels                      TEXT COLLATE "C" NOT NULL,
    agent_key                   BYTEA NOT NULL,
    agent_jkt                   TEXT COLLATE "C" NOT NULL UNIQUE,
    facts                       TEXT COLLATE "C" NOT NULL,
    conflicts                   TEXT COLLATE "C" NOT NULL,
    applied_generation          BIGINT NOT NULL,
    applied_server_generation   BIGINT NOT NULL,
    clock_offset_millis         BIGINT,
    enrolled_at                 BIGINT NOT NULL,
    last_seen_at                BIGINT
);
CREATE INDEX servers_by_project ON servers (project_id);
CREATE INDEX servers_by_bastion_group ON servers (bastion_group);

-- Makes redemption idempotent for the same agent key.
CREATE TABLE token_redemptions (
    token_id    TEXT COLLATE "C" NOT NULL REFERENCES enrollment_tokens (id) ON DELETE CASCADE,
    agent_jkt   TEXT COLLATE "C" NOT NULL,
    server_id   TEXT COLLATE "C" NOT NULL,
    redeemed_at BIGINT NOT NULL,
    PRIMARY KEY (token_id, agent_jkt)
);

-- UIDs and GIDs of the managed ranges that a host uses for something of its own.
CREATE TABLE taken_ids (
    server_id   TEXT COLLATE "C" NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    unix_id     BIGINT NOT NULL,
    PRIMARY KEY (server_id, unix_id)
);

CREATE TABLE devices (
    id          TEXT COLLATE "C" PRIMARY KEY,
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name        TEXT COLLATE "C" NOT NULL,
    key         BYTEA NOT NULL,
    jkt         TEXT COLLATE "C" NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'revoked')),
    created_at  BIGINT NOT NULL,
    decided_at  BIGINT,
    decided_by  TEXT COLLATE "C",
    UNIQUE (user_id, jkt)
);
CREATE INDEX devices_by_jkt ON devices (jkt);

CREATE TABLE sessions (
    id          TEXT COLLATE "C" PRIMARY KEY,
    token_id    TEXT COLLATE "C" NOT NULL UNIQUE,
    token_hash  TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device_id   TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    auth_time   BIGINT NOT NULL,
    amr         TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    ended_at    BIGINT
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_device ON sessions (device_id);

-- Between the sign-in page and the session. request_hash: one page leads to one code.
CREATE TABLE authorization_codes (
    code_hash       TEXT COLLATE "C" PRIMARY KEY,
    request_hash    TEXT COLLATE "C" NOT NULL UNIQUE,
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    redirect_uri    TEXT COLLATE "C" NOT NULL,
    code_challenge  TEXT COLLATE "C" NOT NULL,
    dpop_jkt        TEXT COLLATE "C" NOT NULL,
    auth_time       BIGINT NOT NULL,
    amr             TEXT COLLATE "C" NOT NULL,
    expires_at      BIGINT NOT NULL,
    used_at         BIGINT
);

-- Writes by the proof that named them. content: digest over method, path, query and body. status NULL: claimed, not
-- answered. answer NULL with a status: a secret that was shown once.
CREATE TABLE requests (
    jkt         TEXT COLLATE "C" NOT NULL,
    jti         TEXT COLLATE "C" NOT NULL,
    content     TEXT COLLATE "C" NOT NULL,
    status      BIGINT,
    answer      BYTEA,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (jkt, jti)
);
CREATE INDEX requests_by_expiry ON requests (expires_at);

-- History: no foreign keys. certificates: JSON list of {server, principal, serial, sha256}. The row is also its request's
-- idempotency record; answer is forgotten after ten minutes.
CREATE TABLE connections (
    id              TEXT COLLATE "C" PRIMARY KEY,
    project_id      TEXT COLLATE "C" NOT NULL,
    server_id       TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    device_id       TEXT COLLATE "C" NOT NULL,
    session_id      TEXT COLLATE "C" NOT NULL,
    login           TEXT COLLATE "C" NOT NULL,
    purpose         TEXT COLLATE "C" NOT NULL,
    client_address  TEXT COLLATE "C",
    certificates    TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    jkt             TEXT COLLATE "C" NOT NULL,
    jti             TEXT COLLATE "C" NOT NULL,
    method          TEXT COLLATE "C" NOT NULL,
    path            TEXT COLLATE "C" NOT NULL,
    body_hash       TEXT COLLATE "C" NOT NULL,
    answer          TEXT COLLATE "C",
    UNIQUE (jkt, jti)
);
CREATE INDEX connections_by_time ON connections (created_at);
CREATE INDEX connections_with_answer ON connections (created_at) WHERE answer IS NOT NULL;

-- position orders the log for readers; (writer, sequence) orders a chain. body: the exact JSON bytes that were hashed.
CREATE TABLE audit (
    position        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    writer          TEXT COLLATE "C" NOT NULL,
    sequence        BIGINT NOT NULL,
    previous_hash   TEXT COLLATE "C" NOT NULL,
    hash            TEXT COLLATE "C" NOT NULL,
    body            BYTEA NOT NULL,
    UNIQUE (writer, sequence)
);

-- Signed heads, a chain themselves. body: the exact bytes that were signed. position: the last row of the log that it
-- speaks about.
CREATE TABLE audit_checkpoints (
    number      BIGINT PRIMARY KEY,
    position    BIGINT NOT NULL,
    body        BYTEA NOT NULL,
    signature   BYTEA NOT NULL,
    key_id      TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL
);

-- Signed desired state, the newest of each document. document: a project's or a server's id.
CREATE TABLE documents (
    document    TEXT COLLATE "C" PRIMARY KEY,
    generation  BIGINT NOT NULL,
    sha256      TEXT COLLATE "C" NOT NULL,
    head        TEXT COLLATE "C" NOT NULL,
    signature   BYTEA NOT NULL,
    key_id      TEXT COLLATE "C" NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    issued_at   BIGINT NOT NULL
);
