//! Whether a key opens the secrets of a database, before a restored data directory is believed.

use crate::seal::{KEY_BYTES, MasterKey};
use crate::variable::{Variables, VariablesError};
use slipway_store::{Store, StoreError};
use slipway_types::ServiceId;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("could not read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not usable: expected {KEY_BYTES} bytes")]
    Key { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the variables of service `{service}` cannot be read with this key")]
    Sealed { service: ServiceId },
}

/// Opens the newest variables of each service with the key in that file.
///
/// # Errors
/// When the key is none, or does not open them.
pub async fn check_secrets(key_file: &Path, store: &Store) -> Result<(), SecretsError> {
    let bytes = std::fs::read(key_file).map_err(|source| SecretsError::Read { path: key_file.to_owned(), source })?;
    let bytes: [u8; KEY_BYTES] = bytes.try_into().map_err(|_| SecretsError::Key { path: key_file.to_owned() })?;
    let key = MasterKey::new(&bytes);
    for overview in store.overviews().await? {
        let (service, revision) = (overview.service.service_id, overview.service.env_revision);
        let Some(sealed) = store.env(&service, revision).await? else { continue };
        let opened = Variables::unseal(&key, &service, revision, &sealed);
        opened.map_err(|_: VariablesError| SecretsError::Sealed { service })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::{ProjectName, ServiceName};

    #[tokio::test]
    async fn another_key_opens_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("slipway.db")).await.unwrap();
        let (project, name) = (ProjectName::parse("shop").unwrap(), ServiceName::parse("web").unwrap());
        let id = ServiceId::parse("svc-web").unwrap();
        store.ensure_service(1, &project, &name, &id).await.unwrap();
        let sealed = Variables::default().seal(&MasterKey::new(&[7; KEY_BYTES]), &id, 1).unwrap();
        store.put_env(2, &id, 0, &sealed).await.unwrap();
        let file = dir.path().join("master.key");
        for (key, opens) in [(vec![7; KEY_BYTES], true), (vec![8; KEY_BYTES], false), (vec![7; 5], false)] {
            std::fs::write(&file, key).unwrap();
            assert_eq!(check_secrets(&file, &store).await.is_ok(), opens);
        }
    }
}
