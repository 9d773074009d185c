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
pub const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    pub address: SocketAddr,
    pub token: String,
}

pub struct Answer {
    pub status: StatusCode,
    pub bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Status and code of a refusal.
    #[track_caller]
    pub fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json::<ApiError>().code)
    }
}

impl Client {
    pub fn new(address: SocketAddr, token: String) -> Self {
        Self { http: Http::builder(TokioExecutor::new()).build_http(), address, token }
    }

    pub fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .body(Full::new(body.into()))
            .unwrap()
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let exchange = async {
            let response = self.http.request(request).await.unwrap();
            let status = response.status();
            Answer { status, bytes: response.into_body().collect().await.unwrap().to_bytes() }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path, "")).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.send(self.request(method, path, body.to_string())).await
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> impl Future<Output = Answer> {
        let request = self.request(Method::POST, path, body.to_string());
        async move { self.send(request).await }
    }

    /// Follows a deployment to its end.
    pub async fn follow(&self, deployment: &str) -> Vec<DeploymentEvent> {
        let answer = self.get(&format!("/v1/deployments/{deployment}/events?follow=true")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}
