//! The database: PostgreSQL 15+ or SQLite. The same tables in both, the same texts of SQL but where one is much faster in its
//! own way.

use crate::batch::{Batch, EventRow, GameChange, plain};
use bytes::Bytes;
use pubsub::{Epoch, Millis, Seq};
use sqlx::{
    Connection, PgPool, Postgres, QueryBuilder, Sqlite, SqlitePool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{str::FromStr, time::Duration};

/// Connections to PostgreSQL: one writes, the others read.
pub const POSTGRES_CONNECTIONS: u32 = 5;

/// Connections to SQLite: it has one writer, and readers beside it.
const SQLITE_CONNECTIONS: u32 = 4;

/// How long a call waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long SQLite waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows of one statement on SQLite, which takes 32,766 values.
const SQLITE_ROWS: usize = 2_000;

pub(crate) static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL says neither `sqlite:` nor `postgres:`.
    #[error("a database URL begins with sqlite: or postgres://")]
    BadUrl,
    /// The database cannot be reached, or refuses.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// The tables cannot be brought up to date.
    #[error("database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether it is these very rows that the database will never take, today or tomorrow: SQLSTATE classes 22 (data) and 23
    /// (constraints); SQLite's 19 and 20.
    pub fn is_about_the_data(&self) -> bool {
        let StoreError::Database(sqlx::Error::Database(error)) = self else {
            return matches!(self, StoreError::Database(sqlx::Error::Encode(_)));
        };
        let code = error.code().unwrap_or_default();
        match error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
            Some(_) => code.starts_with("22") || code.starts_with("23"),
            None => code
                .parse::<i64>()
                .is_ok_and(|code| matches!(code & 0xff, 18..=20)),
        }
    }
}

type Answer<T> = Result<T, StoreError>;

#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

/// A database of games. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) pool: Pool,
}

/// A log as it is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLog {
    /// Its life.
    pub epoch: Epoch,
    /// The events, from 0 on, without gaps.
    pub events: Vec<Bytes>,
    /// Whether the game is over.
    pub is_over: bool,
}

/// A row of `games`, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct GameRow {
    /// The game.
    pub id: String,
    /// White's id and name, and whether he was a guest.
    pub white_id: String,
    /// See `white_id`.
    pub white_name: String,
    /// See `white_id`.
    pub white_guest: bool,
    /// The same of Black.
    pub black_id: String,
    /// See `black_id`.
    pub black_name: String,
    /// See `black_id`.
    pub black_guest: bool,
    /// Thinking time of one side; none if untimed.
    pub initial_ms: Option<i64>,
    /// Added after each move.
    pub increment_ms: Option<i64>,
    /// When it began.
    pub started_at: i64,
    /// When it ended; none while it runs.
    pub ended_at: Option<i64>,
    /// As PGN spells it.
    pub result: Option<String>,
    /// `white` or `black`.
    pub winner: Option<String>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Half moves on the board.
    pub plies: i64,
    /// The position.
    pub fen: String,
}

/// Which games to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this user, with either colour.
    pub player: Option<String>,
    /// Begun before this moment; or at it, with an id below this one.
    pub before: Option<(Millis, String)>,
    /// Begun at this moment or later.
    pub since: Option<Millis>,
    /// Ended so.
    pub result: Option<String>,
    /// With the private ones.
    pub unlisted: bool,
    /// Also the running ones.
    pub running: bool,
    /// How many at most.
    pub limit: i64,
}

/// Runs one text with both kinds of connections.
macro_rules! on {
    ($store:expr, $pool:ident => $body:expr) => {
        match &$store.pool {
            Pool::Postgres($pool) => $body,
            Pool::Sqlite($pool) => $body,
        }
    };
}

