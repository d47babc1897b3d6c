-- Reading who may reach what of the whole team touches no row of a server, only this index.
DROP INDEX servers_by_project;
CREATE INDEX servers_by_project ON servers (project_id, id, name);

-- Ids of connections begin with their time; nothing looks for them by another order.
DROP INDEX connections_by_time;
