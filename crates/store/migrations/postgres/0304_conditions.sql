-- See migrations/sqlite/0304_conditions.sql.
ALTER TABLE project_groups ADD COLUMN conditions TEXT COLLATE "C";
ALTER TABLE projects ADD COLUMN authentication TEXT COLLATE "C";

CREATE INDEX servers_with_labels ON servers (id, labels) WHERE labels <> '{}';

CREATE TABLE named_proofs (
    user_id     TEXT COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device_id   TEXT COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    server_id   TEXT COLLATE "C" NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    given_at    BIGINT NOT NULL,
    PRIMARY KEY (user_id, device_id, server_id)
);
CREATE INDEX named_proofs_by_server ON named_proofs (server_id);
CREATE INDEX named_proofs_by_device ON named_proofs (device_id);

ALTER TABLE authorization_codes ADD COLUMN servers TEXT COLLATE "C";
