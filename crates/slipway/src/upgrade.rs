//! `slipway upgrade FILE`: another version in the place of a server that runs.
//!
//! The new program is tried first, beside the server: it must read the server's configuration, bring a copy of its database up
//! to date, and make what its start would wait for. Then it is put where the old one stands, and the server becomes it: the same
//! process with the same sockets (`server::successor`). Apps are not touched.
//!
//! Guarantees: a version that does not pass its trial changes nothing; each program is replaced by a rename, so that there is one at any moment;
//! when the new server ends before it is ready, the former programs are put back; the database of the moment before is kept.

mod programs;
mod running;

use crate::cli::GlobalOptions;
use crate::failure::Failure;
use crate::server::Places;
use crate::{install, output};
use programs::Programs;
use running::Running;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// In the data directory: the database as it was before the last upgrade.
const KEPT_NAME: &str = "before-upgrade.db";
const TRIAL_NAME: &str = ".upgrade-trial.db";
/// A new base system takes minutes.
const TRIAL_TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// What a failed trial said, at the end.
const TOLD_BYTES_MAX: usize = 4096;

/// # Errors
/// When there is no server to upgrade, the new version would not take over, or did not.
pub(crate) async fn run(global: &GlobalOptions, file: &Path, dry_run: bool) -> Result<(), Failure> {
    let new = Programs::at(file)?;
    let version = new.version().await?;
    let data_dir = Places::find(global, None)?.data_dir;
    let server = Running::find(&data_dir)?;
    let present = Programs::at(&server.program)?;
    if new.are_same_as(&present)? {
        output::say(&format!("{version} runs already"));
        return Ok(());
    }
    let kept = try_out(&new, &server, &data_dir).await?;
    if dry_run {
        output::say(&format!("{version} would take over; nothing was changed"));
        return remove(&kept);
    }
    let former = present.replace_by(&new)?;
    let asked_at = Instant::now();
    let taken_over = match server.make_place() {
        Ok(()) => server.successor_is_ready(&data_dir).await,
        Err(failure) => Err(running::NotTaken::Ended(failure)),
    };
    match taken_over {
        Ok(()) => {
            former.forget();
            install::note_upgrade(&[&present.program, &present.agent])?;
            let seconds = asked_at.elapsed().as_secs_f64();
            output::say(&format!("{version} took over in {seconds:.1} s; apps went on"));
            Ok(())
        }
        Err(running::NotTaken::Ended(failure)) => {
            former.put_back()?;
            Err(failure
                .hint("the former programs are in place again: a service manager starts them by itself, otherwise start the server")
                .hint(format!("if they refuse the database as too new, it is in `{}` as it was before", kept.display())))
        }
        Err(running::NotTaken::Late(failure)) => Err(failure
            .hint(format!("the former programs are kept beside the new ones, with the ending `{}`", programs::FORMER))),
    }
}

/// Runs the new version on a copy of the database, as the server was started; answers where another copy is kept.
async fn try_out(new: &Programs, server: &Running, data_dir: &Path) -> Result<PathBuf, Failure> {
    let database = data_dir.join(crate::server::DATABASE_NAME);
    let (kept, trial) = (data_dir.join(KEPT_NAME), data_dir.join(TRIAL_NAME));
    for copy in [&kept, &trial] {
        remove(copy)?;
        slipway_store::copy_database(&database, copy).await.map_err(|error| {
            Failure::server(format!("cannot copy the database `{}`", database.display())).caused_by(&error)
        })?;
    }
    let mut command = Command::new(&new.program);
    command.args(&server.arguments).arg("--try-database").arg(&trial).env_clear().envs(server.environment.clone());
    command.current_dir(&server.directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let tried = tokio::time::timeout(TRIAL_TIME_MAX, command.kill_on_drop(true).output()).await;
    for name in ["", "-wal", "-shm"] {
        remove(&data_dir.join(format!("{TRIAL_NAME}{name}")))?;
    }
    let failed = |why: String| {
        let message = format!("`{}` would not take over, and nothing was changed", new.program.display());
        Failure::usage(message).caused_by(&std::io::Error::other(output::printable(&why)))
    };
    match tried {
        Ok(Ok(tried)) if tried.status.success() => Ok(kept),
        Ok(Ok(tried)) => {
            let told = String::from_utf8_lossy(&tried.stderr);
            let tail = told.char_indices().rev().map(|(at, _)| at).take(TOLD_BYTES_MAX).last().unwrap_or_default();
            Err(failed(format!("{}: {}", tried.status, told[tail..].trim())))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("its trial took longer than {} min", TRIAL_TIME_MAX.as_secs() / 60))),
    }
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::server(format!("cannot remove `{}`", path.display())).caused_by(&error))
        }
        _ => Ok(()),
    }
}