/// The rows of games, and how they are merged.
macro_rules! push_games {
    ($query:ident, $games:ident) => {
        $query.push_values($games, |mut values, game| {
            let created = game.created.as_ref().map(|(created, _)| created);
            let white = created.map(|created| &created.white_player);
            let black = created.map(|created| &created.black_player);
            let clock = created.and_then(|created| created.time_control);
            let over = game.over.as_ref().map(|(over, _)| over);
            let text = |value: Option<&str>| value.map(plain);
            values
                .push_bind(&game.id)
                .push_bind(&game.epoch)
                .push_bind(game.generation)
                .push_bind(text(white.map(|player| player.id.as_str())))
                .push_bind(text(white.map(|player| player.name.as_str())))
                .push_bind(white.map(|player| player.is_guest))
                .push_bind(text(black.map(|player| player.id.as_str())))
                .push_bind(text(black.map(|player| player.name.as_str())))
                .push_bind(black.map(|player| player.is_guest))
                .push_bind(clock.map(|clock| clock.initial_ms))
                .push_bind(clock.map(|clock| clock.increment_ms))
                .push_bind(created.map(|created| created.unlisted))
                .push_bind(game.created.as_ref().map(|(_, at)| *at))
                .push_bind(game.over.as_ref().map(|(_, at)| *at))
                .push_bind(over.map(|over| over.result.as_str()))
                .push_bind(over.map(|over| over.winner.map(word)).flatten())
                .push_bind(over.map(|over| word(over.reason)))
                .push_bind(game.board.as_ref().map_or(0, |(plies, _)| *plies))
                .push_bind(game.board.as_ref().map(|(_, fen)| plain(fen)))
                .push_bind(game.last_seq)
                .push_bind(game.last_at);
        });
        $query.push(" ").push(MERGE);
    };
}

/// A word as JSON spells it.
fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

const COLUMNS: &str = "id, white_id, white_name, white_guest, black_id, black_name, black_guest, initial_ms, increment_ms, \
     started_at, ended_at, result, winner, reason, plies, fen";

/// How a game's row takes in what a batch says of it, whatever came before. The higher generation of a log is the true one;
/// within one, the later event knows better.
const MERGE: &str = "ON CONFLICT (id) DO UPDATE SET
    white_id = COALESCE(excluded.white_id, games.white_id), white_name = COALESCE(excluded.white_name, games.white_name),
    white_guest = COALESCE(excluded.white_guest, games.white_guest),
    black_id = COALESCE(excluded.black_id, games.black_id), black_name = COALESCE(excluded.black_name, games.black_name),
    black_guest = COALESCE(excluded.black_guest, games.black_guest),
    initial_ms = COALESCE(excluded.initial_ms, games.initial_ms),
    increment_ms = COALESCE(excluded.increment_ms, games.increment_ms),
    unlisted = COALESCE(excluded.unlisted, games.unlisted),
    started_at = COALESCE(excluded.started_at, games.started_at),
    ended_at = CASE WHEN excluded.generation > games.generation THEN excluded.ended_at
        WHEN excluded.generation < games.generation THEN games.ended_at ELSE COALESCE(excluded.ended_at, games.ended_at) END,
    result = CASE WHEN excluded.generation > games.generation THEN excluded.result
        WHEN excluded.generation < games.generation THEN games.result ELSE COALESCE(excluded.result, games.result) END,
    winner = CASE WHEN excluded.generation > games.generation THEN excluded.winner
        WHEN excluded.generation < games.generation THEN games.winner ELSE COALESCE(excluded.winner, games.winner) END,
    reason = CASE WHEN excluded.generation > games.generation THEN excluded.reason
        WHEN excluded.generation < games.generation THEN games.reason ELSE COALESCE(excluded.reason, games.reason) END,
    plies = CASE WHEN excluded.fen IS NOT NULL AND (excluded.generation > games.generation
        OR (excluded.generation = games.generation AND excluded.last_seq >= games.last_seq)) THEN excluded.plies ELSE games.plies END,
    fen = CASE WHEN excluded.fen IS NOT NULL AND (excluded.generation > games.generation
        OR (excluded.generation = games.generation AND excluded.last_seq >= games.last_seq)) THEN excluded.fen ELSE games.fen END,
    epoch = CASE WHEN excluded.generation > games.generation
        OR (excluded.generation = games.generation AND excluded.last_seq >= games.last_seq) THEN excluded.epoch ELSE games.epoch END,
    last_at = CASE WHEN excluded.generation > games.generation
        OR (excluded.generation = games.generation AND excluded.last_seq >= games.last_seq) THEN excluded.last_at ELSE games.last_at END,
    last_seq = CASE WHEN excluded.generation > games.generation
        OR (excluded.generation = games.generation AND excluded.last_seq >= games.last_seq) THEN excluded.last_seq ELSE games.last_seq END,
    forgotten = FALSE,
    generation = CASE WHEN excluded.generation > games.generation THEN excluded.generation ELSE games.generation END";

