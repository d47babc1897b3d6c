-- Every writer of the audit log, so that nobody has to look through the log for them. checkpointed: the sequence of its
-- last row that a checkpoint speaks about.
CREATE TABLE audit_writers (
    writer          TEXT PRIMARY KEY,
    checkpointed    INTEGER NOT NULL
) STRICT;
INSERT INTO audit_writers (writer, checkpointed)
    SELECT writer, MAX(CASE WHEN position <= (SELECT COALESCE(MAX(position), 0) FROM audit_checkpoints) THEN sequence ELSE 0 END)
    FROM audit GROUP BY writer;

CREATE INDEX audit_checkpoints_by_time ON audit_checkpoints (created_at);

-- Who sends the log to which sink, until when the others leave it alone, and how far that has come. position: where to
-- go on looking; what was sent is in audit_cursors. checkpoint: the last one that was sent.
CREATE TABLE audit_exports (
    sink            TEXT PRIMARY KEY,
    holder          TEXT NOT NULL,
    held_until      INTEGER NOT NULL,
    position        INTEGER NOT NULL,
    checkpoint      INTEGER NOT NULL
) STRICT;

-- A writer's rows are committed in order, those of several writers are not: so one cursor for each.
CREATE TABLE audit_cursors (
    sink            TEXT NOT NULL REFERENCES audit_exports (sink) ON DELETE CASCADE,
    writer          TEXT NOT NULL,
    sequence        INTEGER NOT NULL,
    PRIMARY KEY (sink, writer)
) STRICT;
