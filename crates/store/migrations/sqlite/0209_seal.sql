-- The id of the key that sealed every secret here; absent until the first one. Changes only together with all of them.
ALTER TABLE team ADD COLUMN seal_key TEXT;
