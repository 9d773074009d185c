//! TLS to servers outside: certificates are checked against the machine's roots and the operator's, always.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error(transparent)]
    Setup(SetupError),
    #[error(transparent)]
    Peer(PeerError),
}

/// Of this machine.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    #[error("no certificate authority is known on this machine")]
    NoRoots,
    #[error("certificate bundle `{path}`")]
    Bundle { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("protocol versions")]
    Versions(#[source] rustls::Error),
    #[error("reading certificates")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Of the other server.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeerError {
    #[error("its name cannot stand in a certificate")]
    Name,
    #[error("{0}")]
    Handshake(std::io::Error),
}

/// What all connections share: roots, and tickets to resume with. Reads files.
pub(super) fn config(bundle: Option<&Path>) -> Result<Arc<ClientConfig>, SetupError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "certificates of this machine");
    }
    roots.add_parsable_certificates(found.certs);
    if let Some(path) = bundle {
        roots.add_parsable_certificates(read(path)?);
    }
    if roots.is_empty() {
        return Err(SetupError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(SetupError::Versions)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let unreadable = |source| SetupError::Bundle { path: path.to_owned(), source };
    CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)
}

pub(super) async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, PeerError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| PeerError::Name)?;
    TlsConnector::from(config).connect(name, stream).await.map_err(PeerError::Handshake)
}
