-- See migrations/sqlite/0206_networks.sql.
CREATE TABLE project_networks (
    project_id  TEXT COLLATE "C" NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    network     TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, network)
);
