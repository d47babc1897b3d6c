-- See migrations/sqlite/0210_request_names.sql.
ALTER TABLE connections DROP COLUMN method, DROP COLUMN path;
ALTER TABLE connections RENAME COLUMN body_hash TO content;
ALTER TABLE connections ADD UNIQUE (jti, jkt);
ALTER TABLE connections DROP CONSTRAINT connections_jkt_jti_key;
