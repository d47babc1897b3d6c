-- See migrations/sqlite/0201_rotation.sql.
ALTER TABLE keys ADD COLUMN custody TEXT COLLATE "C" NOT NULL DEFAULT 'software'
    CHECK (custody IN ('software', 'aws-kms', 'aws-kms-wrapped'));
ALTER TABLE keys ADD COLUMN retired_at BIGINT;

ALTER TABLE servers ADD COLUMN trusts TEXT COLLATE "C";
