//! TLS on the feed: a certificate for loopback, and a port that stays over a restart.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::kit::Site;

/// Changes the configuration of a control plane that does not run; who trusts its certificate.
pub(crate) fn secure(site: &Site) -> TlsConnector {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    let dir = site.dir();
    std::fs::write(dir.join("server.pem"), certificate.pem()).unwrap();
    let file = dir.join("server.key");
    std::fs::write(&file, key.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = dir.join("gatepass.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, feed) = text.split_once("[feed]").unwrap();
    let feed = feed.replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1).replacen(
        "followers = \"anyone\"",
        "followers = \"anyone\"\ntls = { certificate = \"server.pem\", key = \"server.key\" }",
        1,
    );
    assert!(feed.contains("server.pem") && feed.contains(&port.to_string()), "{feed}");
    std::fs::write(&file, format!("{before}[feed]{feed}")).unwrap();
    connector(certificate.der().clone())
}

fn connector(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// In the certificate.
pub(crate) const NAME: &str = "localhost";
