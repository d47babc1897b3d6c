-- See migrations/sqlite/0320_team_roles.sql.
ALTER TABLE users ADD COLUMN team_role TEXT COLLATE "C" NOT NULL DEFAULT 'member'
    CHECK (team_role IN ('owner', 'admin', 'access-manager', 'auditor', 'member'));
UPDATE users SET team_role = 'owner' WHERE team_admin = 1;
ALTER TABLE users DROP COLUMN team_admin;

CREATE TABLE group_team_roles (
    group_id    TEXT COLLATE "C" PRIMARY KEY REFERENCES groups (id) ON DELETE CASCADE,
    role        TEXT COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'access-manager', 'auditor'))
);
