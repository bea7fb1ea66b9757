//! Certificates for a feed over mTLS.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

/// Whom the client's certificate names.
pub(crate) const NODE: &str = "spiffe://corp.example/envoy/edge-1";

pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) client_key: PathBuf,
}

/// An authority, and what it signed for the control plane and for Envoy.
pub(crate) fn certificates(dir: &Path) -> Files {
    let mut params = CertificateParams::default();
    // Of another name than what it signs, which Envoy would else take for signed by itself.
    params.distinguished_name.push(DnType::CommonName, "an authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
    write("server.pem", &server.signed_by(&server_key, &authority).unwrap().pem());
    write("server.key", &server_key.serialize_pem());
    let client_key = KeyPair::generate().unwrap();
    let mut client = CertificateParams::default();
    client.subject_alt_names = vec![SanType::URI(NODE.try_into().unwrap())];
    Files {
        client: write("client.pem", &client.signed_by(&client_key, &authority).unwrap().pem()),
        client_key: write("client.key", &client_key.serialize_pem()),
        ca: write("ca.pem", &authority.pem()),
    }
}
