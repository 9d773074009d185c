//! JSON bodies, paths and queries of requests, with refusals in the API's own words.

use crate::refusal::Refusal;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use futures_util::StreamExt;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use slipway_types::{DeploymentId, ProjectName, ServiceName};

/// Largest JSON body: a few hundred variables with certificates among them fit.
pub(crate) const JSON_BYTES_MAX: usize = 1 << 20;

/// What is read at all of a body that is too large.
const READ_BYTES_MAX: usize = 16 << 20;

/// A JSON body. An empty one counts as `{}`.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Refusal> {
        let bytes = read(request).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice(bytes).map_err(|error| {
            Refusal::bad_request("bad-json", format!("the body is not what this call takes: {error}"))
        })?;
        Ok(Self(value))
    }
}

/// The whole body. One that is too large is read on for a while: an answer on a connection with unread bytes can be lost with
/// the connection, and the sender would not learn why.
async fn read(request: Request) -> Result<Vec<u8>, Refusal> {
    let mut chunks = request.into_body().into_data_stream();
    let (mut kept, mut received) = (Vec::new(), 0);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refusal::bad_request("body-broken", "the body broke off"))?;
        received += chunk.len();
        if received <= JSON_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        }
        if received > READ_BYTES_MAX {
            break;
        }
    }
    if received > JSON_BYTES_MAX {
        let message = format!("the body is larger than {JSON_BYTES_MAX} bytes");
        return Err(Refusal::too_large("body-too-large", message));
    }
    Ok(kept)
}

/// `/projects/{project}/services/{service}`
#[derive(Debug, Clone)]
pub(crate) struct ServicePath {
    pub(crate) project: ProjectName,
    pub(crate) service: ServiceName,
}

impl ServicePath {
    pub(crate) fn parse(project: String, service: String) -> Result<Self, Refusal> {
        let bad = |error: slipway_types::NameError| Refusal::bad_request("bad-name", error.to_string());
        Ok(Self {
            project: ProjectName::parse(project).map_err(bad)?,
            service: ServiceName::parse(service).map_err(bad)?,
        })
    }
}

#[derive(Deserialize)]
struct RawServicePath {
    project: String,
    service: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ServicePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(raw) = Path::<RawServicePath>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request("bad-path", rejection.body_text()))?;
        Self::parse(raw.project, raw.service)
    }
}

/// `/deployments/{deployment}`
#[derive(Debug, Clone)]
pub(crate) struct DeploymentPath(pub(crate) DeploymentId);

impl<S: Send + Sync> FromRequestParts<S> for DeploymentPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(raw) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request("bad-path", rejection.body_text()))?;
        let id = DeploymentId::parse(raw).map_err(|error| Refusal::bad_request("bad-id", error.to_string()))?;
        Ok(Self(id))
    }
}

/// What may stand behind `?`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    pub(crate) follow: bool,
    pub(crate) limit: Option<u32>,
    /// Milliseconds since the epoch.
    pub(crate) since: Option<i64>,
    /// Milliseconds since the epoch; what came then is left out.
    pub(crate) until: Option<i64>,
    /// Only lines in which this regular expression is found.
    pub(crate) grep: Option<String>,
    /// Only so many of the last lines.
    pub(crate) tail: Option<u32>,
    /// Id or number of a replica.
    pub(crate) replica: Option<String>,
    /// A run, or `latest`: the lines around its end.
    pub(crate) restart: Option<String>,
    /// Of a log: behind the line with this cursor. Of events: behind the one with this id.
    pub(crate) after: Option<String>,
    /// Objects with a `cursor` alone come too, so that a follower knows where it is before the first line.
    pub(crate) positions: bool,
    /// A deployment whose phases' output is wanted, or `true` for the newest.
    pub(crate) build: Option<String>,
    /// Of a listing of events.
    pub(crate) project: Option<String>,
    pub(crate) service: Option<String>,
}

impl Params {
    /// Rows to answer with: what was asked for, within the bound.
    pub(crate) fn limit_or(&self, default: u32) -> u32 {
        self.limit.unwrap_or(default).clamp(1, slipway_types::api::LIMIT_MAX)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(params) = Query::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Refusal::bad_request("bad-query", rejection.body_text()))?;
        Ok(params)
    }
}
