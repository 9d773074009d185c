//! The calls, one function each. This file alone knows the paths.

use super::{Client, ClientError, Lines, RequestBody, UPLOAD_WAIT_MAX, empty, json};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use serde::de::IgnoredAny;
use slipway_types::api::{
    DeployParams, DeploymentView, EnvApplyView, EnvParams, EnvView, EventView, RedeployParams, RedeployView,
    RollbackParams, ScaleParams, ServerView, ServiceView, SettingsView, UploadView,
};
use slipway_types::cache::{CacheView, SweepParams, SweepView};
use slipway_types::{DeploymentId, ProjectName, ServiceName};
use std::fmt::Write;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// A service in a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServicePath<'a> {
    pub(crate) project: &'a ProjectName,
    pub(crate) service: &'a ServiceName,
}

/// What stands behind `?`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(String);

impl Query {
    pub(crate) fn add(&mut self, key: &str, value: &str) {
        let _ = write!(self.0, "{}{key}=", if self.0.is_empty() { '?' } else { '&' });
        for byte in value.bytes() {
            // Writing to a string cannot fail.
            let _ = match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    write!(self.0, "{}", char::from(byte))
                }
                byte => write!(self.0, "%{byte:02X}"),
            };
        }
    }

    pub(crate) fn add_some(&mut self, key: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.add(key, &value.to_string());
        }
    }

    fn text(&self) -> &str {
        &self.0
    }
}

impl ServicePath<'_> {
    fn with(self, rest: &str) -> String {
        format!("/v1/projects/{}/services/{}{rest}", self.project, self.service)
    }
}

impl Client {
    pub(crate) async fn server(&self) -> Result<ServerView, ClientError> {
        self.get("/v1/server").await
    }

    /// Which parts of the server are ready, as it says it to whoever watches it.
    pub(crate) async fn readiness(&self) -> Result<String, ClientError> {
        self.text_of("/readyz").await
    }

    pub(crate) async fn metrics(&self) -> Result<String, ClientError> {
        self.text_of("/metrics").await
    }

