//! Why the edge answers itself, and in which words. The codes are stable.

mod outside;
mod wake;

use crate::host::HostError;
use crate::table::RouteEntry;
use crate::upstream::ConnectError;
use http::StatusCode;
use std::time::Duration;

/// The code for a method that a site does not answer.
pub(crate) const SITE_METHOD: &str = "site-method";

/// An answer that does not come from an app.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Stable, kebab-case; sent as `x-slipway-error`.
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    /// One or two plain sentences; untrusted text may be in it.
    pub(crate) detail: String,
    /// What may help.
    pub(crate) hint: &'static str,
}

impl Refusal {
    pub(crate) fn host(error: HostError) -> Self {
        let detail = match error {
            HostError::Missing => "The request names no host.",
            HostError::Ambiguous => "The request has more than one Host header, or one that is not text.",
        };
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad-host",
            title: "Bad request",
            detail: detail.to_owned(),
            hint: "Send exactly one Host header.",
        }
    }

    pub(crate) fn coding() -> Self {
        Self {
            status: StatusCode::NOT_IMPLEMENTED,
            code: "transfer-coding-unknown",
            title: "Not implemented",
            detail: "The request body has a transfer coding other than chunked.".to_owned(),
            hint: "Send the body with Content-Length or as chunked.",
        }
    }

    pub(crate) fn method() -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "method-refused",
            title: "Method not allowed",
            detail: "CONNECT and TRACE requests are not passed on.".to_owned(),
            hint: "This server is not a forward proxy.",
        }
    }

    pub(crate) fn no_such_host(host: &str) -> Self {
        // A host name has at most 253 characters; what is longer is no help to anyone.
        let host: String = host.chars().take(253).collect();
        Self {
            status: StatusCode::NOT_FOUND,
            code: "no-such-host",
            title: "Nothing is deployed here",
            detail: format!("No service or deployment has the host name {host}."),
            hint: "Check the address for a typing error. A new service gets its address with its first live deployment.",
        }
    }

    pub(crate) fn no_routes_yet() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "edge-starting",
            title: "Starting",
            detail: "The server has just started and does not know its routes yet.".to_owned(),
            hint: "Try again in a moment.",
        }
    }

    pub(crate) fn stopped(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "service-stopped",
            title: "Stopped",
            detail: format!("{} was stopped by its owner.", who(route)),
            hint: "If this is your service, `slipway start` starts it again.",
        }
    }

    pub(crate) fn unavailable(route: &RouteEntry) -> Self {
        let why = route.unavailable_because.as_deref().unwrap_or("it has no ready replica");
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "no-ready-replica",
            title: "Not available right now",
            detail: format!("{} cannot answer: {}", who(route), sentence(why)),
            hint: "Try again in a moment. If this is your service, `slipway ps` and `slipway logs` say more.",
        }
    }

    pub(crate) fn site_broken(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "site-unreadable",
            title: "Not available right now",
            detail: format!("The files of {} cannot be read.", who(route)),
            hint: "Try again in a moment. If this is your server, its log says which file and why.",
        }
    }

    pub(crate) fn file_unreadable(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "site-file-unreadable",
            title: "The page cannot be read",
            detail: format!("A file of {} cannot be read.", who(route)),
            hint: "If this is your server, its log says which file and why. A new deployment writes all files anew.",
        }
    }

    pub(crate) fn no_such_page(route: &RouteEntry, path: &str) -> Self {
        // What is longer is no help to anyone.
        let path: String = path.chars().take(200).collect();
        Self {
            status: StatusCode::NOT_FOUND,
            code: "no-such-page",
            title: "Not found",
            detail: format!("{} has no page or file {path}.", who(route)),
            hint: "Check the address for a typing error. A site's own page for this is its file `404.html`.",
        }
    }

    pub(crate) fn bad_path(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad-path",
            title: "Bad request",
            detail: format!("The path is not one that a file of {} can have.", who(route)),
            hint: "Check the address: an escape may be cut short, or the path has `..` in it.",
        }
    }

    pub(crate) fn unclear_path(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "bad-path",
            title: "Bad request",
            detail: format!(
                "Parts of {} want a login, and this path does not say plainly which part it is.",
                who(route)
            ),
            hint: "Write the path without `.`, `..`, `//`, backslashes and broken escapes.",
        }
    }

    pub(crate) fn site_method(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: SITE_METHOD,
            title: "Method not allowed",
            detail: format!("{} consists of files, which answer GET and HEAD only.", who(route)),
            hint: "A form or an API needs a service with a process.",
        }
    }

    pub(crate) fn login_wanted(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: "login-wanted",
            title: "Login wanted",
            detail: format!("This part of {} is for those who know its password.", who(route)),
            hint: "Send the user name and the password.",
        }
    }

    pub(crate) fn unreachable(route: &RouteEntry, error: &ConnectError) -> Self {
        let why = match error {
            ConnectError::Failed(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "it refuses connections: nothing listens on its port".to_owned()
            }
            ConnectError::TimedOut(after) => format!("it takes no connection within {} s", after.as_secs()),
            error => error.to_string(),
        };
        Self::bad_gateway("upstream-unreachable", format!("{} cannot be reached: {}", who(route), sentence(&why)))
    }

    pub(crate) fn broken(route: &RouteEntry, error: &hyper::Error) -> Self {
        let why = broken_because(error);
        Self::bad_gateway("upstream-broken", format!("{} did not answer: {}", who(route), sentence(why)))
    }

    pub(crate) fn unasked_upgrade(route: &RouteEntry) -> Self {
        let detail = format!("{} switched protocols, which the client did not ask for.", who(route));
        Self::bad_gateway("upstream-broken", detail)
    }

    fn bad_gateway(code: &'static str, detail: String) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            code,
            title: "The app did not answer",
            detail,
            hint: "Try again in a moment. If this is your service, `slipway logs` shows what the app said.",
        }
    }

    pub(crate) fn timed_out(route: &RouteEntry, after: Duration) -> Self {
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: "upstream-timeout",
            title: "The app took too long",
            detail: format!("{} did not begin its response within {} s.", who(route), after.as_secs_f32()),
            hint: "Try again in a moment. If this is your service, `slipway logs` shows what the app does.",
        }
    }
}

fn broken_because(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        "its response head is too large"
    } else if error.is_parse() {
        "what it sent is not HTTP"
    } else {
        "it closed the connection before its response"
    }
}

/// The service, and the deployment that should have answered.
fn who(route: &RouteEntry) -> String {
    let (service, project) = (&route.service, &route.project);
    match &route.deployment {
        Some(deployment) => format!("Service {service} of project {project} (deployment {deployment})"),
        None => format!("Service {service} of project {project}"),
    }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}
