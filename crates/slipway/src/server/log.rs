//! The server's log on standard error, and what the server says of itself there: one form for both, so that whoever reads
//! JSON finds nothing else.

use crate::cli::LogFormat;
use crate::failure::Failure;
use crate::output::{self, Palette};
use std::process::ExitCode;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

const FILTER_VARIABLE: &str = "SLIPWAY_LOG";
const FILTER_DEFAULT: &str = "info";

/// Like the log itself there is one for the process.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// # Errors
/// When the filter in the environment is none.
pub(super) fn start(format: LogFormat) -> Result<(), Failure> {
    let text = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER_DEFAULT.to_owned());
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| Failure::usage(format!("`{FILTER_VARIABLE}={text}` is no filter")).caused_by(&error))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(Palette::of_stderr().is_enabled()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
    FORMAT.get_or_init(|| format);
    Ok(())
}

fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// A line of the server's start or end. As text it is no part of the log, and no filter hides it.
pub(super) fn say(line: &str) {
    match is_json() {
        true => tracing::info!("{line}"),
        false => output::say(line),
    }
}

/// Something that is there now.
pub(super) fn ready(what: &str) {
    match is_json() {
        true => tracing::info!("ready: {what}"),
        false => output::say(&format!("{} {what}", Palette::of_stderr().green("ready"))),
    }
}

/// A step of the first start.
pub(super) fn step(line: &str) {
    let line = output::printable(line);
    match is_json() {
        true => tracing::info!("set-up: {line}"),
        false => output::say(&format!("{} {line}", Palette::of_stderr().dim("set-up"))),
    }
}

pub(super) fn warn(failure: &Failure) {
    let line = failure.in_one_line();
    match is_json() {
        true => tracing::warn!("{line}"),
        false => output::say(&format!("warning: {line}")),
    }
}

/// How the server ended, said where its log is.
pub(super) fn end(ended: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    match ended {
        Err(failure) if is_json() => {
            tracing::error!(hints = failure.hints().join("; "), "{}", failure.in_one_line());
            Ok(failure.exit.into())
        }
        ended => ended,
    }
}
