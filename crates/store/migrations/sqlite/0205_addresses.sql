-- Which server has which address (`10.0.0.5:22`): as reported and accepted. Filled by the next reports.
CREATE TABLE server_addresses (
    address     TEXT NOT NULL,
    server_id   TEXT NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    PRIMARY KEY (address, server_id)
) STRICT;
CREATE INDEX server_addresses_by_server ON server_addresses (server_id);
