-- What stands in for a person's second factor, each once. code_hash: SHA-256 of it; a code that was used is gone.
CREATE TABLE recovery_codes (
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    code_hash   TEXT NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT;

-- People who signed in at a browser to look after what they sign in with; for minutes. token_hash: SHA-256 of the cookie.
CREATE TABLE page_sessions (
    token_hash  TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX page_sessions_by_user ON page_sessions (user_id);
CREATE INDEX page_sessions_by_expiry ON page_sessions (expires_at);
