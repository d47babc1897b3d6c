-- Networks in which servers of a project may have addresses (`10.0.0.0/16`); anywhere when there is none.
CREATE TABLE project_networks (
    project_id  TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    network     TEXT NOT NULL,
    PRIMARY KEY (project_id, network)
) STRICT;
