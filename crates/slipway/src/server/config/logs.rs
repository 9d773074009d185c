//! `[logs]`: what logs may take, and how fast a replica may write.

use super::file::LogsTable;
use crate::failure::Failure;
use slipway_control::LogLimits;
use slipway_types::agent::OutputRate;
use slipway_types::settings::ByteSize;

/// Some thousand lines: a smaller log would be rotated away between a crash and a look at it.
const LOG_MIN: ByteSize = ByteSize(1 << 20);
/// Hundreds of lines a second.
const RATE_MIN: ByteSize = ByteSize(16 << 10);
/// More would be a flood for whoever stores it.
const RATE_MAX: ByteSize = ByteSize(16 << 20);

pub(super) fn log_limits(table: &LogsTable) -> Result<LogLimits, Failure> {
    let default = LogLimits::default();
    let size = |key: &str, given: Option<ByteSize>, default: u64| match given {
        Some(given) if given < LOG_MIN => Err(Failure::usage(format!("`logs.{key} = \"{given}\"` is too small"))
            .hint(format!("{LOG_MIN} is the least; the default is {}", ByteSize(default)))),
        given => Ok(given.map_or(default, |given| given.0)),
    };
    Ok(LogLimits {
        service_bytes: size("service_bytes", table.service_bytes, default.service_bytes)?,
        deployment_bytes: size("deployment_bytes", table.deployment_bytes, default.deployment_bytes)?,
        server_bytes: size("server_bytes", table.server_bytes, default.server_bytes)?,
    })
}

/// The burst grows with the rate.
pub(super) fn replica_rate(table: &LogsTable) -> Result<OutputRate, Failure> {
    let default = OutputRate::default();
    let Some(rate) = table.replica_rate else { return Ok(default) };
    if !(RATE_MIN..=RATE_MAX).contains(&rate) {
        return Err(Failure::usage(format!(
            "`logs.replica_rate = \"{rate}\"` is out of range: {RATE_MIN} to {RATE_MAX}"
        )));
    }
    let burst_bytes = rate.0 * (default.burst_bytes / default.bytes_per_second);
    Ok(OutputRate { bytes_per_second: rate.0, burst_bytes })
}
