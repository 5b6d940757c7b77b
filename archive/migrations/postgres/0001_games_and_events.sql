-- Games, a row each, and their events; docs/archive.md says what each column means.
CREATE TABLE games (
    id           TEXT   PRIMARY KEY,
    epoch        TEXT   NOT NULL,
    generation   BIGINT NOT NULL,
    white_id     TEXT,
    white_name   TEXT,
    white_guest  BOOLEAN,
    black_id     TEXT,
    black_name   TEXT,
    black_guest  BOOLEAN,
    initial_ms   BIGINT,
    increment_ms BIGINT,
    unlisted     BOOLEAN,
    started_at   BIGINT,
    ended_at     BIGINT,
    result       TEXT,
    winner       TEXT,
    reason       TEXT,
    plies        BIGINT NOT NULL DEFAULT 0,
    fen          TEXT,
    last_seq     BIGINT NOT NULL,
    last_at      BIGINT NOT NULL,
    forgotten    BOOLEAN NOT NULL DEFAULT FALSE,
    checked_at   BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX games_by_start ON games (started_at, id);
CREATE INDEX games_of_white ON games (white_id, started_at);
CREATE INDEX games_of_black ON games (black_id, started_at);
CREATE INDEX games_to_forget ON games (last_at) WHERE ended_at IS NOT NULL AND NOT forgotten;

CREATE TABLE events (
    game       TEXT   NOT NULL,
    epoch      TEXT   NOT NULL,
    seq        BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    body       BYTEA  NOT NULL,
    PRIMARY KEY (game, epoch, seq)
);

CREATE TABLE set_aside (
    partition  BIGINT NOT NULL,
    place      TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    why        TEXT   NOT NULL,
    body       BYTEA  NOT NULL,
    PRIMARY KEY (partition, place, at)
);
