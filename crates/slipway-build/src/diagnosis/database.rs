//! Databases that answer, but not as hoped: logins and migrations.

use super::case::Case;
use super::entry::{DATABASE_REFUSED, MIGRATION_FAILED, MIGRATION_LOCKED};
use slipway_types::Diagnosis;

/// PostgreSQL, MySQL, MongoDB and Prisma's words for a login that fails.
pub(super) fn refused(case: &Case<'_>) -> Option<Diagnosis> {
    let is_it = |line: &str| {
        let said = [
            "password authentication failed for user ",
            "no pg_hba.conf entry for ",
            "Access denied for user ",
            "Authentication failed against database server",
            "The server does not support SSL connections",
            "client password must be a string",
            "MongoServerError: bad auth",
            "MongoServerError: Authentication failed",
            "does not exist on the database server",
            "WRONGPASS invalid username-password pair",
            "NOAUTH Authentication required",
        ];
        let named = |kind: &str| line.contains(&format!("{kind} \"")) && line.trim_end().ends_with("\" does not exist");
        said.iter().any(|text| line.contains(text))
            || (!line.contains("relation") && (named("database") || named("role")))
    };
    let line = case.output.last_word(is_it)?.trim();
    let diagnosis = DATABASE_REFUSED
        .diagnosis("the database refuses the login")
        .at(case.place())
        .because(line.trim_start_matches("[cause]: ").to_owned());
    let tls = line.contains("SSL") || line.contains("no encryption");
    Some(if tls {
        diagnosis.hint("the URL must ask for what the server wants: `?sslmode=require`, or `?sslmode=disable`")
    } else {
        diagnosis
            .hint("check user, password and the name of the database in the variable, mostly `DATABASE_URL`: `slipway env set --secret DATABASE_URL=…`")
            .hint("characters such as `@`, `/` and `#` in a password must be percent-encoded in a URL")
    })
}

pub(super) fn migration_locked(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "Another migration is already running",
        "Timed out trying to acquire a postgres advisory lock",
        "Timed out trying to acquire a MySQL advisory lock",
        "Migration table is already locked",
        "MigrationLocked",
        "can't acquire lock",
        "canceling statement due to lock timeout",
        "Lock wait timeout exceeded",
    ];
    let line = case.output.find(&said)?;
    Some(
        MIGRATION_LOCKED
            .diagnosis("another migration holds the lock")
            .at(case.place())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("wait until the other one has ended, and deploy again")
            .hint("a stale lock is given back when its session ends: `select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'`; knex keeps it in a table: `npx knex migrate:unlock`"),
    )
}

pub(super) fn migration_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "Error: P3009",
        "Error: P3018",
        "Error: P3005",
        "> Rolling back attempted migration",
        "django.db.migrations.exceptions.",
        "alembic.util.exc.",
        "Can't locate revision identified by",
    ];
    let known = case.output.find(&said)?;
    // Tools say that a migration failed, and near it the database says why.
    let reasons =
        ["ERROR: ", "error: ", "Database error:", "failed migrations", "relation \"", "column \"", "syntax error"];
    let at = case.output.lines().position(|line| line == known).unwrap_or_default();
    let reason = case.output.lines().skip(at + 1).find(|line| reasons.iter().any(|text| line.contains(text)));
    let why = match reason {
        Some(reason) => format!("{}\n{}", known.trim(), reason.trim()),
        None => case.with_last_lines(known.trim()),
    };
    let prisma = known.contains("P30");
    let diagnosis = MIGRATION_FAILED.diagnosis("a migration failed").at(case.place()).because(why);
    let diagnosis = if prisma {
        diagnosis
            .hint("mend the database, then say so: `npx prisma migrate resolve --applied NAME` or `--rolled-back NAME`")
    } else {
        diagnosis.hint("correct the migration, or write a new one, and deploy again")
    };
    Some(diagnosis.hint("write migrations that the old release survives: add first, remove with a later deployment"))
}
