//! `[layers]`: where layers are, what they may take, and where those go that are not used.

use super::file::{ColdTable, LayersTable};
use crate::failure::Failure;
use slipway_host::LayersConfig;
use slipway_layers::{ColdConfig, ColdCredentials};
use slipway_types::cache::KEEP_RELEASES_DEFAULT;
use slipway_types::settings::ByteSize;
use std::path::{Path, PathBuf};

/// More would keep the disk full of what nobody goes back to.
const KEEP_RELEASES_MAX: u32 = 1000;
/// The base system alone is 600 MB: below this no build fits.
const QUOTA_MIN: ByteSize = ByteSize(1 << 30);
/// As S3 clients do by default: enough to fill a line, few enough to be good neighbours.
const CONCURRENCY_DEFAULT: u32 = 8;
const CONCURRENCY_MAX: u32 = 64;
/// A slower archive than this would never end.
const RATE_MIN: ByteSize = ByteSize(64 << 10);
const PREFIX_DEFAULT: &str = "slipway";
/// Of a bucket's name (S3's own rules).
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;

/// Of each service.
pub(super) fn keep_releases(table: &LayersTable) -> Result<u32, Failure> {
    let count = table.keep_releases.unwrap_or(KEEP_RELEASES_DEFAULT);
    if (1..=KEEP_RELEASES_MAX).contains(&count) {
        return Ok(count);
    }
    Err(Failure::usage(format!("`layers.keep_releases = {count}` is out of range: 1 to {KEEP_RELEASES_MAX}")))
}

/// `ca_bundle`: that sandboxes trust, when the cold tier has none of its own.
pub(super) fn layers_config(table: LayersTable, ca_bundle: Option<&Path>) -> Result<LayersConfig, Failure> {
    let LayersTable { quota, service_quota, keep_free, cold, .. } = table;
    for (key, value) in [("quota", quota), ("service_quota", service_quota)] {
        if let Some(value) = value.filter(|value| value.0 < QUOTA_MIN.0) {
            return Err(Failure::usage(format!("`layers.{key} = \"{value}\"` is too small"))
                .hint(format!("a build needs {QUOTA_MIN} at least; without the key there is no quota")));
        }
    }
    Ok(LayersConfig {
        quota: quota.map(|bytes| bytes.0),
        service_quota: service_quota.map(|bytes| bytes.0),
        keep_free: keep_free.map(|bytes| bytes.0),
        cold: cold.map(|cold| cold_config(cold, ca_bundle)).transpose()?,
    })
}

fn cold_config(table: ColdTable, ca_bundle: Option<&Path>) -> Result<ColdConfig, Failure> {
    let bucket = table.bucket.unwrap_or_default();
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if !BUCKET_CHARS.contains(&bucket.len()) || !bucket.chars().all(is_name) {
        return Err(Failure::usage(format!("`layers.cold.bucket = \"{bucket}\"` is not the name of a bucket"))
            .hint("3 to 63 lower-case letters, digits, `.` and `-`"));
    }
    let concurrency = table.concurrency.unwrap_or(CONCURRENCY_DEFAULT);
    if !(1..=CONCURRENCY_MAX).contains(&concurrency) {
        let message = format!("`layers.cold.concurrency = {concurrency}` is out of range: 1 to {CONCURRENCY_MAX}");
        return Err(Failure::usage(message));
    }
    if let Some(rate) = table.bytes_per_second.filter(|rate| rate.0 < RATE_MIN.0) {
        return Err(Failure::usage(format!("`layers.cold.bytes_per_second = \"{rate}\"` is too slow"))
            .hint(format!("{RATE_MIN} at least; without the key there is no bound")));
    }
    check_endpoint(table.endpoint.as_deref(), table.allow_http)?;
    let ca_bundle = table.ca_bundle.or(ca_bundle.map(Path::to_owned));
    check_file("ca_bundle", ca_bundle.as_ref())?;
    check_file("credentials", table.credentials.as_ref())?;
    let prefix = table.prefix.unwrap_or_else(|| PREFIX_DEFAULT.to_owned());
    Ok(ColdConfig {
        endpoint: table.endpoint,
        bucket,
        prefix: prefix.trim_matches('/').to_owned(),
        region: table.region,
        credentials: table.credentials.map_or(ColdCredentials::Environment, ColdCredentials::File),
        concurrency,
        bytes_per_second: table.bytes_per_second.map(|rate| rate.0),
        allow_http: table.allow_http,
        ca_bundle,
    })
}

fn check_endpoint(endpoint: Option<&str>, allow_http: bool) -> Result<(), Failure> {
    match endpoint.map(|endpoint| (endpoint, endpoint.split_once("://"))) {
        None | Some((_, Some(("https", _)))) => Ok(()),
        Some((_, Some(("http", _)))) if allow_http => Ok(()),
        Some((endpoint, Some(("http", _)))) => {
            Err(Failure::usage(format!("`layers.cold.endpoint = \"{endpoint}\"` is not encrypted"))
                .hint("use `https://`, or say `layers.cold.allow_http = true` on a network that you trust"))
        }
        Some((endpoint, _)) => Err(Failure::usage(format!("`layers.cold.endpoint = \"{endpoint}\"` is not a URL"))
            .hint("it begins with `https://`; without the key it is AWS S3")),
    }
}

fn check_file(key: &str, path: Option<&PathBuf>) -> Result<(), Failure> {
    match path.filter(|path| !path.is_file()) {
        None => Ok(()),
        Some(path) => Err(Failure::usage(format!("`layers.cold.{key}`: there is no file `{}`", path.display()))),
    }
}
