//! One request: choose a replica, send, answer.
//!
//! A request is sent again only when that cannot double it: when no connection was made, when the connection took
//! none of it, or when it is a GET, HEAD or OPTIONS without a body and the connection was a reused one.

use crate::backend::{Backend, Permit, Sender, Service};
use crate::body::{Lease, RequestBody, ResponseBody};
use crate::connection::Client;
use crate::limits::{CONNECT_BACKOFF, CONNECT_DOUBLINGS_MAX, EdgeLimits, PICK_ATTEMPTS_MAX, STALE_ATTEMPTS_MAX};
use crate::outside::Passage;
use crate::page::{self, Format};
use crate::refusal::Refusal;
use crate::request_id::X_REQUEST_ID;
use crate::rules::{Action, Decision, Question, Target};
use crate::site::answer::{Reply, Visit};
use crate::table::{Picked, RouteEntry};
use crate::upstream::{self, ConnectError, Sent};
use crate::wake::{Waiting, Waits};
use crate::{head, host, login, tunnel};
use http::header::{ACCEPT, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Answers one request of a client, always.
pub(crate) async fn answer(
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let id = client.worker.request_ids.of(request.headers());
    let accept = request.headers().get(ACCEPT).cloned();
    let (began, counts) = (Instant::now(), &client.worker.counts);
    let answered = forward(&client, request, &id).await;
    let status = answered.as_ref().map_or_else(|refusal| refusal.status, Response::status);
    counts.answered(status, began.elapsed());
    let refusal = match answered {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    counts.refused(refusal.code);
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
    let asked = request.uri().clone();
    match Exchange::new(client, &name, &asked).run(request).await? {
        Outcome::Own(mut response) => {
            response.headers_mut().insert(X_REQUEST_ID, id.clone());
            Ok(response)
        }
        Outcome::Upstream(answered) => respond(client, answered, &asked, switch.filter(|_| upgrade.is_some()), id),
    }
}

/// Where an answer comes from.
enum Outcome {
    /// The rules of the route, or the files of a site.
    Own(Response<ResponseBody>),
    Upstream(Answered),
}

/// A response head with what it came over.
struct Answered {
    route: Arc<RouteEntry>,
    permit: Permit,
    sender: Sender,
    response: Response<Incoming>,
    /// What a rule says that the status is.
    status: Option<StatusCode>,
}

fn respond(
    client: &Arc<Client>,
    answered: Answered,
    asked: &Uri,
    switch: Option<OnUpgrade>,
    id: &HeaderValue,
) -> Result<Response<ResponseBody>, Refusal> {
    let Answered { route, permit, sender, mut response, status: ruled } = answered;
    let status = response.status();
    let idle_max = client.worker.limits.upstream_idle_timeout;
    let keep = head::forward_response(status, response.headers_mut(), idle_max);
    *response.version_mut() = Version::HTTP_11;
    response.headers_mut().entry(X_REQUEST_ID).or_insert_with(|| id.clone());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        let Some(switch) = switch else { return Err(Refusal::unasked_upgrade(&route)) };
        let upstream = hyper::upgrade::on(&mut response);
        client.worker.tunnels.spawn(tunnel::run(client.clone(), switch, upstream, sender, permit));
        return Ok(response.map(|_| ResponseBody::own(bytes::Bytes::new(), client.activity.clone())));
    }
    if let Some(ruled) = ruled.filter(|_| status.is_success()) {
        *response.status_mut() = ruled;
    }
    route.rules.headers.add(asked.path(), response.headers_mut());
    let lease = Lease { sender, permit, thread: client.worker.thread, keep };
    Ok(response.map(|incoming| ResponseBody::upstream(incoming, lease, client.activity.clone())))
}

/// One request and its attempts.
struct Exchange<'a> {
    client: &'a Client,
    host: &'a str,
    /// Before any rewrite.
    asked: &'a Uri,
    /// Backends that took no connection.
    tried: Vec<Arc<Backend>>,
    connect_failures: u32,
    stale: u32,
    /// For a deployment that sleeps.
    waiting: Option<Waiting>,
}

