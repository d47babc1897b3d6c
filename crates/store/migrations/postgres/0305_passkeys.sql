-- See migrations/sqlite/0305_passkeys.sql.
CREATE TABLE passkeys (
    id              TEXT COLLATE "C" PRIMARY KEY,
    user_id         TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   TEXT COLLATE "C" NOT NULL UNIQUE,
    credential      TEXT COLLATE "C" NOT NULL,
    sign_count      BIGINT NOT NULL,
    name            TEXT COLLATE "C" NOT NULL,
    created_at      BIGINT NOT NULL,
    last_used_at    BIGINT
);
CREATE INDEX passkeys_by_user ON passkeys (user_id, created_at);
