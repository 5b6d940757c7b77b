//! What a database says of itself, for whoever wants to know before games depend on it. Looks and changes nothing.

use crate::store::{POSTGRES, Pool, Store, StoreError};
use sqlx::{PgPool, sqlite::SqliteConnectOptions};
use std::{path::PathBuf, str::FromStr};

/// What a PostgreSQL says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its version, as it spells it.
    pub version: String,
    /// The same as a number: 150004 for 15.4.
    pub version_number: i32,
    /// Connections that it takes of users who are no superusers.
    pub connections_max: i32,
    /// Migrations of this release that it has not had.
    pub pending: usize,
    /// Migrations it had that this release does not know: a later one was here.
    pub unknown: usize,
    /// This user may make tables.
    pub may_create: bool,
}

impl Store {
    /// Asks it; `None` of SQLite.
    pub async fn inspect(&self) -> Result<Option<Facts>, StoreError> {
        match &self.pool {
            Pool::Postgres(pool) => Ok(Some(postgres(pool).await?)),
            Pool::Sqlite(_) => Ok(None),
        }
    }
}

async fn postgres(pool: &PgPool) -> Result<Facts, StoreError> {
    let (version, version_number, connections_max, may_create, is_migrated): (
        String,
        i32,
        i32,
        bool,
        bool,
    ) = sqlx::query_as(
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, \
         coalesce(has_schema_privilege(current_schema(), 'CREATE'), false), \
         to_regclass('_sqlx_migrations') IS NOT NULL",
    )
    .fetch_one(pool)
    .await?;
    let applied: Vec<i64> = match is_migrated {
        true => {
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
                .fetch_all(pool)
                .await?
        }
        false => Vec::new(),
    };
    let known: Vec<i64> = POSTGRES.iter().map(|migration| migration.version).collect();
    Ok(Facts {
        version,
        version_number,
        connections_max,
        pending: known.iter().filter(|one| !applied.contains(one)).count(),
        unknown: applied.iter().filter(|one| !known.contains(one)).count(),
        may_create,
    })
}

/// The file of an SQLite URL; `None` if it is another database's, or no file.
pub fn sqlite_file(url: &str) -> Option<PathBuf> {
    if !url.starts_with("sqlite:") || url.contains(":memory:") {
        return None;
    }
    let options = SqliteConnectOptions::from_str(url).ok()?;
    Some(options.get_filename().to_path_buf())
}