/// A target, or a route that asks its requests to wait for one.
enum Choice {
    Target(Arc<RouteEntry>, Permit),
    Asleep(Arc<RouteEntry>),
}

/// What is left to do when the rules of a route were followed.
enum Followed<'r> {
    /// Ask the app, and answer with this status.
    Forward(Option<StatusCode>),
    Own(Response<ResponseBody>),
    /// Ask another server.
    Outside {
        url: Target,
        headers: &'r [(HeaderName, HeaderValue)],
    },
}

const WHOLE_ONLY: [HeaderName; 3] = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE];

impl<'a> Exchange<'a> {
    fn new(client: &'a Client, host: &'a str, asked: &'a Uri) -> Self {
        Self { client, host, asked, tried: Vec::new(), connect_failures: 0, stale: 0, waiting: None }
    }

    async fn run(mut self, mut request: Request<RequestBody>) -> Result<Outcome, Refusal> {
        let repeatable = is_repeatable(&request);
        loop {
            let (route, permit) = match self.pick()? {
                Choice::Target(route, permit) => (route, permit),
                Choice::Asleep(route) => {
                    // Who may not come in wakes nobody.
                    login::check(&route, self.asked.path(), request.headers())?;
                    Box::pin(self.wait(&route)).await?;
                    continue;
                }
            };
            self.waiting = None;
            login::check(&route, self.asked.path(), request.headers())?;
            let decision = self.decide(&route, &request);
            let backend = permit.backend().clone();
            let address = match &backend.service {
                Service::Process(address) => *address,
                Service::Broken => return Err(Refusal::site_broken(&route)),
                Service::Site(site) => {
                    let (method, headers) = (request.method(), request.headers());
                    let (uri, activity) = (self.asked, &self.client.activity);
                    let visit = Visit { site, route: &route, method, uri, headers, activity };
                    return match Box::pin(visit.answer(decision, permit)).await? {
                        Reply::Own(response) => Ok(Outcome::Own(response)),
                        Reply::Outside { url, headers } => self.pass(&route, &url, headers, request).await,
                    };
                }
            };
            let status = match self.follow(&route, decision, &mut request)? {
                Followed::Forward(status) => status,
                Followed::Own(response) => return Ok(Outcome::Own(response)),
                Followed::Outside { url, headers } => {
                    // Nothing of it concerns the replica.
                    drop(permit);
                    return self.pass(&route, &url, headers, request).await;
                }
            };
            let (mut sender, reused) = match self.connection(&backend, address, repeatable).await {
                Ok(connection) => connection,
                Err(error) => {
                    // Given back before the wait: the replica may be on its way out.
                    drop(permit);
                    self.connect_failed(&route, backend, &error).await?;
                    continue;
                }
            };
            request.body_mut().counted_by(&permit);
            let copy = (reused && repeatable).then(|| copy_of(&request));
            let (next, error) = match upstream::send(self.client, &mut sender, request).await {
                Sent::Response(response) => {
                    return Ok(Outcome::Upstream(Answered { route, permit, sender, response, status }));
                }
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

    /// What the rules of the route say. Asked for each target anew: another one may come from another table.
    fn decide<'r>(&self, route: &'r RouteEntry, request: &Request<RequestBody>) -> Option<Decision<'r>> {
        route.rules.decide(&Question {
            host: self.host,
            is_https: head::is_https(request.headers()),
            path: self.asked.path(),
            query: self.asked.query(),
            headers: request.headers(),
        })
    }

    /// Prepares a request for an app. Its files are not known here, so every rule comes before it.
    fn follow<'r>(
        &self,
        route: &RouteEntry,
        decision: Option<Decision<'r>>,
        request: &mut Request<RequestBody>,
    ) -> Result<Followed<'r>, Refusal> {
        let (status, to) = match decision.map(|decision| decision.action) {
            None => {
                request.uri_mut().clone_from(self.asked);
                return Ok(Followed::Forward(None));
            }
            Some(Action::Redirect { status, location }) => {
                let activity = self.client.activity.clone();
                return Ok(Followed::Own(
                    page::redirect(status, location).map(|bytes| ResponseBody::own(bytes, activity)),
                ));
            }
            Some(Action::Proxy { url, headers }) => return Ok(Followed::Outside { url, headers }),
            Some(Action::Rewrite { status, to }) => (status, to),
        };
        *request.uri_mut() = to.path_and_query().parse().map_err(|_| Refusal::bad_path(route))?;
        if status == StatusCode::OK {
            return Ok(Followed::Forward(None));
        }
        // With another status, only the whole page is an answer.
        for name in WHOLE_ONLY {
            request.headers_mut().remove(name);
        }
        Ok(Followed::Forward(Some(status)))
    }

    async fn pass(
        &self,
        route: &RouteEntry,
        url: &Target,
        headers: &[(HeaderName, HeaderValue)],
        request: Request<RequestBody>,
    ) -> Result<Outcome, Refusal> {
        let passage = Passage { client: self.client, route, path: self.asked.path() };
        Box::pin(passage.run(url, headers, request)).await.map(Outcome::Own)
    }

    /// Takes a place at a target of the present table.
    fn pick(&self) -> Result<Choice, Refusal> {
        for _ in 0..PICK_ATTEMPTS_MAX {
            let table = self.client.worker.table.load();
            let Some(route) = table.routes.get(self.host) else {
                let starting = table.generation == 0;
                return Err(if starting { Refusal::no_routes_yet() } else { Refusal::no_such_host(self.host) });
            };
            match route.pick(&self.tried) {
                Picked::Permit(permit) => return Ok(Choice::Target(route.clone(), permit)),
                Picked::Nobody if route.stopped => return Err(Refusal::stopped(route)),
                Picked::Nobody if route.waits.is_some() => return Ok(Choice::Asleep(route.clone())),
                Picked::Nobody if self.waiting.is_some() => return Err(Refusal::wake_failed(route)),
                Picked::Nobody => return Err(Refusal::unavailable(route)),
                Picked::Outdated => {}
            }
        }
        Err(Refusal::no_routes_yet())
    }

    /// Until there is another table, or an end. The first time it takes a place, and the present table is looked at once more.
    async fn wait(&mut self, route: &RouteEntry) -> Result<(), Refusal> {
        let worker = &self.client.worker;
        let Some(Waits { sleeper, wait_max, .. }) = &route.waits else { return Ok(()) };
        let Some(waiting) = &mut self.waiting else {
            let places_max = worker.limits.wake_waiting_max;
            let place = sleeper.enter(places_max).ok_or_else(|| Refusal::wake_crowded(route, places_max))?;
            let wait_max = (*wait_max).min(worker.limits.wake_wait_max);
            self.waiting = Some(Waiting::new(place, worker.generations.clone(), wait_max));
            return Ok(());
        };
        if let Some(waits) = &route.waits {
            waits.ask(&worker.asks, worker.limits.wake_ask_again);
        }
        tokio::select! {
            another = waiting.next_table() => match another {
                true => Ok(()),
                false => Err(Refusal::wake_timed_out(route, waiting.wait_max())),
            },
            () = worker.shutdown.cancelled() => Err(Refusal::stopping()),
        }
    }

    /// A connection and whether it was used before.
    async fn connection(
        &self,
        backend: &Backend,
        address: SocketAddr,
        repeatable: bool,
    ) -> Result<(Sender, bool), ConnectError> {
        let worker = &self.client.worker;
        let EdgeLimits { upstream_idle_timeout, upstream_idle_unrepeatable, .. } = worker.limits;
        let idle_max = if repeatable { upstream_idle_timeout } else { upstream_idle_unrepeatable };
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
        let attempts_max = self.client.worker.limits.connect_attempts_max;
        self.connect_failures += if matches!(error, ConnectError::TimedOut(_)) { attempts_max / 2 + 1 } else { 1 };
        if self.connect_failures >= attempts_max {
            return Err(Refusal::unreachable(route, error));
        }
        if !self.tried.iter().any(|other| Arc::ptr_eq(other, &backend)) {
            self.tried.push(backend);
        }
        if self.tried.len() >= route.backends.len() {
            tokio::time::sleep(CONNECT_BACKOFF * 2_u32.pow(exponent.min(CONNECT_DOUBLINGS_MAX))).await;
        }
        Ok(())
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
