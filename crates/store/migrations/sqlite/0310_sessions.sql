-- What a team asks of its sessions. session_idle_seconds: NULL when they may rest. session_bound: 1 when a session is good
-- only for the network it was opened from.
ALTER TABLE team ADD COLUMN session_lifetime_seconds INTEGER NOT NULL DEFAULT 43200
    CHECK (session_lifetime_seconds BETWEEN 3600 AND 90000);
ALTER TABLE team ADD COLUMN session_idle_seconds INTEGER CHECK (session_idle_seconds >= 300);
ALTER TABLE team ADD COLUMN session_bound INTEGER NOT NULL DEFAULT 0 CHECK (session_bound IN (0, 1));

-- client_address: where it was opened from. last_used_at: at most a minute old; no decision of the epoch depends on it.
ALTER TABLE sessions ADD COLUMN client_address TEXT;
ALTER TABLE sessions ADD COLUMN last_used_at INTEGER;
