-- Users that are programs: they have no password and no factor, and sign in by an API key or by what their platform says.
CREATE TABLE service_users (
    user_id     TEXT COLLATE "C" PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE
);

-- cidr: from where, when it matters. last_used_at: give or take a minute.
CREATE TABLE api_keys (
    id              TEXT COLLATE "C" PRIMARY KEY,
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES service_users (user_id) ON DELETE CASCADE,
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
CREATE INDEX api_keys_by_user ON api_keys (user_id);

-- Whose identity tokens make a session of a service user. claims: JSON, claim to value; all must fit. private_networks:
-- JSON, where the issuer may be.
CREATE TABLE trusts (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    user_id             TEXT COLLATE "C" NOT NULL REFERENCES service_users (user_id) ON DELETE CASCADE,
    description         TEXT COLLATE "C" NOT NULL,
    issuer              TEXT COLLATE "C" NOT NULL,
    audience            TEXT COLLATE "C" NOT NULL,
    claims              TEXT COLLATE "C" NOT NULL,
    private_networks    TEXT COLLATE "C" NOT NULL,
    created_by          TEXT COLLATE "C" NOT NULL,
    created_by_name     TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL,
    last_used_at        BIGINT
);
CREATE INDEX trusts_by_user ON trusts (user_id);

-- By what a service user's session began, and with what it ends.
ALTER TABLE sessions ADD COLUMN api_key_id TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN trust_id TEXT COLLATE "C";
CREATE INDEX sessions_by_api_key ON sessions (api_key_id) WHERE api_key_id IS NOT NULL;
CREATE INDEX sessions_by_trust ON sessions (trust_id) WHERE trust_id IS NOT NULL;
