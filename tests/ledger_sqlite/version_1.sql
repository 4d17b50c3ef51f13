-- The tables as Citas made them before outbox rows counted attempts (`user_version` 1). This file never changes.

CREATE TABLE appointment (
    id        BLOB    NOT NULL PRIMARY KEY,
    number    INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    phase     TEXT    NOT NULL,
    owner     TEXT    NOT NULL,
    patient   TEXT    NOT NULL,
    doctor    TEXT,
    hospital  TEXT,
    body      TEXT    NOT NULL
) STRICT;
CREATE INDEX appointment_by_start    ON appointment (starts_at, id);
CREATE INDEX appointment_by_owner    ON appointment (owner, starts_at, id);
CREATE INDEX appointment_by_patient  ON appointment (patient, starts_at, id);
CREATE INDEX appointment_by_doctor   ON appointment (doctor, starts_at, id);
CREATE INDEX appointment_by_hospital ON appointment (hospital, starts_at, id);
CREATE INDEX appointment_by_phase    ON appointment (phase, starts_at, id);

CREATE TABLE revision (
    id     BLOB    NOT NULL REFERENCES appointment,
    number INTEGER NOT NULL,
    body   TEXT    NOT NULL,
    PRIMARY KEY (id, number)
) STRICT;

CREATE TABLE claim (
    claim       TEXT NOT NULL PRIMARY KEY,
    appointment BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE receipt (
    key         TEXT    NOT NULL PRIMARY KEY,
    fingerprint TEXT    NOT NULL,
    appointment BLOB    NOT NULL,
    number      INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_by_expiry ON receipt (expires_at);

CREATE TABLE outbox (
    sequence INTEGER PRIMARY KEY,
    id       BLOB NOT NULL UNIQUE,
    subject  BLOB NOT NULL,
    body     TEXT NOT NULL
) STRICT;
CREATE INDEX outbox_by_subject ON outbox (subject, sequence);

CREATE TABLE notified (
    event BLOB    NOT NULL PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX notified_by_time ON notified (at);
