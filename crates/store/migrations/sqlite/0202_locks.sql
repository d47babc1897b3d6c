-- What is denied for now. target: an id of that kind. locked_by: a user's id, for the list; the audit log has the rest.
CREATE TABLE locks (
    kind        TEXT NOT NULL CHECK (kind IN ('device', 'project', 'server', 'user')),
    target      TEXT NOT NULL,
    reason      TEXT NOT NULL,
    locked_by   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (kind, target)
) STRICT;
