-- See migrations/sqlite/0202_locks.sql.
CREATE TABLE locks (
    kind        TEXT COLLATE "C" NOT NULL CHECK (kind IN ('device', 'project', 'server', 'user')),
    target      TEXT COLLATE "C" NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    locked_by   TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (kind, target)
);
