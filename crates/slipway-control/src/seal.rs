//! Encryption of what must not lie readable in the database: the owner's variables and git credentials.
//!
//! XChaCha20-Poly1305 with a random nonce of 24 bytes, so that nonces never need counting. The context (which service,
//! which revision) is authenticated too: a sealed value moved to another row does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use slipway_types::{Secret, ServiceId};

/// Bytes of the master key (the cipher's key size).
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of the nonce in front of each sealed text (XChaCha20's nonce size).
const NONCE_BYTES: usize = 24;

/// BLAKE3 wants it to be globally unique.
const DIGEST_CONTEXT: &str = "slipway 2026 digests of variables given to builds";
/// Hexadecimal digits of a digest: 128 bits are enough to tell values apart.
const DIGEST_DIGITS: usize = 32;

/// The key that seals everything in one data directory. Never printed.
#[derive(Clone)]
pub struct MasterKey {
    cipher: XChaCha20Poly1305,
    /// Of digests that stand for values; derived, so that neither use helps against the other.
    digest: [u8; KEY_BYTES],
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("could not get random bytes for a nonce: {0}")]
    Random(getrandom::Error),
    #[error("could not encrypt {0}")]
    Seal(String),
    #[error("could not decrypt {0}: was it sealed with another `keys/master.key`?")]
    Open(String),
}

/// What a sealed text belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SealedFor<'a> {
    /// The variables of a service at a revision.
    Env { service: &'a ServiceId, revision: u64 },
    /// The git credential of a deployment's source.
    Credential { service: &'a ServiceId },
}

impl SealedFor<'_> {
    fn context(self) -> String {
        match self {
            SealedFor::Env { service, revision } => format!("slipway env {service} {revision}"),
            SealedFor::Credential { service } => format!("slipway git credential {service}"),
        }
    }
}

impl MasterKey {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(&Key::from(*key)), digest: blake3::derive_key(DIGEST_CONTEXT, key) }
    }

    /// Nonce and ciphertext of `plain`.
    pub(crate) fn seal(&self, of: SealedFor<'_>, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let context = of.context();
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(SealError::Random)?;
        let payload = Payload { msg: plain, aad: context.as_bytes() };
        let ciphertext =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Seal(context.clone()))?;
        Ok([nonce.as_slice(), &ciphertext].concat())
    }

    /// Tells whether a variable of a service has the same value, and nothing else about it without this key.
    pub(crate) fn digest(&self, service: &ServiceId, name: &str, value: &Secret) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.digest);
        // Neither of the first two can hold a NUL, so no two triples give the same bytes.
        for part in [service.as_str(), "\0", name, "\0", value.expose()] {
            hasher.update(part.as_bytes());
        }
        let mut digits = hasher.finalize().to_hex().to_string();
        digits.truncate(DIGEST_DIGITS);
        digits
    }

    pub(crate) fn open(&self, of: SealedFor<'_>, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let context = of.context();
        let Some((nonce, ciphertext)) = sealed.split_first_chunk::<NONCE_BYTES>() else {
            return Err(SealError::Open(context));
        };
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::Open(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_and_place_open_it() {
        let key = MasterKey::new(&[7; KEY_BYTES]);
        let service = ServiceId::parse("svc-a").unwrap();
        let other = ServiceId::parse("svc-b").unwrap();
        let place = SealedFor::Env { service: &service, revision: 3 };
        let sealed = key.seal(place, b"swordfish").unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"swordfish"));
        assert_ne!(sealed, key.seal(place, b"swordfish").unwrap(), "a nonce is never used twice");
        assert_eq!(key.open(place, &sealed).unwrap(), b"swordfish");
        assert!(key.open(SealedFor::Env { service: &service, revision: 4 }, &sealed).is_err());
        assert!(key.open(SealedFor::Env { service: &other, revision: 3 }, &sealed).is_err());
        assert!(MasterKey::new(&[8; KEY_BYTES]).open(place, &sealed).is_err());
        assert!(key.open(place, &sealed[..10]).is_err());
    }

    #[test]
    fn a_digest_tells_same_from_other_to_the_key_alone() {
        let key = MasterKey::new(&[7; KEY_BYTES]);
        let (service, other) = (ServiceId::parse("svc-a").unwrap(), ServiceId::parse("svc-b").unwrap());
        let value = Secret::new("hunter2");
        let digest = key.digest(&service, "A", &value);
        assert_eq!(digest, key.digest(&service, "A", &value));
        for differs in [
            key.digest(&other, "A", &value),
            key.digest(&service, "B", &value),
            key.digest(&service, "A", &Secret::new("hunter3")),
            MasterKey::new(&[8; KEY_BYTES]).digest(&service, "A", &value),
        ] {
            assert_ne!(digest, differs);
        }
    }
}
