-- What identity providers say about their users and groups over SCIM. Who the user or group is here, its state and its
-- members are in users, groups and group_members.

-- attributes: JSON, as usher_identity::scim has it. user_name_key: userName in lower case. external_id: what
-- external_identities has, and what the provider sees.
CREATE TABLE scim_users (
    user_id         TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    connector_id    TEXT NOT NULL REFERENCES connectors (id),
    user_name_key   TEXT NOT NULL,
    external_id     TEXT,
    attributes      TEXT NOT NULL,
    version         INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    UNIQUE (connector_id, user_name_key),
    UNIQUE (connector_id, external_id)
) STRICT;
CREATE INDEX scim_users_in_order ON scim_users (connector_id, user_id);

CREATE TABLE scim_groups (
    group_id        TEXT PRIMARY KEY REFERENCES groups (id) ON DELETE CASCADE,
    connector_id    TEXT NOT NULL REFERENCES connectors (id),
    external_id     TEXT,
    version         INTEGER NOT NULL,
    changed_at      INTEGER NOT NULL,
    UNIQUE (connector_id, external_id)
) STRICT;
CREATE INDEX scim_groups_in_order ON scim_groups (connector_id, group_id);

-- What a provider shows to be believed. cidr: from where, when it matters.
CREATE TABLE scim_tokens (
    id              TEXT PRIMARY KEY,
    connector_id    TEXT NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    description     TEXT NOT NULL,
    secret_hash     TEXT NOT NULL,
    cidr            TEXT,
    created_by      TEXT NOT NULL,
    created_by_name TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    revoked_at      INTEGER,
    last_used_at    INTEGER
) STRICT;
CREATE INDEX scim_tokens_by_connector ON scim_tokens (connector_id);