    /// Sends an archive chunk by chunk; an error in `chunks` breaks the request off, so that the server keeps nothing.
    pub(crate) async fn upload(&self, chunks: mpsc::Receiver<io::Result<Bytes>>) -> Result<UploadView, ClientError> {
        let body: RequestBody = ChunkBody(chunks).boxed_unsync();
        let exchange = async {
            let answer = self.send(Method::POST, "/v1/uploads", "application/gzip", body).await?;
            self.read(answer).await
        };
        let bytes = self.within(UPLOAD_WAIT_MAX, exchange).await?;
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { url: self.url.clone(), source })
    }

    pub(crate) async fn deploy(
        &self,
        of: ServicePath<'_>,
        params: &DeployParams,
    ) -> Result<DeploymentView, ClientError> {
        self.post(&of.with("/deployments"), params).await
    }

    pub(crate) async fn redeploy(
        &self,
        of: ServicePath<'_>,
        params: &RedeployParams,
    ) -> Result<DeploymentView, ClientError> {
        self.post(&of.with("/redeploy"), params).await
    }

    /// What a redeploy would do now.
    pub(crate) async fn redeploy_view(&self, of: ServicePath<'_>) -> Result<RedeployView, ClientError> {
        self.get(&of.with("/redeploy")).await
    }

    pub(crate) async fn rollback(
        &self,
        of: ServicePath<'_>,
        release: Option<u32>,
    ) -> Result<DeploymentView, ClientError> {
        self.post(&of.with("/rollback"), &RollbackParams { release }).await
    }

    pub(crate) async fn cancel(&self, deployment: &DeploymentId) -> Result<DeploymentView, ClientError> {
        self.post(&format!("/v1/deployments/{deployment}/cancel"), &serde_json::json!({})).await
    }

    /// Past events first; with `follow` until the outcome.
    pub(crate) async fn deployment_events(
        &self,
        deployment: &DeploymentId,
        follow: bool,
    ) -> Result<Lines, ClientError> {
        self.lines(&format!("/v1/deployments/{deployment}/events?follow={follow}")).await
    }

    pub(crate) async fn services(&self) -> Result<Vec<ServiceView>, ClientError> {
        self.get("/v1/services").await
    }

    pub(crate) async fn service(&self, of: ServicePath<'_>) -> Result<ServiceView, ClientError> {
        self.get(&of.with("")).await
    }

    pub(crate) async fn restart(&self, of: ServicePath<'_>) -> Result<ServiceView, ClientError> {
        self.post(&of.with("/restart"), &serde_json::json!({})).await
    }

    pub(crate) async fn scale(&self, of: ServicePath<'_>, replicas: u32) -> Result<ServiceView, ClientError> {
        self.post(&of.with("/scale"), &ScaleParams { replicas }).await
    }

    pub(crate) async fn stop(&self, of: ServicePath<'_>) -> Result<ServiceView, ClientError> {
        self.post(&of.with("/stop"), &serde_json::json!({})).await
    }

    pub(crate) async fn start(&self, of: ServicePath<'_>) -> Result<ServiceView, ClientError> {
        self.post(&of.with("/start"), &serde_json::json!({})).await
    }

    pub(crate) async fn destroy(&self, of: ServicePath<'_>) -> Result<(), ClientError> {
        self.call::<IgnoredAny>(Method::DELETE, &of.with(""), empty()).await.map(drop)
    }

    /// Newest first, of one service or of all.
    pub(crate) async fn events(
        &self,
        of: Option<ServicePath<'_>>,
        query: &Query,
    ) -> Result<Vec<EventView>, ClientError> {
        let path = of.map_or_else(|| "/v1/events".to_owned(), |service| service.with("/events"));
        self.get(&format!("{path}{}", query.text())).await
    }

    /// What happened and what comes, oldest first, each in a line.
    pub(crate) async fn follow_events(&self, of: Option<ServicePath<'_>>, query: &Query) -> Result<Lines, ClientError> {
        let path = of.map_or_else(|| "/v1/events".to_owned(), |service| service.with("/events"));
        self.lines(&format!("{path}{}", query.text())).await
    }

    pub(crate) async fn logs(&self, of: ServicePath<'_>, query: &Query) -> Result<Lines, ClientError> {
        self.lines(&format!("{}{}", of.with("/logs"), query.text())).await
    }

    /// Of a project or service alone, where one is named.
    pub(crate) async fn cache(
        &self,
        project: Option<&ProjectName>,
        service: Option<&ServiceName>,
    ) -> Result<CacheView, ClientError> {
        let mut path = "/v1/cache".to_owned();
        let filters = [("project", project.map(ToString::to_string)), ("service", service.map(ToString::to_string))];
        for (index, (key, name)) in filters.into_iter().filter_map(|(key, name)| Some((key, name?))).enumerate() {
            let _ = write!(path, "{}{key}={name}", if index == 0 { '?' } else { '&' });
        }
        self.get(&path).await
    }

    pub(crate) async fn sweep(&self, params: &SweepParams) -> Result<SweepView, ClientError> {
        self.post("/v1/cache/sweeps", params).await
    }

    pub(crate) async fn sweep_view(&self, sweep: &str) -> Result<SweepView, ClientError> {
        self.get(&format!("/v1/cache/sweeps/{sweep}")).await
    }

    pub(crate) async fn settings(&self, of: ServicePath<'_>) -> Result<SettingsView, ClientError> {
        self.get(&of.with("/settings")).await
    }

    /// Puts what is said over what was said before; answers with all that is said now.
    pub(crate) async fn change_settings(
        &self,
        of: ServicePath<'_>,
        settings: &SettingsView,
    ) -> Result<SettingsView, ClientError> {
        self.call(Method::PUT, &of.with("/settings"), json(settings)?).await
    }

    pub(crate) async fn variables(&self, of: ServicePath<'_>) -> Result<Vec<EnvView>, ClientError> {
        self.get(&of.with("/env")).await
    }

    pub(crate) async fn change_variables(
        &self,
        of: ServicePath<'_>,
        params: &EnvParams,
    ) -> Result<Vec<EnvView>, ClientError> {
        self.call(Method::PATCH, &of.with("/env"), json(params)?).await
    }

    /// Brings the newest variables to what is live.
    pub(crate) async fn apply_variables(&self, of: ServicePath<'_>) -> Result<EnvApplyView, ClientError> {
        self.post(&of.with("/env/apply"), &serde_json::json!({})).await
    }
}

/// A request body that comes over a channel.
struct ChunkBody(mpsc::Receiver<io::Result<Bytes>>);

impl Body for ChunkBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.get_mut().0.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
