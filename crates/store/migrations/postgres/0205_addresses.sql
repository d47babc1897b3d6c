-- See migrations/sqlite/0205_addresses.sql.
CREATE TABLE server_addresses (
    address     TEXT COLLATE "C" NOT NULL,
    server_id   TEXT COLLATE "C" NOT NULL REFERENCES servers (id) ON DELETE CASCADE,
    PRIMARY KEY (address, server_id)
);
CREATE INDEX server_addresses_by_server ON server_addresses (server_id);
