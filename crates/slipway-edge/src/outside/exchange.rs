//! One request that a rule passes on to a server outside, and its answer.

use super::tls::TlsError;
use super::{Destination, OutsideError};
use crate::backend::Sender;
use crate::body::{RequestBody, ResponseBody};
use crate::connection::Client;
use crate::head;
use crate::limits::{OUTSIDE_ATTEMPTS_MAX, OUTSIDE_ROUNDS_MAX};
use crate::refusal::Refusal;
use crate::rules::Target;
use crate::table::RouteEntry;
use crate::upstream::{self, Sent};
use http::header::{ALT_SVC, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use std::error::Error;

/// Who has passed a request on (RFC 8586). `Via` would say it too, but makes common servers stop compressing.
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
const SELF: &str = "slipway";

/// What a rule cannot set: the connection's own fields, and those that say who is asked and for how much.
const NOT_A_RULE_S: [HeaderName; 11] = [
    CDN_LOOP,
    CONNECTION,
    CONTENT_LENGTH,
    http::header::EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// A way out of the server.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    pub(crate) client: &'a Client,
    pub(crate) route: &'a RouteEntry,
    /// As the client wrote it.
    pub(crate) path: &'a str,
}

impl Passage<'_> {
    /// `request` has a head for an app.
    pub(crate) async fn run(
        &self,
        url: &Target,
        added: &[(HeaderName, HeaderValue)],
        mut request: Request<RequestBody>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let route = self.route;
        if rounds(request.headers()) >= OUTSIDE_ROUNDS_MAX {
            return Err(Refusal::proxy_loop(route));
        }
        let to = Destination::parse(&url.path_and_query()).ok_or_else(|| Refusal::proxy_target(route))?;
        self.prepare(&to, added, &mut request);
        for attempt in 1.. {
            let mut sender = self.connect(&to).await?;
            match upstream::send(self.client, &mut sender, request).await {
                Sent::Response(response) => return self.respond(response, sender, &to.host),
                Sent::TimedOut => {
                    let after = self.client.worker.limits.response_header_timeout;
                    return Err(Refusal::proxy_timed_out(route, &to.host, after));
                }
                Sent::Unsent(unsent, _) if attempt < OUTSIDE_ATTEMPTS_MAX => request = unsent,
                Sent::Unsent(_, error) | Sent::Broken(error) => {
                    return Err(Refusal::proxy_broken(route, &to.host, &error));
                }
            }
        }
        Err(Refusal::proxy_target(route))
    }

    fn prepare(&self, to: &Destination, added: &[(HeaderName, HeaderValue)], request: &mut Request<RequestBody>) {
        *request.uri_mut() = to.path_and_query.clone().into();
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        for name in [CONNECTION, UPGRADE, TE] {
            headers.remove(name);
        }
        // The password of this site is nothing for another server.
        if self.route.rules.headers.logins(self.path).is_some() {
            headers.remove(AUTHORIZATION);
        }
        for (name, value) in added.iter().filter(|(name, _)| !NOT_A_RULE_S.contains(name)) {
            headers.insert(name, value.clone());
        }
        headers.insert(HOST, to.authority.clone());
        headers.append(CDN_LOOP, HeaderValue::from_static(SELF));
    }

    async fn connect(&self, to: &Destination) -> Result<Sender, Refusal> {
        let worker = &self.client.worker;
        worker.outside.connect(to, worker.limits.connect_timeout).await.map_err(|error| match error {
            OutsideError::Refused => Refusal::proxy_address(self.route, &to.host),
            OutsideError::Tls(TlsError::Setup(error)) => {
                // Paths of this machine are for its operator.
                tracing::error!(%error, source = ?error.source(), "no TLS to servers outside");
                Refusal::proxy_tls(self.route, &to.host, "this server's certificate authorities cannot be read")
            }
            OutsideError::Tls(TlsError::Peer(error)) => Refusal::proxy_tls(self.route, &to.host, &error.to_string()),
            OutsideError::TlsTimedOut(_) => Refusal::proxy_tls(self.route, &to.host, &error.to_string()),
            error => Refusal::proxy_unreachable(self.route, &to.host, &error.to_string()),
        })
    }

    fn respond(
        &self,
        mut response: Response<Incoming>,
        sender: Sender,
        host: &str,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::proxy_unasked_upgrade(self.route, host));
        }
        let idle_max = self.client.worker.limits.upstream_idle_timeout;
        head::forward_response(response.status(), response.headers_mut(), idle_max);
        // Of the other server's address, not of this one.
        response.headers_mut().remove(ALT_SVC);
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|incoming| ResponseBody::outside(incoming, sender, self.client.activity.clone())))
    }
}

/// How often a request has left a server such as this one.
fn rounds(headers: &HeaderMap) -> usize {
    let names = headers.get_all(CDN_LOOP).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    names.filter(|name| name.split(';').next().is_some_and(|name| name.trim() == SELF)).count()
}
