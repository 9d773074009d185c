//! The commands and options, as `clap` reads them. Wrong ones end with exit code 2 before anything else happens.

use clap::{Args, Parser, Subcommand, ValueEnum};
use slipway_types::log::TAIL_LINES_MAX;
use slipway_types::{DeploymentId, Phase, ProjectName, ServiceName};
use std::net::SocketAddr;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes:
  0    live, or done
  1    the deployment failed, was canceled or superseded; replicas did not become ready
  2    something to correct in what was asked
  3    the server or the network
  130  interrupted";

/// Turns source into a running, isolated, reachable service on your own machine
#[derive(Debug, Parser)]
#[command(name = "slipway", version, after_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Data directory of the server on this machine [default: /var/lib/slipway]
    #[arg(long, env = "SLIPWAY_DATA", hide_env_values = true, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Address of the server's API; without it, the server of the data directory
    #[arg(long, env = "SLIPWAY_URL", hide_env_values = true, global = true)]
    pub(crate) url: Option<String>,
    /// Token for the server's API
    #[arg(long, env = "SLIPWAY_TOKEN", hide_env_values = true, global = true)]
    pub(crate) token: Option<String>,
    /// Project; without it, `project` of slipway.toml, then the name of the directory
    #[arg(long, short, env = "SLIPWAY_PROJECT", hide_env_values = true, global = true, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Service; without it, `service` of slipway.toml, then `web`
    #[arg(long, short, env = "SLIPWAY_SERVICE", hide_env_values = true, global = true, value_name = "NAME")]
    pub(crate) service: Option<ServiceName>,
    /// Print JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deploy a directory
    Up {
        #[arg(default_value = ".", value_name = "DIR")]
        dir: PathBuf,
        #[command(flatten)]
        join: JoinOptions,
        #[command(flatten)]
        follow: FollowOptions,
    },
    /// Print how a directory would be built and started, and why; needs no server
    Plan {
        #[arg(default_value = ".", value_name = "DIR")]
        dir: PathBuf,
    },
    /// Deploy a git commit
    Deploy {
        /// Repository; a credential for https comes from the variable SLIPWAY_GIT_TOKEN
        #[arg(long, value_name = "URL")]
        git: String,
        /// Branch, tag or commit; without it, the default branch
        #[arg(long = "ref", value_name = "REF")]
        reference: Option<String>,
        #[command(flatten)]
        join: JoinOptions,
        #[command(flatten)]
        follow: FollowOptions,
    },
    /// Deploy the newest source again; it is built again when something that the build reads has changed
    Redeploy {
        /// Build in any case
        #[arg(long)]
        rebuild: bool,
        #[command(flatten)]
        follow: FollowOptions,
    },
    /// Make an earlier release live again; nothing is built
    Rollback {
        /// Release, such as v12; without it, the one that was live before
        #[arg(value_parser = release_number)]
        release: Option<u32>,
        #[command(flatten)]
        follow: FollowOptions,
    },
    /// End a deployment that has not gone live
    Cancel {
        /// Without it, the running deployment of the service
        #[arg(value_parser = deployment_id)]
        deployment: Option<DeploymentId>,
    },
    /// Replace the replicas of what is live, one by one; nothing is built and no request is lost
    Restart {
        #[command(flatten)]
        follow: WaitOptions,
    },
    /// Run another number of replicas, without a new deployment
    Scale {
        /// Such as 3 or web=3
        #[arg(value_parser = super::supervise::wanted_scale, value_name = "[SERVICE=]N")]
        wanted: super::supervise::WantedScale,
        #[command(flatten)]
        follow: WaitOptions,
    },
    /// Stop what is live, until it is started or something is deployed
    Stop,
    /// Start what was stopped
    Start {
        #[command(flatten)]
        follow: WaitOptions,
    },
    /// List services and what is live
    Ps,
    /// List what happened, oldest first
    Events {
        /// Newest so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(slipway_types::api::LIMIT_MAX)))]
        limit: u32,
        /// From then on: a duration such as 10m, an instant such as 2026-01-31T12:00:00Z, or a local time such as 12:00
        #[arg(long, value_parser = super::since::parse, value_name = "WHEN")]
        since: Option<super::since::Since>,
        /// Go on with what happens
        #[arg(long, short)]
        follow: bool,
    },
    /// Print what a service's replicas print, or the log of a deployment
    Logs(LogsOptions),
    /// Show or change how a service is built and run
    Service {
        #[command(subcommand)]
        command: ServiceCommand,
    },
    /// Show or change a service's variables and secrets
    Env {
        #[command(subcommand)]
        command: EnvCommand,
    },
    /// Show what layers and build caches take, and remove what may go
    Cache {
        #[command(subcommand)]
        command: CacheCommand,
    },
    /// Print a service's address, and open it where there is a display
    Open,
    /// Check the server, and this machine
    Doctor {
        /// The server's configuration file [default: /etc/slipway/slipway-server.toml where it exists]
        #[arg(long, env = "SLIPWAY_CONFIG", hide_env_values = true, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the completion script of a shell
    Completions { shell: clap_complete::Shell },
    /// Remove a service with its releases, variables and logs
    Destroy {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Every service of the server
        #[arg(long, conflicts_with_all = ["project", "service"])]
        all: bool,
    },
    /// Write all that a server has to one file, also while it runs
    Backup {
        /// Readable by its owner only, and it must stay so: it holds the key to all secrets
        file: PathBuf,
        /// Leave out what releases are started from
        #[arg(long)]
        without_layers: bool,
        /// The server's configuration file [default: /etc/slipway/slipway-server.toml where it exists]
        #[arg(long, env = "SLIPWAY_CONFIG", hide_env_values = true, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Make a new data directory of a backup, and check all of it
    Restore {
        file: PathBuf,
        /// Only check the file
        #[arg(long)]
        check: bool,
        /// The server's configuration file [default: /etc/slipway/slipway-server.toml where it exists]
        #[arg(long, env = "SLIPWAY_CONFIG", hide_env_values = true, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Set this machine up: the server as a service of systemd, and a firewall
    Install(InstallOptions),
    /// Remove what `install` wrote; the data stays
    Uninstall {
        /// Remove the data and the configuration too
        #[arg(long)]
        purge: bool,
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
        /// Of a system below another directory
        #[arg(long, default_value = "/", value_name = "DIR")]
        root: PathBuf,
    },
    /// Put another version in this server's place; apps go on, and no connection is refused
    Upgrade {
        /// The new program `slipway`, with its `libexec/slipway-agent` beside it
        file: PathBuf,
        /// Only try whether it would take over
        #[arg(long)]
        dry_run: bool,
    },
    /// What somebody who helps has to see
    Debug {
        #[command(subcommand)]
        command: DebugCommand,
    },
    /// Run the server: API, build workers, replicas and the reverse proxy
    Server {
        #[command(flatten)]
        options: ServerOptions,
        /// Only bring that copy of a database up to date and make what a start would wait for (asked by `upgrade`)
        #[arg(long, hide = true, value_name = "FILE")]
        try_database: Option<PathBuf>,
    },
    /// Hold one sandbox (started by the server)
    #[command(hide = true)]
    Shim { dir: PathBuf },
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct JoinOptions {
    /// Also when a deployment of the same source, with the same settings, waits or runs
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct FollowOptions {
    /// Return once the deployment is queued
    #[arg(long, short)]
    pub(crate) detach: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitOptions {
    /// Return at once, and do not wait for the replicas
    #[arg(long, short)]
    pub(crate) detach: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ApplyOptions {
    /// Leave what is live as it is: the change counts from the next deployment, or `env apply`, on
    #[arg(long, visible_aliases = ["no-restart", "no-deploy"], conflicts_with_all = ["deploy", "detach"])]
    pub(crate) stage: bool,
    /// Redeploy with the change; what the build reads decides whether it is built again
    #[arg(long)]
    pub(crate) deploy: bool,
    /// Return at once, and do not wait for the replicas or the deployment
    #[arg(long, short)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    /// Of a deployment's phases, instead of what the running service prints
    #[arg(value_parser = deployment_id)]
    pub(crate) deployment: Option<DeploymentId>,
    /// Go on with new lines, over restarts of replicas and of the server
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The log of the newest deployment's phases
    #[arg(long, short, conflicts_with = "deployment")]
    pub(crate) build: bool,
    /// Of one phase alone, such as build; of the newest deployment, if none is named
    #[arg(long, value_parser = phase, value_name = "PHASE")]
    pub(crate) phase: Option<Phase>,
    #[command(flatten)]
    pub(crate) of_replicas: ReplicaLogOptions,
}

/// Of what replicas print.
#[derive(Debug, Default, Args)]
#[group(conflicts_with_all = ["deployment", "build", "phase"], multiple = true)]
pub(crate) struct ReplicaLogOptions {
    /// From then on: a duration such as 10m, an instant such as 2026-01-31T12:00:00Z, or a local time such as 12:00
    #[arg(long, value_parser = super::since::parse, value_name = "WHEN")]
    pub(crate) since: Option<super::since::Since>,
    /// Up to then, in the same forms
    #[arg(long, value_parser = super::since::parse, value_name = "WHEN", conflicts_with = "follow")]
    pub(crate) until: Option<super::since::Since>,
    /// Only lines in which this regular expression is found
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<String>,
    /// Only the last N lines; with --restart, N lines before and behind it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(TAIL_LINES_MAX)))]
    pub(crate) tail: Option<u32>,
    /// Only of one replica: its id, or its number
    #[arg(long, value_name = "REPLICA")]
    pub(crate) replica: Option<String>,
    /// What was printed around the end of a run: its id, or `latest`
    #[arg(long, value_name = "RUN", conflicts_with_all = ["follow", "since", "until", "grep"])]
    pub(crate) restart: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Change settings, such as replicas=2 health.path=/healthz resources.memory=512MB
    Set {
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<String>,
    },
    /// Print the settings that were set, as TOML
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EnvCommand {
    /// Set variables: what is live gets them at once, by a rolling restart, a signal or, if the build reads them, a build
    Set {
        /// With --stdin or --file: one NAME whose value is read, or none to read KEY=VALUE lines
        #[arg(required_unless_present_any = ["stdin", "file"], value_name = "KEY=VALUE")]
        pairs: Vec<String>,
        /// Write-only: the value is never shown again
        #[arg(long)]
        secret: bool,
        /// Also given to the install and build commands
        #[arg(long)]
        build: bool,
        /// Given to the install and build commands alone, and not to the app
        #[arg(long, conflicts_with = "build")]
        build_only: bool,
        /// Read from standard input, so that a value is in no process list or shell history
        #[arg(long)]
        stdin: bool,
        /// Read from a file, as --stdin reads
        #[arg(long, conflicts_with = "stdin", value_name = "FILE")]
        file: Option<PathBuf>,
        #[command(flatten)]
        apply: ApplyOptions,
    },
    /// Remove variables, as `set` sets them
    Unset {
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        apply: ApplyOptions,
    },
    /// Bring changes that were left aside by --stage to what is live
    Apply {
        #[command(flatten)]
        wait: WaitOptions,
    },
    /// List variables; a secret's value is not shown
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List layers and build caches: what they take, and what they are kept for
    Ls,
    /// Remove what nothing needs, and under a quota what was not used for longest
    Gc {
        /// Say what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove build caches and all layers that no release needs; what is live is never touched
    Clear {
        /// Of one service, such as web or shop/web; without it, of all services of the server
        #[arg(value_parser = super::cache::service_argument, value_name = "SERVICE")]
        of: Option<super::cache::ServiceArgument>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Write versions, configuration, events, log, metrics and the machine's state to one file, without secrets; also of a server that is down
    Bundle {
        /// [default: slipway-debug-TIME.tar.zst here]
        file: Option<PathBuf>,
        /// The server's configuration file [default: /etc/slipway/slipway-server.toml where it exists]
        #[arg(long, env = "SLIPWAY_CONFIG", hide_env_values = true, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InstallOptions {
    /// Print every file and rule, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Leave the firewall as it is
    #[arg(long)]
    pub(crate) no_firewall: bool,
    /// Another port that stays open, beside those of SSH, HTTP and HTTPS; may be given more than once
    #[arg(long, value_name = "PORT")]
    pub(crate) allow: Vec<u16>,
    /// Services are at <service>-<project>.<domain>; for a configuration that is not there yet
    #[arg(long)]
    pub(crate) domain: Option<String>,
    /// Write below another directory, and start nothing
    #[arg(long, default_value = "/", value_name = "DIR")]
    pub(crate) root: PathBuf,
}

/// Flags over environment variables over the configuration file over the defaults.
#[derive(Debug, Default, Args)]
pub(crate) struct ServerOptions {
    /// Configuration file [default: /etc/slipway/slipway-server.toml where it exists]
    #[arg(long, env = "SLIPWAY_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of the API [default: 127.0.0.1:7700]
    #[arg(long, env = "SLIPWAY_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address of the reverse proxy [default: 127.0.0.1:8080]
    #[arg(long, env = "SLIPWAY_EDGE_LISTEN", hide_env_values = true, value_name = "ADDRESS")]
    pub(crate) edge_listen: Option<SocketAddr>,
    /// Services are at <service>-<project>.<domain> [default: localhost]
    #[arg(long, env = "SLIPWAY_DOMAIN", hide_env_values = true)]
    pub(crate) domain: Option<String>,
    /// What boots sandboxes [default: auto]
    #[arg(long, env = "SLIPWAY_DRIVER", hide_env_values = true)]
    pub(crate) driver: Option<Driver>,
    /// How the log on standard error looks
    #[arg(long, env = "SLIPWAY_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line, ids as members of their own
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Driver {
    /// The strongest that works on this machine
    #[default]
    Auto,
    /// Firecracker microVMs; needs KVM
    Firecracker,
    /// QEMU microVMs; without KVM about ten times slower
    Qemu,
    /// An OCI runtime: crun or runc
    Oci,
}

fn release_number(text: &str) -> Result<u32, String> {
    let number = text.strip_prefix('v').unwrap_or(text);
    number.parse().map_err(|_| "a release is written like `v12`".to_owned())
}

fn phase(text: &str) -> Result<Phase, String> {
    let words = || Phase::ALL.map(|phase| format!("`{}`", phase.as_str())).join(", ");
    Phase::ALL.into_iter().find(|phase| phase.as_str() == text).ok_or_else(|| format!("the phases are {}", words()))
}

fn deployment_id(text: &str) -> Result<DeploymentId, String> {
    DeploymentId::parse(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_release_has_a_number() {
        assert_eq!(release_number("v12"), Ok(12));
        assert_eq!(release_number("12"), Ok(12));
        assert!(release_number("latest").is_err());
    }
}
