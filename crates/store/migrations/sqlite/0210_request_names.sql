-- The names of requests in the order of jti: ours begin with their time, so that new ones are written side by side and
-- the index may grow for years. One endpoint makes connections, so that which it was need not be written down; content
-- is the digest over all of the request, as in `requests`.
CREATE TABLE new_connections (
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
    content         TEXT NOT NULL,
    answer          TEXT,
    UNIQUE (jti, jkt)
) STRICT;
INSERT INTO new_connections SELECT id, project_id, server_id, user_id, device_id, session_id, login, purpose, client_address,
    certificates, created_at, expires_at, jkt, jti, body_hash, answer FROM connections;
DROP TABLE connections;
ALTER TABLE new_connections RENAME TO connections;
CREATE INDEX connections_with_answer ON connections (created_at) WHERE answer IS NOT NULL;
