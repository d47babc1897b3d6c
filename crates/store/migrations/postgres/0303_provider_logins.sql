-- What an identity provider said about a login. connector_id: NULL for the broker's own directory. acr: authentication
-- context. idp_session: `sid`, which a logout of the provider names. groups_fault: why the claim of groups counted as none.
ALTER TABLE sessions ADD COLUMN connector_id TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN acr TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN idp_session TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN groups_fault TEXT COLLATE "C";
CREATE INDEX sessions_by_idp_session ON sessions (connector_id, idp_session) WHERE idp_session IS NOT NULL;
ALTER TABLE authorization_codes ADD COLUMN connector_id TEXT COLLATE "C";
ALTER TABLE authorization_codes ADD COLUMN acr TEXT COLLATE "C";
ALTER TABLE authorization_codes ADD COLUMN idp_session TEXT COLLATE "C";
ALTER TABLE authorization_codes ADD COLUMN groups_fault TEXT COLLATE "C";

-- What works once and is not ours to store otherwise: states of sign-ins, ids of logout tokens. hash: SHA-256 of it.
CREATE TABLE used_once (
    hash        TEXT COLLATE "C" PRIMARY KEY,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX used_once_by_expiry ON used_once (expires_at);