const GAME_COLUMNS: &str = "INSERT INTO games (id, epoch, generation, white_id, white_name, white_guest, black_id, black_name, \
     black_guest, initial_ms, increment_ms, unlisted, started_at, ended_at, result, winner, reason, plies, fen, last_seq, last_at) ";

impl Store {
    /// Whether it names a kind of database that can be used.
    pub fn is_url(url: &str) -> bool {
        ["sqlite:", "postgres:", "postgresql:"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
    }

    /// Connects, and brings the tables up to date; several programs may do so at once.
    pub async fn open(url: &str) -> Answer<Store> {
        let store = Store::connect(url)?;
        store.migrate().await?;
        Ok(store)
    }

    /// A store whose database is reached when it is used: it may be away for now.
    pub fn connect(url: &str) -> Answer<Store> {
        let pool = if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url)?
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                // A batch is one commit, so the disk is waited for some times a second, not once a move.
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(BUSY_TIMEOUT);
            let pool = SqlitePoolOptions::new()
                .max_connections(SQLITE_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                // SQLite itself ends a transaction that a full disk broke. sqlx takes it for open then, and begins no other on that
                // connection.
                .before_acquire(|connection, _| {
                    let is_clean = !connection.is_in_transaction();
                    Box::pin(async move { Ok(is_clean) })
                });
            Pool::Sqlite(pool.connect_lazy_with(options))
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url)?.application_name("rookery");
            let pool = PgPoolOptions::new()
                .max_connections(POSTGRES_CONNECTIONS)
                .acquire_timeout(ACQUIRE_TIMEOUT);
            Pool::Postgres(pool.connect_lazy_with(options))
        } else {
            return Err(StoreError::BadUrl);
        };
        Ok(Store { pool })
    }

    /// Brings the tables up to date, under a lock of the database.
    pub async fn migrate(&self) -> Answer<()> {
        match &self.pool {
            Pool::Postgres(pool) => POSTGRES.run(pool).await?,
            Pool::Sqlite(pool) => {
                // sqlx takes no lock on SQLite. Within this transaction each migration is a savepoint.
                let mut transaction = pool.begin_with("BEGIN EXCLUSIVE").await?;
                SQLITE.run_direct(None, &mut *transaction, false).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Answer<()> {
        on!(self, pool => { sqlx::query("SELECT 1").execute(pool).await?; });
        Ok(())
    }

    /// Ends its connections.
    pub async fn close(&self) {
        on!(self, pool => pool.close().await);
    }

    /// Writes rows, all or none. Rows that stand already stay as they are.
    pub(crate) async fn write(&self, batch: &Batch, now: Millis) -> Answer<()> {
        match &self.pool {
            Pool::Postgres(pool) => write_postgres(pool, batch, now).await,
            Pool::Sqlite(pool) => write_sqlite(pool, batch, now).await,
        }
    }

    /// Writes rows, an insert for each, as a baseline of what batches save.
    #[doc(hidden)]
    pub async fn write_one_by_one(&self, entries: &[pubsub::Entry]) -> Answer<()> {
        for entry in entries {
            self.write(&Batch::of(std::slice::from_ref(entry)), 0)
                .await?;
        }
        Ok(())
    }

    /// Writes entries as an archiver does, in one batch.
    #[doc(hidden)]
    pub async fn write_entries(&self, entries: &[pubsub::Entry]) -> Answer<()> {
        self.write(&Batch::of(entries), 0).await
    }

    /// The log of a game, as far as it is archived without a gap; `None` if nothing of it is.
    pub async fn log(&self, game: &str) -> Answer<Option<StoredLog>> {
        let rows: Vec<(i64, String, i64, Vec<u8>)> = on!(self, pool => {
            sqlx::query_as(
                "SELECT generation, epoch, seq, body FROM events WHERE game = $1 ORDER BY generation DESC, epoch, seq",
            )
            .bind(game)
            .fetch_all(pool)
            .await?
        });
        let row: Option<(String, Option<i64>)> = on!(self, pool => {
            sqlx::query_as("SELECT epoch, ended_at FROM games WHERE id = $1")
                .bind(game)
                .fetch_optional(pool)
                .await?
        });
        let Some((epoch, ended_at)) = row else {
            return Ok(None);
        };
        let Ok(true_epoch) = epoch.parse::<Epoch>() else {
            return Ok(None);
        };
        let events = branch(rows, &epoch);
        Ok((!events.is_empty()).then_some(StoredLog {
            epoch: true_epoch,
            events,
            is_over: ended_at.is_some(),
        }))
    }

    /// Games, newest first.
    pub async fn games(&self, filter: &Filter) -> Answer<Vec<GameRow>> {
        let condition = "white_id IS NOT NULL AND fen IS NOT NULL
            AND ($1 IS NULL OR result = $1) AND ($2 OR NOT COALESCE(unlisted, FALSE)) AND ($3 OR ended_at IS NOT NULL)
            AND started_at >= $4 AND (started_at < $5 OR (started_at = $5 AND id < $6))";
        let order = "ORDER BY started_at DESC, id DESC LIMIT $7";
        // A union of two lists that end at the limit, each read from its own index.
        let text = match &filter.player {
            None => format!("SELECT {COLUMNS} FROM games WHERE {condition} {order}"),
            Some(_) => format!(
                "SELECT {COLUMNS} FROM (
                   SELECT * FROM (SELECT {COLUMNS} FROM games WHERE white_id = $8 AND {condition} {order}) AS as_white
                   UNION SELECT * FROM (SELECT {COLUMNS} FROM games WHERE black_id = $8 AND {condition} {order}) AS as_black
                 ) AS both_sides {order}"
            ),
        };
        let text = match &self.pool {
            // PostgreSQL asks for the type of a parameter that is only compared with NULL.
            Pool::Postgres(_) => text.replace("$1 IS NULL", "$1::TEXT IS NULL"),
            Pool::Sqlite(_) => text,
        };
        let (before, id) = filter.before.clone().unwrap_or((i64::MAX, String::new()));
        let games = on!(self, pool => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(text))
                .bind(filter.result.clone())
                .bind(filter.unlisted)
                .bind(filter.running)
                .bind(filter.since.unwrap_or(i64::MIN))
                .bind(before)
                .bind(id)
                .bind(filter.limit);
            if let Some(player) = &filter.player {
                query = query.bind(player.clone());
            }
            query.fetch_all(pool).await?
        });
        Ok(games)
    }

    /// Finished games after that one in the order of their beginnings: when each began, and its id.
    pub async fn oldest(
        &self,
        after: Option<&(Millis, String)>,
        limit: i64,
    ) -> Answer<Vec<(Millis, String)>> {
        let (at, id) = after.cloned().unwrap_or((i64::MIN, String::new()));
        Ok(on!(self, pool => {
            sqlx::query_as(
                "SELECT started_at, id FROM games WHERE ended_at IS NOT NULL AND started_at IS NOT NULL
                 AND (started_at > $1 OR (started_at = $1 AND id > $2)) ORDER BY started_at, id LIMIT $3",
            )
            .bind(at)
            .bind(id)
            .bind(limit)
            .fetch_all(pool)
            .await?
        }))
    }

    /// Running games with ids above that one, in the order of their ids.
    pub async fn running(&self, after: &str, limit: i64) -> Answer<Vec<String>> {
        let ids: Vec<(String,)> = on!(self, pool => {
            sqlx::query_as("SELECT id FROM games WHERE ended_at IS NULL AND id > $1 ORDER BY id LIMIT $2")
                .bind(after)
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }

    /// How many finished games there are.
    pub async fn finished(&self) -> Answer<u64> {
        let (count,): (i64,) = on!(self, pool => {
            sqlx::query_as("SELECT COUNT(*) FROM games WHERE ended_at IS NOT NULL AND started_at IS NOT NULL")
                .fetch_one(pool)
                .await?
        });
        Ok(count.unsigned_abs())
    }

    /// Games that ended before `before` and are still held by the backplane, as far as the archive knows: id, epoch, and the
    /// number the next event would have. Those looked at after `checked` are left out.
    pub(crate) async fn to_forget(
        &self,
        before: Millis,
        checked: Millis,
        limit: i64,
    ) -> Answer<Vec<(String, String, Seq)>> {
        let rows: Vec<(String, String, i64)> = on!(self, pool => {
            sqlx::query_as(
                "SELECT id, epoch, last_seq FROM games WHERE ended_at IS NOT NULL AND NOT forgotten AND last_at < $1
                 AND checked_at < $2 ORDER BY last_at LIMIT $3",
            )
            .bind(before)
            .bind(checked)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        let end = |seq: i64| Seq::try_from(seq + 1).unwrap_or(0);
        Ok(rows
            .into_iter()
            .map(|(id, epoch, last)| (id, epoch, end(last)))
            .collect())
    }

    /// Notes that a game was looked at, and whether the backplane has forgotten it.
    pub(crate) async fn note_forgotten(
        &self,
        game: &str,
        is_gone: bool,
        now: Millis,
    ) -> Answer<()> {
        on!(self, pool => {
            sqlx::query("UPDATE games SET forgotten = $2, checked_at = $3 WHERE id = $1")
                .bind(game)
                .bind(is_gone)
                .bind(now)
                .execute(pool)
                .await?;
        });
        Ok(())
    }

    /// Takes away games that ended before `before`; answers how many of at most `limit`.
    pub async fn prune(&self, before: Millis, limit: i64) -> Answer<u64> {
        let ids: Vec<(String,)> = on!(self, pool => {
            sqlx::query_as("SELECT id FROM games WHERE ended_at < $1 AND forgotten ORDER BY started_at LIMIT $2")
                .bind(before)
                .bind(limit)
                .fetch_all(pool)
                .await?
        });
        for (id,) in &ids {
            on!(self, pool => {
                let mut transaction = pool.begin().await?;
                for text in ["DELETE FROM events WHERE game = $1", "DELETE FROM games WHERE id = $1"] {
                    sqlx::query(text).bind(id).execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            });
        }
        Ok(ids.len() as u64)
    }

    /// Erases a user's id and name from all games and events, and answers those games: epoch and end of
    /// their logs, and whether they are over.
    pub async fn erase(&self, user: &str) -> Answer<Vec<(String, String, Seq, bool)>> {
        let games: Vec<(String, String, i64, Option<i64>)> = on!(self, pool => {
            sqlx::query_as("SELECT id, epoch, last_seq, ended_at FROM games WHERE white_id = $1 OR black_id = $1")
                .bind(user)
                .fetch_all(pool)
                .await?
        });
        for (game, ..) in &games {
            on!(self, pool => {
                let mut transaction = pool.begin().await?;
                let events: Vec<(String, i64, Vec<u8>)> =
                    sqlx::query_as("SELECT epoch, seq, body FROM events WHERE game = $1")
                        .bind(game)
                        .fetch_all(&mut *transaction)
                        .await?;
                for (epoch, seq, body) in events {
                    if let Some(erased) = crate::erase::erased(&body, user) {
                        sqlx::query("UPDATE events SET body = $4 WHERE game = $1 AND epoch = $2 AND seq = $3")
                            .bind(game)
                            .bind(epoch)
                            .bind(seq)
                            .bind(erased)
                            .execute(&mut *transaction)
                            .await?;
                    }
                }
                for text in [
                    "UPDATE games SET white_id = $2, white_name = $3 WHERE id = $1 AND white_id = $4",
                    "UPDATE games SET black_id = $2, black_name = $3 WHERE id = $1 AND black_id = $4",
                ] {
                    let side = if text.contains("white") { "white" } else { "black" };
                    sqlx::query(text)
                        .bind(game)
                        .bind(crate::erase::id(side))
                        .bind(crate::erase::NAME)
                        .bind(user)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
            });
        }
        let end = |seq: i64| Seq::try_from(seq + 1).unwrap_or(0);
        Ok(games
            .into_iter()
            .map(|(id, epoch, last, ended)| (id, epoch, end(last), ended.is_some()))
            .collect())
    }

    /// Entries kept aside.
    pub async fn set_aside(&self) -> Answer<u64> {
        let (count,): (i64,) = on!(self, pool => {
            sqlx::query_as("SELECT COUNT(*) FROM set_aside").fetch_one(pool).await?
        });
        Ok(count.unsigned_abs())
    }
}

/// What is archived of one life of a log.
struct Life {
    generation: i64,
    epoch: String,
    events: Vec<(i64, Vec<u8>)>,
}

/// The log that stands under `epoch`, out of all that was ever archived of a game, the highest generation first: where it does
/// not begin at 0, what a lower generation had up to there comes before.
fn branch(rows: Vec<(i64, String, i64, Vec<u8>)>, epoch: &str) -> Vec<Bytes> {
    let mut lives: Vec<Life> = Vec::new();
    for (generation, epoch, seq, body) in rows {
        match lives.last_mut() {
            Some(life) if life.epoch == epoch => life.events.push((seq, body)),
            _ => lives.push(Life {
                generation,
                epoch,
                events: vec![(seq, body)],
            }),
        }
    }
    let Some(at) = lives.iter().position(|life| life.epoch == epoch) else {
        return Vec::new();
    };
    let top = lives.remove(at);
    let first_of = |events: &[(i64, Vec<u8>)]| events.first().map_or(0, |(seq, _)| *seq);
    let mut first = first_of(&top.events);
    let mut parts = vec![top.events];
    for mut life in lives {
        if first == 0 {
            break;
        }
        life.events.retain(|(seq, _)| *seq < first);
        if life.generation < top.generation && !life.events.is_empty() {
            first = first_of(&life.events);
            parts.push(life.events);
        }
    }
    let dense = parts.into_iter().rev().flatten().zip(0..);
    dense
        .take_while(|((seq, _), expected)| seq == expected)
        .map(|((_, body), _)| Bytes::from(body))
        .collect()
}

async fn write_postgres(pool: &PgPool, batch: &Batch, now: Millis) -> Answer<()> {
    let mut transaction = pool.begin().await?;
    if !batch.events.is_empty() {
        let column = |of: fn(&EventRow) -> String| batch.events.iter().map(of).collect::<Vec<_>>();
        let number = |of: fn(&EventRow) -> i64| batch.events.iter().map(of).collect::<Vec<_>>();
        let bodies: Vec<&[u8]> = batch.events.iter().map(|row| row.body.as_ref()).collect();
        sqlx::query(
            "INSERT INTO events (game, epoch, seq, generation, at, body)
             SELECT * FROM UNNEST($1::TEXT[], $2::TEXT[], $3::BIGINT[], $4::BIGINT[], $5::BIGINT[], $6::BYTEA[])
             ON CONFLICT DO NOTHING",
        )
        .bind(column(|row| row.game.clone()))
        .bind(column(|row| row.epoch.clone()))
        .bind(number(|row| row.seq))
        .bind(number(|row| row.generation))
        .bind(number(|row| row.at))
        .bind(bodies)
        .execute(&mut *transaction)
        .await?;
    }
    for games in once_a_statement(&batch.games) {
        let mut query = QueryBuilder::<Postgres>::new(GAME_COLUMNS);
        push_games!(query, games);
        query
            .build()
            .persistent(false)
            .execute(&mut *transaction)
            .await?;
    }
    for aside in &batch.aside {
        sqlx::query("INSERT INTO set_aside (partition, place, at, why, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(aside.partition)
            .bind(&aside.place)
            .bind(now)
            .bind(plain(&aside.why))
            .bind(aside.body.as_ref())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn write_sqlite(pool: &SqlitePool, batch: &Batch, now: Millis) -> Answer<()> {
    // The lock is asked for at once: a transaction that reads first and writes then may be refused without waiting.
    let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
    for rows in batch.events.chunks(SQLITE_ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO events (game, epoch, seq, generation, at, body) ",
        );
        query.push_values(rows, |mut values, row| {
            values
                .push_bind(&row.game)
                .push_bind(&row.epoch)
                .push_bind(row.seq)
                .push_bind(row.generation)
                .push_bind(row.at)
                .push_bind(row.body.as_ref());
        });
        query.push(" ON CONFLICT DO NOTHING");
        query
            .build()
            .persistent(false)
            .execute(&mut *transaction)
            .await?;
    }
    for games in once_a_statement(&batch.games) {
        let mut query = QueryBuilder::<Sqlite>::new(GAME_COLUMNS);
        push_games!(query, games);
        query
            .build()
            .persistent(false)
            .execute(&mut *transaction)
            .await?;
    }
    for aside in &batch.aside {
        sqlx::query("INSERT INTO set_aside (partition, place, at, why, body) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING")
            .bind(aside.partition)
            .bind(&aside.place)
            .bind(now)
            .bind(&aside.why)
            .bind(aside.body.as_ref())
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Portions in which no game comes twice, as an upsert may not touch a row twice: two lives of one game follow each other.
fn once_a_statement(games: &[GameChange]) -> impl Iterator<Item = &[GameChange]> {
    games
        .chunk_by(|one, next| one.id != next.id)
        .flat_map(|portion| portion.chunks(SQLITE_ROWS / 2))
}
