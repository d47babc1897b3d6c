-- See migrations/sqlite/0325_policies.sql.
CREATE TABLE policies (
    name        TEXT COLLATE "C" PRIMARY KEY,
    project_id  TEXT COLLATE "C" REFERENCES projects (id) ON DELETE CASCADE,
    text        TEXT COLLATE "C" NOT NULL,
    bindings    TEXT COLLATE "C" NOT NULL,
    updated_by  TEXT COLLATE "C" NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX policies_by_project ON policies (project_id);
