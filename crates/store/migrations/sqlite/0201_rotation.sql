-- custody: what `sealed` holds: the private key under the seal key, the name of a key in AWS KMS, or a private key that KMS
-- wrapped. retired_at: when a retired key was.
ALTER TABLE keys ADD COLUMN custody TEXT NOT NULL DEFAULT 'software'
    CHECK (custody IN ('software', 'aws-kms', 'aws-kms-wrapped'));
ALTER TABLE keys ADD COLUMN retired_at INTEGER;

-- trusts: JSON of the key digests that are in force on the server, as its agent reported them; NULL until it has.
ALTER TABLE servers ADD COLUMN trusts TEXT;
