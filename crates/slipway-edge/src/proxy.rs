//! One request: choose a replica, send, answer.
//!
//! A request is sent again only when that cannot double it: when no connection was made, when the connection took
//! none of it, or when it is a GET, HEAD or OPTIONS without a body and the connection was a reused one.

use crate::backend::{Backend, Permit, Sender};
use crate::body::{Lease, RequestBody, ResponseBody};
use crate::connection::Client;
use crate::limits::{
    CONNECT_ATTEMPTS_MAX, CONNECT_BACKOFF, PICK_ATTEMPTS_MAX, STALE_ATTEMPTS_MAX, UPSTREAM_IDLE_TIMEOUT,
    UPSTREAM_IDLE_UNREPEATABLE,
};
use crate::page::{self, Format};
use crate::refusal::Refusal;
use crate::request_id::X_REQUEST_ID;
use crate::table::{Picked, RouteEntry};
use crate::upstream::{self, ConnectError};
use crate::{head, host, tunnel};
use http::header::ACCEPT;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

/// Answers one request of a client, always.
pub(crate) async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let id = client.worker.request_ids.of(request.headers());
    let accept = request.headers().get(ACCEPT).cloned();
    let refusal = match forward(&client, request, &id).await {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    let (code, detail) = (refusal.code, &refusal.detail);
    if refusal.status.is_server_error() {
        tracing::warn!(code, request = ?id, "{detail}");
    } else {
        tracing::debug!(code, request = ?id, "{detail}");
    }
    let response = page::render(&refusal, Format::wanted(accept.as_ref()), &id);
    Ok(response.map(|bytes| ResponseBody::own(bytes, client.activity.clone())))
}

async fn forward(
    client: &Arc<Client>,
    request: Request<Incoming>,
    id: &HeaderValue,
) -> Result<Response<ResponseBody>, Refusal> {
    if request.method() == Method::CONNECT || request.method() == Method::TRACE {
        return Err(Refusal::method());
    }
    let authority = host::authority(&request).map_err(Refusal::host)?;
    let (mut parts, body) = request.into_parts();
    let switch = parts.extensions.remove::<OnUpgrade>();
    let upgrade =
        head::forward_request(&mut parts.headers, &client.peer, authority.clone(), id.clone(), switch.is_some())
            .map_err(|_| Refusal::coding())?;
    parts.uri = host::origin_form(parts.uri);
    parts.version = Version::HTTP_11;
    let request = Request::from_parts(parts, RequestBody::new(body));
    // `host::authority` gives text only.
    let name = host::name(authority.to_str().unwrap_or_default());
    let answered = Exchange::new(client, &name).run(request).await?;
    respond(client, answered, switch.filter(|_| upgrade.is_some()), id)
}

/// A response head with what it came over.
struct Answered {
    route: Arc<RouteEntry>,
    permit: Permit,
    sender: Sender,
    response: Response<Incoming>,
}

fn respond(
    client: &Arc<Client>,
    answered: Answered,
    switch: Option<OnUpgrade>,
    id: &HeaderValue,
) -> Result<Response<ResponseBody>, Refusal> {
    let Answered { route, permit, sender, mut response } = answered;
    let status = response.status();
    let keep = head::forward_response(status, response.headers_mut(), UPSTREAM_IDLE_TIMEOUT);
    *response.version_mut() = Version::HTTP_11;
    response.headers_mut().entry(X_REQUEST_ID).or_insert_with(|| id.clone());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(switch) = switch else { return Err(Refusal::unasked_upgrade(&route)) };
        let upstream = hyper::upgrade::on(&mut response);
        client.worker.tunnels.spawn(tunnel::run(client.clone(), switch, upstream, sender, permit));
        return Ok(response.map(|_| ResponseBody::own(bytes::Bytes::new(), client.activity.clone())));
    }
    let lease = Lease { sender, permit, thread: client.worker.thread, keep };
    Ok(response.map(|incoming| ResponseBody::upstream(incoming, lease, client.activity.clone())))
}

/// One request and its attempts.
struct Exchange<'a> {
    client: &'a Client,
    host: &'a str,
    /// Backends that took no connection.
    tried: Vec<Arc<Backend>>,
    connect_failures: u32,
    stale: u32,
}

/// What became of a request on one connection.
enum Sent {
    Response(Response<Incoming>),
    /// The connection was closed before it took any of the request.
    Unsent(Request<RequestBody>, hyper::Error),
    /// It broke after some or all of the request was sent.
    Broken(hyper::Error),
    TimedOut,
}

impl<'a> Exchange<'a> {
    fn new(client: &'a Client, host: &'a str) -> Self {
        Self { client, host, tried: Vec::new(), connect_failures: 0, stale: 0 }
    }

