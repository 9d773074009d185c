//! The store as the network shows it: requests with bounds, errors by their meaning.

use crate::cold::config::{CONCURRENCY_MAX, ColdBounds, ColdConfig, ColdError};
use crate::cold::format::{Index, TRAILER_BYTES, Trailer};
use crate::cold::rate::RateBound;
use crate::cold::trouble::ColdTrouble;
use crate::digest::LayerDigest;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, Certificate, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
};
use slipway_types::LayerRef;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What is asked for first: the index of a layer of 5 GB of data, in one answer.
const TAIL_BYTES: u64 = 64 * 1024;
/// Retries of one request. What does not come by then will not come soon.
const RETRIES_MAX: usize = 3;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);
const REGION: &str = "us-east-1";

/// Requests of fetches and requests of the archiver have bounds of their own: a build waits for the one, nobody for the other.
#[derive(Debug)]
pub(crate) struct Remote {
    /// For what a build waits for.
    fetcher: AmazonS3,
    /// For what is sent in the background.
    pub(crate) sender: AmazonS3,
    prefix: String,
    /// What notes call it.
    name: String,
    pub(crate) rate: RateBound,
    pub(crate) concurrency: usize,
    /// Downloads at once, of all fetches together.
    pub(crate) downloads: Semaphore,
    pub(crate) bounds: ColdBounds,
}

/// An object and the version of it that was found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) path: ObjectPath,
    pub(crate) index: Index,
    e_tag: Option<String>,
}

