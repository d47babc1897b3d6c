-- See migrations/sqlite/0310_sessions.sql.
ALTER TABLE team ADD COLUMN session_lifetime_seconds BIGINT NOT NULL DEFAULT 43200
    CHECK (session_lifetime_seconds BETWEEN 3600 AND 90000);
ALTER TABLE team ADD COLUMN session_idle_seconds BIGINT CHECK (session_idle_seconds >= 300);
ALTER TABLE team ADD COLUMN session_bound BIGINT NOT NULL DEFAULT 0 CHECK (session_bound IN (0, 1));

ALTER TABLE sessions ADD COLUMN client_address TEXT COLLATE "C";
ALTER TABLE sessions ADD COLUMN last_used_at BIGINT;
