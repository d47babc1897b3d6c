-- Policies that administrators write in Cedar; they only forbid. project_id: whose servers they are about, NULL for every
-- server of the team. bindings: JSON, which ids the names in the text mean.
CREATE TABLE policies (
    name        TEXT PRIMARY KEY,
    project_id  TEXT REFERENCES projects (id) ON DELETE CASCADE,
    text        TEXT NOT NULL,
    bindings    TEXT NOT NULL,
    updated_by  TEXT NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX policies_by_project ON policies (project_id);