    async fn run(mut self, mut request: Request<RequestBody>) -> Result<Answered, Refusal> {
        let repeatable = is_repeatable(&request);
        loop {
            let (route, permit) = self.pick()?;
            let (mut sender, reused) = match self.connection(permit.backend(), repeatable).await {
                Ok(connection) => connection,
                Err(error) => {
                    let backend = permit.backend().clone();
                    // Given back before the wait: the replica may be on its way out.
                    drop(permit);
                    self.connect_failed(&route, backend, &error).await?;
                    continue;
                }
            };
            request.body_mut().counted_by(&permit);
            let copy = (reused && repeatable).then(|| copy_of(&request));
            let (next, error) = match self.send(&mut sender, request).await {
                Sent::Response(response) => return Ok(Answered { route, permit, sender, response }),
                Sent::TimedOut => {
                    return Err(Refusal::timed_out(&route, self.client.worker.limits.response_header_timeout));
                }
                Sent::Unsent(unsent, error) => (Some(unsent), error),
                Sent::Broken(error) => (copy, error),
            };
            self.stale += 1;
            match next {
                Some(next) if self.stale < STALE_ATTEMPTS_MAX => request = next,
                _ => return Err(Refusal::broken(&route, &error)),
            }
        }
    }

    /// Takes a place at a target of the present table.
    fn pick(&self) -> Result<(Arc<RouteEntry>, Permit), Refusal> {
        for _ in 0..PICK_ATTEMPTS_MAX {
            let table = self.client.worker.table.load();
            let Some(route) = table.routes.get(self.host) else {
                let starting = table.generation == 0;
                return Err(if starting { Refusal::no_routes_yet() } else { Refusal::no_such_host(self.host) });
            };
            match route.pick(&self.tried) {
                Picked::Permit(permit) => return Ok((route.clone(), permit)),
                Picked::Nobody => return Err(Refusal::unavailable(route)),
                Picked::Outdated => {}
            }
        }
        Err(Refusal::no_routes_yet())
    }

    /// A connection and whether it was used before.
    async fn connection(&self, backend: &Backend, repeatable: bool) -> Result<(Sender, bool), ConnectError> {
        let worker = &self.client.worker;
        let Some(address) = backend.address() else { return Err(ConnectError::NoProcess) };
        let idle_max = if repeatable { UPSTREAM_IDLE_TIMEOUT } else { UPSTREAM_IDLE_UNREPEATABLE };
        // After one stale connection the others are not worth the risk.
        if self.stale == 0
            && let Some(sender) = backend.take_idle(worker.thread, idle_max)
        {
            return Ok((sender, true));
        }
        Ok((upstream::connect(address, worker.limits.connect_timeout).await?, false))
    }

    /// Waits where that may help, and gives up after enough attempts.
    async fn connect_failed(
        &mut self,
        route: &RouteEntry,
        backend: Arc<Backend>,
        error: &ConnectError,
    ) -> Result<(), Refusal> {
        tracing::debug!(target = ?backend.target.at, %error, "a replica took no connection");
        let exponent = self.connect_failures;
        // A time-out has cost the client seconds already: one more try, not four.
        self.connect_failures +=
            if matches!(error, ConnectError::TimedOut(_)) { CONNECT_ATTEMPTS_MAX / 2 + 1 } else { 1 };
        if self.connect_failures >= CONNECT_ATTEMPTS_MAX {
            return Err(Refusal::unreachable(route, error));
        }
        if !self.tried.iter().any(|other| Arc::ptr_eq(other, &backend)) {
            self.tried.push(backend);
        }
        if self.tried.len() >= route.backends.len() {
            tokio::time::sleep(CONNECT_BACKOFF * 2_u32.pow(exponent.min(CONNECT_ATTEMPTS_MAX))).await;
        }
        Ok(())
    }

    async fn send(&self, sender: &mut Sender, request: Request<RequestBody>) -> Sent {
        let limit = self.client.worker.limits.response_header_timeout;
        let uploads = !request.body().is_end_stream();
        let mut answer = pin!(sender.try_send_request(request));
        let mut wait = limit;
        loop {
            match tokio::time::timeout(wait, answer.as_mut()).await {
                Ok(Ok(response)) => return Sent::Response(response),
                Ok(Err(mut error)) => {
                    return match error.take_message() {
                        Some(mut request) => {
                            request.body_mut().uncount();
                            Sent::Unsent(request, error.into_error())
                        }
                        None => Sent::Broken(error.into_error()),
                    };
                }
                // An upload that still moves is not late.
                Err(_) if uploads && self.client.activity.still_for() < limit => {
                    wait = limit.saturating_sub(self.client.activity.still_for());
                }
                Err(_) => return Sent::TimedOut,
            }
        }
    }
}

fn is_repeatable(request: &Request<RequestBody>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) && request.body().is_end_stream()
}

fn copy_of(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    copy.headers_mut().clone_from(request.headers());
    copy
}
