-- See migrations/sqlite/0209_seal.sql.
ALTER TABLE team ADD COLUMN seal_key TEXT COLLATE "C";
