//! Refusals of requests that a rule passes on to a server outside.

use super::{Refusal, broken_because, sentence, who};
use crate::table::RouteEntry;
use http::StatusCode;
use std::time::Duration;

const TITLE: &str = "The other server did not answer";
const RETRY: &str = "Try again in a moment. If this is your service, check the rule's `to` and the other server.";

impl Refusal {
    pub(crate) fn proxy_target(route: &RouteEntry) -> Self {
        Self {
            title: "The other server cannot be asked",
            hint: "If this is your service, correct the rule's `to`: `https://host/path`, without a user name.",
            ..outside(
                "proxy-target-invalid",
                format!("A rule of {} passes this address to a URL that is none.", who(route)),
            )
        }
    }

    pub(crate) fn proxy_address(route: &RouteEntry, host: &str) -> Self {
        Self {
            title: "The other server may not be asked",
            hint: "If this is your server, `[edge] proxy_allow` in `slipway-server.toml` lets an address through; the log names it.",
            ..outside("proxy-address-refused", passes(route, host, "which is not at a public address"))
        }
    }

    pub(crate) fn proxy_loop(route: &RouteEntry) -> Self {
        Self {
            status: StatusCode::LOOP_DETECTED,
            title: "Going in circles",
            hint: "If this is your service, a rule's `to` leads back to the rule: let it lead elsewhere.",
            ..outside("proxy-loop", format!("The rules of {} pass this request on again and again.", who(route)))
        }
    }

    pub(crate) fn proxy_unreachable(route: &RouteEntry, host: &str, why: &str) -> Self {
        outside("proxy-unreachable", passes(route, host, &format!("which cannot be reached: {why}")))
    }

    pub(crate) fn proxy_tls(route: &RouteEntry, host: &str, why: &str) -> Self {
        Self {
            hint: "If this is your service, check the other server's certificate. `sandbox.ca_bundle` can name an authority of your own.",
            ..outside("proxy-tls", passes(route, host, &format!("which cannot be reached securely: {why}")))
        }
    }

    pub(crate) fn proxy_broken(route: &RouteEntry, host: &str, error: &hyper::Error) -> Self {
        let why = broken_because(error);
        outside("proxy-broken", passes(route, host, &format!("which did not answer: {why}")))
    }

    pub(crate) fn proxy_unasked_upgrade(route: &RouteEntry, host: &str) -> Self {
        outside("proxy-broken", passes(route, host, "which switched protocols although nobody asked"))
    }

    pub(crate) fn proxy_timed_out(route: &RouteEntry, host: &str, after: Duration) -> Self {
        let why = format!("which did not begin its response within {} s", after.as_secs_f32());
        Self {
            status: StatusCode::GATEWAY_TIMEOUT,
            title: "The other server took too long",
            ..outside("proxy-timeout", passes(route, host, &why))
        }
    }
}

fn passes(route: &RouteEntry, host: &str, what: &str) -> String {
    // A host name has at most 253 characters; what is longer is no help to anyone.
    let host: String = host.chars().take(253).collect();
    sentence(&format!("A rule of {} passes this address to the server {host}, {what}", who(route)))
}

fn outside(code: &'static str, detail: String) -> Refusal {
    Refusal { status: StatusCode::BAD_GATEWAY, code, title: TITLE, detail, hint: RETRY }
}
