-- The team's identity providers. issuer, client_id, client_secret: of OpenID Connect; absent on a connector that only
-- provisions. client_secret: under the seal key. settings: JSON, see connectors.rs. join_rule: who is let in by an external
-- id that nobody here has.
CREATE TABLE connectors (
    id              TEXT COLLATE "C" PRIMARY KEY,
    name            TEXT COLLATE "C" NOT NULL UNIQUE,
    issuer          TEXT COLLATE "C" UNIQUE,
    client_id       TEXT COLLATE "C",
    client_secret   BYTEA,
    settings        TEXT COLLATE "C" NOT NULL,
    join_rule       TEXT COLLATE "C" NOT NULL CHECK (join_rule IN ('scim', 'first-login')),
    state           TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'disabled')),
    created_at      BIGINT NOT NULL
);

-- Who is who at a connector: one external id is one user for ever.
CREATE TABLE external_identities (
    connector_id    TEXT COLLATE "C" NOT NULL REFERENCES connectors (id),
    external_id     TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (connector_id, external_id),
    UNIQUE (connector_id, user_id)
);
CREATE INDEX external_identities_by_user ON external_identities (user_id);

-- connector_id: whose directory the row belongs to; NULL is the broker's own. display_name: a group's name as the identity
-- provider spells it.
ALTER TABLE users ADD COLUMN connector_id TEXT COLLATE "C" REFERENCES connectors (id);
ALTER TABLE groups ADD COLUMN connector_id TEXT COLLATE "C" REFERENCES connectors (id);
ALTER TABLE groups ADD COLUMN display_name TEXT COLLATE "C";
CREATE INDEX users_by_connector ON users (connector_id);
CREATE INDEX groups_by_connector ON groups (connector_id);
