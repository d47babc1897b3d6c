-- When a group's role counts, and what a project asks of everybody: JSON; absent where there is nothing to ask.
ALTER TABLE project_groups ADD COLUMN conditions TEXT;
ALTER TABLE projects ADD COLUMN authentication TEXT;

-- Reading who may reach what of the whole team touches no row of a server, only its indexes.
CREATE INDEX servers_with_labels ON servers (id, labels) WHERE labels <> '{}';

-- When a user last proved who it is for a server by name, on a device. Forgotten a day later, and when the device signs out.
CREATE TABLE named_proofs (
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    device_id   TEXT NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    server_id   TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    given_at    INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id, server_id)
) STRICT;
CREATE INDEX named_proofs_by_server ON named_proofs (server_id);
CREATE INDEX named_proofs_by_device ON named_proofs (device_id);

-- The servers that a sign-in is for: JSON list of ids; absent when it is for none in particular.
ALTER TABLE authorization_codes ADD COLUMN servers TEXT;
