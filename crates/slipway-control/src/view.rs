//! Rows as the API answers them: addresses are added here, because only control knows the domain.

use crate::executor::route::{deployment_host, service_host};
use slipway_store::DeploymentSummary;
use slipway_types::ServiceKind;
use slipway_types::api::{DeploymentView, ServerView};
use slipway_types::{ProjectName, ServiceName};

/// The port of plain HTTP, which a URL leaves out.
const HTTP_PORT: u16 = 80;

fn url(host: &str, port: u16) -> String {
    match port {
        HTTP_PORT => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    }
}

/// The service's address. None for a worker.
pub(crate) fn service_url(
    server: &ServerView,
    project: &ProjectName,
    service: &ServiceName,
    kind: ServiceKind,
) -> Option<String> {
    kind.is_routed().then(|| url(&service_host(project, service, &server.domain), server.edge_port))
}

pub(crate) fn deployment(server: &ServerView, summary: DeploymentSummary) -> DeploymentView {
    let service = service_url(server, &summary.project, &summary.service, summary.kind);
    let own =
        summary.kind.is_routed().then(|| url(&deployment_host(&summary.deployment, &server.domain), server.edge_port));
    summary.into_view(service, own)
}
