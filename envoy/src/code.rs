//! Where Envoy has the filter's module from: a file, or a URL with the digest that it must have.
//!
//! A URL without a digest is not offered: who serves it could then replace the gate.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::bootstrap::{RenderError, cluster_values, utf8};
use crate::fields::{self, FieldError};

/// The cluster that Envoy fetches the module from, when it fetches it.
pub const CODE_CLUSTER: &str = "gatepass_filter_code";

/// Where the filter's module is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A file, as Envoy reads it.
    Local(PathBuf),
    /// Fetched over HTTP; not run unless its digest is this one.
    Remote {
        /// `http://` or `https://`, host, port and path.
        url: String,
        /// SHA-256 of the module, 64 lower-case hexadecimal digits.
        sha256: String,
    },
}

/// The parts of a URL that an Envoy cluster is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: String,
    /// `host:port`, the port always there.
    pub(crate) address: String,
}

impl Code {
    /// Refuses what would not be fetched, or could be written into YAML as something else.
    pub fn check(&self) -> Result<(), FieldError> {
        match self {
            Self::Local(path) => fields::path("wasm", &path.to_string_lossy()),
            Self::Remote { url, sha256 } => {
                origin("wasm_url", url)?;
                fields::sha256("wasm_sha256", sha256)
            }
        }
    }

    pub(crate) fn values(&self) -> Result<Map<String, Value>, RenderError> {
        let (local, url, sha256) = match self {
            Self::Local(path) => (Some(utf8(path)?), None, None),
            Self::Remote { url, sha256 } => (None, Some(url), Some(sha256)),
        };
        let values = json!({
            "local": local.is_some(),
            "remote": url.is_some(),
            "wasm": local,
            "wasm_url": url,
            "wasm_cluster": CODE_CLUSTER,
            "wasm_sha256": sha256,
        });
        Ok(values.as_object().cloned().unwrap_or_default())
    }

    /// The values of the cluster that a remote module is fetched from.
    pub(crate) fn cluster(&self, ca: &str) -> Result<Option<Value>, RenderError> {
        let Self::Remote { url, .. } = self else { return Ok(None) };
        let origin = origin("wasm_url", url)?;
        let mut values = cluster_values(CODE_CLUSTER, &origin.address)?;
        if let Some(values) = values.as_object_mut() {
            values.insert("tls".to_owned(), json!(origin.tls));
            values.insert("sni".to_owned(), json!(origin.host));
            values.insert("ca".to_owned(), json!(ca));
        }
        Ok(Some(values))
    }
}

/// Takes an `http` or `https` URL apart; RFC 3986 without user info and fragment.
pub(crate) fn origin(field: &'static str, url: &str) -> Result<Origin, FieldError> {
    let wrong = || FieldError::new(field, url, "http:// or https://, a host, a port and a path");
    let (tls, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        _ => return Err(wrong()),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let safe = |c: char| c.is_ascii_alphanumeric() || "-._~/:[]%?=&+".contains(c);
    if url.len() > MAX_URL || !rest.chars().all(safe) {
        return Err(wrong());
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, if tls { 443_u16 } else { 80 }),
    };
    let address = format!("{host}:{port}");
    fields::address(field, &address)?;
    Ok(Origin { tls, host: host.to_owned(), address })
}

const MAX_URL: usize = 1024;

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn a_url_gives_its_cluster() {
        for (url, expected) in [
            ("http://127.0.0.1:8000/filter.wasm", Some((false, "127.0.0.1:8000"))),
            ("https://get.example/v1/filter.wasm", Some((true, "get.example:443"))),
            ("http://get.example", Some((false, "get.example:80"))),
            ("http://[::1]:80/f", Some((false, "[::1]:80"))),
            ("oci://get.example/f", None),
            ("http://", None),
            ("http://user@get.example/f", None),
            ("http://get.example:0/f", None),
            ("http://get.example/f\nx: 1", None),
            ("http://get.example/\"", None),
        ] {
            let found = origin("wasm_url", url).ok().map(|found| (found.tls, found.address));
            assert_eq!(found, expected.map(|(tls, at)| (tls, at.to_owned())), "{url}");
        }
    }
}
