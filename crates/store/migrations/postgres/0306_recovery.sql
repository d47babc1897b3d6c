-- See migrations/sqlite/0306_recovery.sql.
CREATE TABLE recovery_codes (
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE page_sessions (
    token_hash  TEXT COLLATE "C" PRIMARY KEY,
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX page_sessions_by_user ON page_sessions (user_id);
CREATE INDEX page_sessions_by_expiry ON page_sessions (expires_at);
