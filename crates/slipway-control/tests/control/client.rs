//! A small HTTP client for the API.

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipway_types::ApiError;
use slipway_types::api::DeploymentEvent;
use std::net::SocketAddr;
use std::time::Duration;

/// Everything here is over within milliseconds unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone)]
pub(crate) struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<String>,
    pub(crate) bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Status and code of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json::<ApiError>().code)
    }
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: String) -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), address, token }
    }

    pub(crate) fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::new(body.into()))
            .unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let exchange = async {
            let response = self.http.request(request).await.unwrap();
            let status = response.status();
            let retry_after = response.headers().get(header::RETRY_AFTER);
            let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
            Answer { status, retry_after, bytes: response.into_body().collect().await.unwrap().to_bytes() }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, "")).await
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path, body.to_string())).await
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: Value) -> impl Future<Output = Answer> {
        let request = self.request(Method::POST, path, body.to_string());
        async move { self.send(request).await }
    }

    /// Opens a stream; [`Lines::until`] reads it.
    pub(crate) async fn lines(&self, path: &str) -> Lines {
        let response = self.http.request(self.request(Method::GET, path, "")).await.unwrap();
        Lines { body: response.into_body(), text: String::new() }
    }

    /// Follows a deployment to its end.
    pub(crate) async fn follow(&self, deployment: &str) -> Vec<DeploymentEvent> {
        let answer = self.get(&format!("/v1/deployments/{deployment}/events?follow=true")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// An answer that goes on.
pub(crate) struct Lines {
    body: hyper::body::Incoming,
    pub(crate) text: String,
}

impl Lines {
    /// Reads on until `wanted` was seen, or, with None, to the end.
    pub(crate) async fn until(&mut self, wanted: Option<&str>) {
        let reading = async {
            while !wanted.is_some_and(|wanted| self.text.contains(wanted)) {
                let Some(frame) = self.body.frame().await else {
                    return assert!(wanted.is_none(), "ended without {wanted:?}: {}", self.text);
                };
                if let Ok(bytes) = frame.unwrap().into_data() {
                    self.text.push_str(std::str::from_utf8(&bytes).unwrap());
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
    }
}
