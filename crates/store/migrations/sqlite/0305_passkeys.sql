-- Keys with which people sign in at a browser (Web Authentication). credential_id: what the authenticator calls it, base64url.
-- credential: public key and properties, JSON. sign_count: how often it has signed; 0 for those that do not count.
CREATE TABLE passkeys (
    id              TEXT PRIMARY KEY,
    user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_id   TEXT NOT NULL UNIQUE,
    credential      TEXT NOT NULL,
    sign_count      INTEGER NOT NULL,
    name            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    last_used_at    INTEGER
) STRICT;
CREATE INDEX passkeys_by_user ON passkeys (user_id, created_at);
