//! From arguments to what happens. Each command is a module; this one picks it and gives it a runtime.

mod args;
mod backup;
mod cache;
mod debug;
mod deploy;
mod doctor;
mod env;
mod env_apply;
mod events;
mod follow;
mod install;
mod listing;
mod logs;
mod pairs;
mod plan;
mod reconnect;
mod service;
mod since;
mod supervise;
mod target;
mod upload;

pub(crate) use args::{Arguments, Driver, GlobalOptions, LogFormat, ServerOptions};
pub(crate) use doctor::Check;

use crate::client::{Client, ServicePath};
use crate::failure::Failure;
use crate::{output, server, upgrade};
use args::{Command, DebugCommand, ServiceCommand};
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;
use target::Target;

/// # Errors
/// When the command could not do what it was asked.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { global, command } = arguments;
    match command {
        // These make their own threads, or none.
        Command::Server { options, try_database: None } => return server::run(&global, &options),
        Command::Server { options, try_database: Some(copy) } => {
            server::try_database(&global, &options, &copy)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Shim { dir } => return Ok(server::shim(&dir)),
        Command::Completions { shell } => {
            completions(shell)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Install(options) => {
            install::install(&options)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Uninstall { purge, dry_run, root } => {
            install::uninstall(&global, root, purge, dry_run)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Plan { dir } => return plan::print(&global, &dir),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::server("cannot start the runtime").caused_by(&error))?;
    let code = runtime.block_on(dispatch(&global, command));
    // A thread that waits for standard input must not hold the process.
    runtime.shutdown_background();
    code
}

async fn dispatch(global: &GlobalOptions, command: Command) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Up { dir, join, follow } => deploy::up(global, &dir, join, follow).await,
        Command::Deploy { git, reference, join, follow } => deploy::git(global, &git, reference, join, follow).await,
        Command::Redeploy { rebuild, follow } => deploy::redeploy(global, rebuild, follow).await,
        Command::Rollback { release, follow } => deploy::rollback(global, release, follow).await,
        Command::Cancel { deployment } => deploy::cancel(global, deployment).await.map(done),
        Command::Restart { follow } => supervise::restart(global, follow).await,
        Command::Scale { wanted, follow } => supervise::scale(global, wanted, follow).await,
        Command::Stop => supervise::stop(global).await.map(done),
        Command::Start { follow } => supervise::start(global, follow).await,
        Command::Ps => listing::services(global).await.map(done),
        Command::Events { limit, since, follow } => events::events(global, limit, since, follow).await.map(done),
        Command::Logs(options) => logs::print(global, &options).await.map(done),
        Command::Service { command: ServiceCommand::Set { pairs } } => service::set(global, &pairs).await.map(done),
        Command::Service { command: ServiceCommand::Show } => service::show(global).await.map(done),
        Command::Env { command } => env::run(global, command).await,
        Command::Cache { command } => cache::run(global, command).await.map(done),
        Command::Open => service::open(global).await.map(done),
        Command::Backup { file, without_layers, config } => {
            backup::take(global, &file, !without_layers, config).await.map(done)
        }
        Command::Restore { file, check, config } => backup::restore(global, &file, check, config).await.map(done),
        Command::Upgrade { file, dry_run } => upgrade::run(global, &file, dry_run).await.map(done),
        Command::Debug { command: DebugCommand::Bundle { file, config } } => {
            debug::bundle(global, config, file).await.map(done)
        }
        Command::Doctor { config } => doctor::run(global, config).await,
        Command::Destroy { yes, all: true } => service::destroy_all(global, yes).await.map(done),
        Command::Destroy { yes, all: false } => service::destroy(global, yes).await.map(done),
        Command::Plan { .. }
        | Command::Completions { .. }
        | Command::Server { .. }
        | Command::Shim { .. }
        | Command::Install(_)
        | Command::Uninstall { .. } => Ok(ExitCode::SUCCESS),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "slipway", &mut script);
    output::data(String::from_utf8_lossy(&script).trim_end())
}

/// A service and the server that has it, for the working directory.
struct Session {
    client: Client,
    target: Target,
}

impl Session {
    fn here(global: &GlobalOptions) -> Result<Self, Failure> {
        let target = Target::of_directory(global, Path::new("."))?;
        Ok(Self { client: Client::discover(global)?, target })
    }

    fn path(&self) -> ServicePath<'_> {
        self.target.path()
    }
}

impl Target {
    fn path(&self) -> ServicePath<'_> {
        ServicePath { project: &self.project, service: &self.service }
    }
}
