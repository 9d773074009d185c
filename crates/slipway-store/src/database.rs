//! The database file: one connection that writes, a few that read.
//!
//! WAL lets readers go on while the one writer writes; every write begins with BEGIN IMMEDIATE, so that it never fails
//! halfway for a lock. `synchronous = FULL`: the database is the truth about what was asked of the outside world (a
//! migration that ran, a release that serves), so a commit must survive a loss of power; it costs one fsync for each of
//! the dozen commits of a deployment.

use crate::StoreError;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Sqlite, Transaction};
use std::fmt::Debug;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Readers at a time. More wait: a read takes milliseconds, and each connection costs a thread and its page cache.
const READERS_MAX: u32 = 2;
/// Page cache of one connection, in KiB. The operating system caches the file as well.
const CACHE_KIB: u32 = 1024;
/// The write-ahead log is cut back to this after a checkpoint.
const LOG_BYTES_MAX: u32 = 16 << 20;
/// How long to wait for another process that holds the file (a backup, a shell).
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for its turn.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Prepared statements that a connection keeps; there are about fifty.
const STATEMENTS_MAX: usize = 64;

/// The way from nothing to the present schema. Forward only: what is released never changes.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    trouble: Option<Arc<dyn Trouble>>,
    pub(crate) committed: watch::Sender<u64>,
}

/// Where a transaction is. What is between two of these is undone with the transaction, so nothing else can be seen of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Read,
    Write,
    Commit,
    /// It is stored, and nobody knows yet.
    Committed,
}

/// What can go wrong with a database, for a simulation of it: asked at each moment of each transaction.
pub trait Trouble: Debug + Send + Sync {
    /// An error is that of the disk; a future that never ends is a process that ends here.
    fn at(&self, moment: Moment) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>>;
}

/// The only transaction that writes. Undone unless [`commit`] is its end.
#[derive(Debug)]
pub(crate) struct Write {
    transaction: Transaction<'static, Sqlite>,
    trouble: Option<Arc<dyn Trouble>>,
    committed: watch::Sender<u64>,
}

impl Deref for Write {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl Store {
    /// Opens the database at `path`, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file can't be made or opened, or is from a newer version.
    pub async fn open(path: &Path) -> Result<Store, StoreError> {
        create_private(path).map_err(|source| StoreError::Create { path: path.to_owned(), source })?;
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let writer = pool(1).connect_with(options(path)).await.map_err(failed)?;
        let mut connection = writer.acquire().await.map_err(failed)?;
        schema_of(&mut connection, path).await?;
        drop(connection);
        MIGRATIONS.run(&writer).await.map_err(|source| StoreError::Migrate { path: path.to_owned(), source })?;
        let readers = pool(READERS_MAX).connect_lazy_with(options(path).pragma("query_only", "1"));
        Ok(Store { writer, readers, trouble: None, committed: watch::Sender::new(0) })
    }

    /// The same database with this trouble.
    #[must_use]
    pub fn with_trouble(self, trouble: Arc<dyn Trouble>) -> Store {
        Store { trouble: Some(trouble), ..self }
    }

    /// Waits for what is under way, then closes the file. A store that is dropped instead loses nothing.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that is the only one that writes.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        let failed = || StoreError::query("begin", "a write");
        meet(self.trouble.as_deref(), Moment::Write).await.map_err(failed())?;
        let transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
        Ok(Write { transaction, trouble: self.trouble.clone(), committed: self.committed.clone() })
    }

    /// A transaction that sees one moment.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let failed = || StoreError::query("begin", "a read");
        meet(self.trouble.as_deref(), Moment::Read).await.map_err(failed())?;
        self.readers.begin().await.map_err(failed())
    }
}

pub(crate) async fn commit(Write { transaction, trouble, committed }: Write) -> Result<(), StoreError> {
    let failed = || StoreError::query("commit", "a write");
    meet(trouble.as_deref(), Moment::Commit).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())?;
    committed.send_modify(|count| *count = count.wrapping_add(1));
    meet(trouble.as_deref(), Moment::Committed).await.map_err(failed())
}

async fn meet(trouble: Option<&dyn Trouble>, moment: Moment) -> Result<(), sqlx::Error> {
    match trouble {
        Some(trouble) => trouble.at(moment).await.map_err(sqlx::Error::Io),
        None => Ok(()),
    }
}

/// Number of the newest migration that a database has had; 0 for one without tables.
///
/// # Errors
/// When this version does not know that schema: what a newer one wrote, an older one must not touch.
pub(crate) async fn schema_of(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source };
    let made: Option<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'")
            .fetch_optional(&mut *connection)
            .await
            .map_err(failed)?;
    if made.is_none() {
        return Ok(0);
    }
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await.map_err(failed)?;
    let (schema, known) = (newest.unwrap_or_default(), crate::newest_schema());
    match schema > known {
        true => Err(StoreError::Newer { path: path.to_owned(), schema, known }),
        false => Ok(schema),
    }
}

/// Others on the machine have no business in it: it holds sealed variables and digests of tokens.
pub(crate) fn create_private(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

fn pool(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection to a local file does not go stale.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENTS_MAX)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("journal_size_limit", LOG_BYTES_MAX.to_string())
        .disable_statement_logging()
}
