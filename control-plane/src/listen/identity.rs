//! Who a verified client certificate names: a SPIFFE ID, or else a DNS name.
//!
//! The chain, the dates and the use of the certificate were checked in the handshake; this reads
//! a name and checks its form. A certificate that names nobody, or more than one workload, is
//! refused: the common name of the subject is not looked at (RFC 6125 section 2.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// From a client certificate that was verified; only a listener makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    name: PeerName,
    thumbprint: String,
}

/// How a certificate names its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// `spiffe://<trust domain>/<path>`.
    Spiffe(String),
    /// The first DNS name of the certificate.
    Dns(String),
}

impl PeerIdentity {
    /// # Errors
    /// What the certificate lacks, as the end of a sentence about it.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|_| "does not parse")?;
        let name = PeerName::among(parsed.valid_uri_names(), parsed.valid_dns_names())?;
        Ok(Self { name, thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(certificate)) })
    }

    #[must_use]
    pub const fn name(&self) -> &PeerName {
        &self.name
    }

    /// `x5t#S256` of RFC 8705: base64url of the SHA-256 of the certificate.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }
}

impl PeerName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Spiffe(name) | Self::Dns(name) => name,
        }
    }

    fn among<'a>(
        mut uris: impl Iterator<Item = &'a str>,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, &'static str> {
        match (uris.next(), uris.next()) {
            // The X.509 SVID specification, section 2: exactly one URI.
            (Some(_), Some(_)) => Err("has more than one URI, so which one it is stays open"),
            (Some(uri), None) if is_workload(uri) => Ok(Self::Spiffe(uri.to_owned())),
            (Some(_), None) => Err("has a URI that is not the SPIFFE ID of a workload"),
            (None, _) => match names.next() {
                Some(name) if name.starts_with('*') => Err("names all of a domain, not one of it"),
                Some(name) => Ok(Self::Dns(name.to_ascii_lowercase())),
                None => Err("has neither a SPIFFE ID nor a DNS name"),
            },
        }
    }
}

/// The SPIFFE ID specification, section 2, with a path: without one it is a trust domain.
fn is_workload(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|id| id.split_once('/'))
    else {
        return false;
    };
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let any = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    uri.len() <= MAX_ID_BYTES
        && !domain.is_empty()
        && domain.bytes().all(lower)
        && path
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(any))
}

/// The SPIFFE ID specification, section 2.3.
const MAX_ID_BYTES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uris: &[&str], names: &[&str], expected: Result<&str, &str>) {
        let named = PeerName::among(uris.iter().copied(), names.iter().copied());
        match (&named, expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name.as_str(), expected),
            (Err(what), Err(expected)) => assert!(what.contains(expected), "{what}"),
            _ => panic!("{uris:?} {names:?}: {named:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn a_certificate_names_one_workload() {
        check(&["spiffe://corp/ns/shop/sa/buyer"], &[], Ok("spiffe://corp/ns/shop/sa/buyer"));
        check(&["spiffe://corp/a"], &["gate.corp"], Ok("spiffe://corp/a"));
        check(&["spiffe://corp/a", "spiffe://corp/b"], &[], Err("more than one URI"));
        check(&["spiffe://corp/a", "https://corp/b"], &[], Err("more than one URI"));
        check(&[], &["Gate-1.corp", "other.corp"], Ok("gate-1.corp"));
        check(&[], &["*.corp"], Err("all of a domain"));
        check(&[], &[], Err("neither"));
    }

    #[test]
    fn a_uri_that_is_no_workload_is_not_passed_over_for_a_dns_name() {
        for uri in [
            "https://corp/a",
            "spiffe://corp",
            "spiffe://corp/",
            "spiffe:///a",
            "spiffe://Corp/a",
            "SPIFFE://corp/a",
            "spiffe://corp/a/",
            "spiffe://corp//a",
            "spiffe://corp/./a",
            "spiffe://corp/../a",
            "spiffe://corp/a%2fb",
            "spiffe://corp/a?b",
            "spiffe://corp:80/a",
            "spiffe://me@corp/a",
            "",
        ] {
            check(&[uri], &["gate.corp"], Err("not the SPIFFE ID"));
        }
        let long = |bytes: usize| format!("spiffe://corp/{}", "a".repeat(bytes - 14));
        check(&[&long(MAX_ID_BYTES + 1)], &[], Err("not the SPIFFE ID"));
        check(&[&long(MAX_ID_BYTES)], &[], Ok(&long(MAX_ID_BYTES)));
    }
}
