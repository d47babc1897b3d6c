-- What identity providers say about their users and groups over SCIM. Who the user or group is here, its state and its
-- members are in users, groups and group_members.

-- attributes: JSON, as usher_identity::scim has it. user_name_key: userName in lower case. external_id: what
-- external_identities has, and what the provider sees.
CREATE TABLE scim_users (
    user_id         TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    connector_id    TEXT COLLATE "C" NOT NULL REFERENCES connectors (id),
    user_name_key   TEXT COLLATE "C" NOT NULL,
    external_id     TEXT COLLATE "C",
    attributes      TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    UNIQUE (connector_id, user_name_key),
    UNIQUE (connector_id, external_id)
);
CREATE INDEX scim_users_in_order ON scim_users (connector_id, user_id);

CREATE TABLE scim_groups (
    group_id        TEXT COLLATE "C" PRIMARY KEY REFERENCES groups (id) ON DELETE CASCADE,
    connector_id    TEXT COLLATE "C" NOT NULL REFERENCES connectors (id),
    external_id     TEXT COLLATE "C",
    version         BIGINT NOT NULL,
    changed_at      BIGINT NOT NULL,
    UNIQUE (connector_id, external_id)
);
CREATE INDEX scim_groups_in_order ON scim_groups (connector_id, group_id);

-- What a provider shows to be believed. cidr: from where, when it matters.
CREATE TABLE scim_tokens (
    id              TEXT COLLATE "C" PRIMARY KEY,
    connector_id    TEXT COLLATE "C" NOT NULL REFERENCES connectors (id) ON DELETE CASCADE,
    description     TEXT COLLATE "C" NOT NULL,
    secret_hash     TEXT COLLATE "C" NOT NULL,
    cidr            TEXT COLLATE "C",
    created_by      TEXT COLLATE "C" NOT NULL,
    created_by_name TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    revoked_at      BIGINT,
    last_used_at    BIGINT
);
CREATE INDEX scim_tokens_by_connector ON scim_tokens (connector_id);