impl Remote {
    pub(crate) fn new(config: &ColdConfig, bounds: ColdBounds) -> Result<Self, ColdError> {
        if config.bucket.is_empty() {
            return Err(ColdError::NoBucket);
        }
        let concurrency = config.concurrency.clamp(1, CONCURRENCY_MAX) as usize;
        let place = config.endpoint.as_deref().unwrap_or("AWS");
        Ok(Self {
            fetcher: client(config, &bounds, bounds.answer_wait)?,
            sender: client(config, &bounds, bounds.part_wait)?,
            prefix: config.prefix.trim_matches('/').to_owned(),
            name: format!("the cold tier (bucket `{}` at `{place}`)", config.bucket),
            rate: RateBound::new(config.bytes_per_second),
            concurrency,
            downloads: Semaphore::new(concurrency),
            bounds,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where a layer's copy lies.
    pub(crate) fn path(&self, layer: &LayerRef) -> ObjectPath {
        self.path_of(&format!("{layer}.layer"))
    }

    /// Where it lies when another layer of the same key was first. No key has an underscore.
    pub(crate) fn other_path(&self, layer: &LayerRef, digest: &LayerDigest) -> ObjectPath {
        self.path_of(&format!("{layer}_{digest}.layer"))
    }

    fn path_of(&self, name: &str) -> ObjectPath {
        match self.prefix.is_empty() {
            true => ObjectPath::from(name),
            false => ObjectPath::from(format!("{}/{name}", self.prefix)),
        }
    }

    /// Reads what an object holds. One request where the index is small; the same for an object that is not there.
    pub(crate) async fn find(&self, path: &ObjectPath, layer: &LayerRef) -> Result<Found, ColdTrouble> {
        let (tail, object_bytes, e_tag) = self.read(path, GetRange::Suffix(TAIL_BYTES), TAIL_BYTES, None).await?;
        let trailer = Trailer::read(&tail, object_bytes)?;
        let end_bytes = trailer.index_bytes + TRAILER_BYTES;
        let tail = match end_bytes <= tail.len() {
            true => tail,
            false => {
                let range = GetRange::Suffix(end_bytes as u64);
                self.read(path, range, end_bytes as u64, e_tag.clone()).await?.0
            }
        };
        let end = tail.len() - TRAILER_BYTES;
        let start = end.checked_sub(trailer.index_bytes).ok_or(ColdTrouble::Truncated)?;
        let index = Index::decode(&tail[start..end], &trailer, layer, object_bytes)?;
        Ok(Found { path: path.clone(), index, e_tag })
    }

    /// Reads a small range into memory: the bytes, the object's length and version.
    async fn read(
        &self,
        path: &ObjectPath,
        range: GetRange,
        bytes_max: u64,
        if_match: Option<String>,
    ) -> Result<(Bytes, u64, Option<String>), ColdTrouble> {
        let options = GetOptions { range: Some(range), if_match, ..GetOptions::default() };
        let answer = self.within(self.fetcher.get_opts(path, options)).await?;
        let (object_bytes, e_tag) = (answer.meta.size, answer.meta.e_tag.clone());
        let mut body = answer.into_stream();
        let mut content = BytesMut::new();
        while let Some(piece) = self.next(&mut body).await? {
            content.extend_from_slice(&piece);
            if content.len() as u64 > bytes_max {
                // A store that does not know suffixes sends all of it.
                return Err(ColdTrouble::Failed { cause: "it ignores ranges".to_owned() });
            }
        }
        Ok((content.freeze(), object_bytes, e_tag))
    }

    /// The bytes of one range, piece by piece; read them with [`Remote::next`].
    pub(crate) async fn open(
        &self,
        found: &Found,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, ColdTrouble> {
        let wanted = range.clone();
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: found.e_tag.clone(),
            ..GetOptions::default()
        };
        let answer = self.within(self.fetcher.get_opts(&found.path, options)).await?;
        match answer.range == wanted {
            true => Ok(answer.into_stream()),
            false => Err(ColdTrouble::Truncated),
        }
    }

    pub(crate) async fn next(
        &self,
        body: &mut BoxStream<'static, object_store::Result<Bytes>>,
    ) -> Result<Option<Bytes>, ColdTrouble> {
        let wait = self.bounds.answer_wait;
        match tokio::time::timeout(wait, body.next()).await {
            Ok(piece) => piece.transpose().map_err(ColdTrouble::of_request),
            Err(_) => Err(ColdTrouble::NoAnswer { wait }),
        }
    }

    /// Removes an object. One that is not there is fine.
    pub(crate) async fn remove(&self, path: &ObjectPath) -> Result<(), ColdTrouble> {
        match self.within(self.fetcher.delete(path)).await {
            Ok(()) | Err(ColdTrouble::NoObject) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    async fn within<T>(&self, request: impl Future<Output = object_store::Result<T>>) -> Result<T, ColdTrouble> {
        let wait = self.bounds.answer_wait;
        match tokio::time::timeout(wait, request).await {
            Ok(answer) => answer.map_err(ColdTrouble::of_request),
            Err(_) => Err(ColdTrouble::NoAnswer { wait }),
        }
    }
}

/// `retry_for`: a request that failed is not tried again after that.
fn client(config: &ColdConfig, bounds: &ColdBounds, retry_for: Duration) -> Result<AmazonS3, ColdError> {
    let failed = |source| ColdError::Client { source };
    let keys = config.credentials.keys()?;
    let mut options = ClientOptions::new()
        .with_allow_http(config.allow_http)
        .with_connect_timeout(bounds.connect_wait)
        // Every use has a bound of its own.
        .with_timeout_disabled()
        .with_read_timeout_disabled()
        .with_pool_max_idle_per_host(config.concurrency.clamp(1, CONCURRENCY_MAX) as usize);
    if let Some(path) = &config.ca_bundle {
        let pem = std::fs::read(path).map_err(|source| ColdError::Read { path: path.clone(), source })?;
        for certificate in Certificate::from_pem_bundle(&pem).map_err(failed)? {
            options = options.with_root_certificate(certificate);
        }
    }
    let retry = RetryConfig {
        backoff: BackoffConfig { init_backoff: BACKOFF_FIRST, max_backoff: BACKOFF_MAX, base: 2.0 },
        max_retries: RETRIES_MAX,
        retry_timeout: retry_for,
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&config.bucket)
        .with_region(config.region.as_deref().unwrap_or(REGION))
        .with_access_key_id(keys.id)
        .with_secret_access_key(keys.secret)
        .with_virtual_hosted_style_request(false)
        .with_client_options(options)
        .with_retry(retry);
    if let Some(token) = keys.token {
        builder = builder.with_token(token);
    }
    if let Some(endpoint) = &config.endpoint {
        let encrypted = endpoint.starts_with("https://");
        if !encrypted && !config.allow_http {
            return Err(ColdError::Unencrypted { endpoint: endpoint.clone() });
        }
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder.build().map_err(failed)
}
