//! `slipway server`.
use crate::cli::{GlobalOptions, ServerOptions};
use crate::failure::Failure;
use std::path::Path;
use std::process::ExitCode;
pub(crate) fn run(_g: &GlobalOptions, _o: &ServerOptions) -> Result<ExitCode, Failure> {
    Err(Failure::server("x"))
}
pub(crate) fn shim(_dir: &Path) -> ExitCode {
    ExitCode::FAILURE
}
pub(crate) fn checks() -> Vec<crate::cli::Check> {
    Vec::new()
}
