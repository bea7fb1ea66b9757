//! The TLS side of a listener: settings made from files, and made anew when the files change.
//!
//! Nothing is resumed: a session that is resumed is not asked for its certificate again, so a
//! client whose authority was taken away would live on in a ticket.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

use super::ListenError;
use super::files::{self, Stamp};

/// Files in PEM. They may be replaced while the listener serves.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The listener's own certificate first, then those that lead to its root.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Authorities for client certificates; without it none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused; needs `client_ca`.
    pub require_client: bool,
}

/// The settings in force.
pub(super) struct Certificates {
    name: &'static str,
    files: TlsFiles,
    in_force: Mutex<InForce>,
}

struct InForce {
    acceptor: TlsAcceptor,
    stamps: [Stamp; 3],
}

impl Certificates {
    pub(super) fn load(name: &'static str, files: TlsFiles) -> Result<Self, ListenError> {
        // Before reading, so that a change during it is seen as one after it.
        let stamps = files.stamps();
        let acceptor = files.acceptor(name)?;
        Ok(Self { name, files, in_force: Mutex::new(InForce { acceptor, stamps }) })
    }

    /// For one connection: the one after a change of the files already gets what is new.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        // INVARIANT: both fields are assigned whole, so a panic leaves nothing half-changed.
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        match self.renew(&mut in_force) {
            Renewal::NotDue => {}
            Renewal::Taken => {
                tracing::info!(listener = self.name, "changed certificate files are in force");
            }
            // A certificate and its key change one after the other; what is between them must
            // not end the service.
            Renewal::Refused(error) => tracing::error!(
                listener = self.name,
                %error,
                "changed certificate files are not taken; those before stay in force"
            ),
        }
        in_force.acceptor.clone()
    }

    /// Three files' metadata cost microseconds, a handshake a millisecond: each connection looks.
    fn renew(&self, in_force: &mut InForce) -> Renewal {
        let stamps = self.files.stamps();
        if in_force.stamps == stamps {
            return Renewal::NotDue;
        }
        // Also when they are not taken: the same mistake is told once.
        in_force.stamps = stamps;
        match self.files.acceptor(self.name) {
            Ok(acceptor) => {
                in_force.acceptor = acceptor;
                Renewal::Taken
            }
            Err(error) => Renewal::Refused(error),
        }
    }
}

#[derive(Debug)]
enum Renewal {
    NotDue,
    Taken,
    Refused(ListenError),
}

impl TlsFiles {
    fn stamps(&self) -> [Stamp; 3] {
        let ca = self.client_ca.as_ref().unwrap_or(&self.certificate);
        [Stamp::of(&self.certificate), Stamp::of(&self.key), Stamp::of(ca)]
    }

    fn acceptor(&self, name: &'static str) -> Result<TlsAcceptor, ListenError> {
        let settings = |what: String| ListenError::Settings { name, what };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| settings(error.to_string()))?;
        let builder = match self.client_verifier(name, provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = (files::chain(&self.certificate)?, files::key(&self.key)?);
        // rustls compares the two public keys.
        let mut config = builder.with_single_cert(chain, key).map_err(|source| {
            let (certificate, key) = (self.certificate.clone(), self.key.clone());
            ListenError::Mismatched { certificate, key, source }
        })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn client_verifier(
        &self,
        name: &'static str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Option<Arc<dyn rustls::server::danger::ClientCertVerifier>>, ListenError> {
        let settings = |what: String| ListenError::Settings { name, what };
        let Some(ca) = &self.client_ca else {
            if self.require_client {
                return Err(settings(
                    "client certificates are required, but no authority for them is named: name a file of CA certificates".to_owned(),
                ));
            }
            return Ok(None);
        };
        let roots = Arc::new(files::roots(ca)?);
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let builder = if self.require_client { builder } else { builder.allow_unauthenticated() };
        builder.build().map(Some).map_err(|error| settings(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::fixture::{Authority, Desk, write};

    #[test]
    fn a_change_is_taken_or_refused_once() {
        let desk = Desk::new();
        let certificates = Certificates::load("test", desk.mutual(true)).unwrap();
        let renew = || certificates.renew(&mut certificates.in_force.lock().unwrap());
        assert!(matches!(renew(), Renewal::NotDue));
        desk.put(&desk.authority.server("127.0.0.1"));
        assert!(matches!(renew(), Renewal::Taken));
        assert!(matches!(renew(), Renewal::NotDue));
        write(&desk.files().key, "no key", 0o600);
        let Renewal::Refused(error) = renew() else { panic!("it is no key") };
        assert!(error.to_string().contains("holds no private key"), "{error}");
        assert!(matches!(renew(), Renewal::NotDue));
        desk.put(&desk.authority.server("127.0.0.1"));
        assert!(matches!(renew(), Renewal::Taken));
        write(&desk.ca(), &Authority::new().pem(), 0o644);
        assert!(matches!(renew(), Renewal::Taken));
        std::fs::remove_file(desk.ca()).unwrap();
        assert!(matches!(renew(), Renewal::Refused(ListenError::Io { .. })));
    }
}
