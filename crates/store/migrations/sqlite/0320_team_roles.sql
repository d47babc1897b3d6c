-- What somebody is in the team. Whoever administered it before could do everything.
ALTER TABLE users ADD COLUMN team_role TEXT NOT NULL DEFAULT 'member'
    CHECK (team_role IN ('owner', 'admin', 'access-manager', 'auditor', 'member'));
UPDATE users SET team_role = 'owner' WHERE team_admin = 1;
ALTER TABLE users DROP COLUMN team_admin;

-- Roles of all members of a group. By the group's id: a group that comes later under the same name has none.
CREATE TABLE group_team_roles (
    group_id    TEXT PRIMARY KEY REFERENCES groups (id) ON DELETE CASCADE,
    role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'access-manager', 'auditor'))
) STRICT;
