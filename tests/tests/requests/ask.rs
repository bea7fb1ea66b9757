//! One request, said in either version of HTTP.

use gatepass_tests::kit::http2::{Field, Request};
use gatepass_tests::kit::orders::HOST;

/// A request as a test means it; nothing is checked or tidied up on its way to the wire.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: Vec<u8>,
    pub(crate) authority: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) headers: Vec<Field>,
    /// Content-Length over HTTP/1.1, one DATA frame over HTTP/2.
    pub(crate) body: Option<Vec<u8>>,
}

/// What goes over the wire.
#[derive(Clone)]
pub(crate) enum Sent {
    Http1(Vec<u8>),
    /// The answer has no body, whatever it says.
    Http1Head(Vec<u8>),
    Http2(Request),
}

impl Ask {
    /// To the guarded host.
    pub(crate) fn new(method: &str, path: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.into(),
            authority: HOST.into(),
            path: path.as_ref().to_vec(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(path: impl AsRef<[u8]>) -> Self {
        Self::new("GET", path)
    }

    pub(crate) fn at(mut self, authority: impl AsRef<[u8]>) -> Self {
        self.authority = authority.as_ref().to_vec();
        self
    }

    pub(crate) fn with(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(crate) fn bearing(self, gatepass: &str) -> Self {
        self.with("authorization", format!("Bearer {gatepass}"))
    }

    pub(crate) fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// Over HTTP/1.1 and over HTTP/2.
    pub(crate) fn both(&self) -> [Sent; 2] {
        [self.http1(), Sent::Http2(self.http2())]
    }

    pub(crate) fn http1(&self) -> Sent {
        let bytes = self.http1_bytes();
        if self.method == b"HEAD" { Sent::Http1Head(bytes) } else { Sent::Http1(bytes) }
    }

    pub(crate) fn http1_bytes(&self) -> Vec<u8> {
        let mut out = [&*self.method, b" ", &*self.path, b" HTTP/1.1\r\nhost: "].concat();
        out.extend(&self.authority);
        out.extend(b"\r\n");
        for (name, value) in &self.headers {
            out.extend([&**name, b": ", &**value, b"\r\n"].concat());
        }
        if let Some(body) = &self.body {
            out.extend(format!("content-length: {}\r\n", body.len()).bytes());
        }
        out.extend(b"\r\n");
        out.extend(self.body.iter().flatten());
        out
    }

    /// Header names in lower case, because HTTP/2 knows no others.
    pub(crate) fn http2(&self) -> Request {
        let headers: Vec<(Vec<u8>, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.as_slice()))
            .collect();
        let headers: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_slice(), *value)).collect();
        let mut request = Request::new(&self.method, &self.authority, &self.path, &headers);
        request.data.extend(self.body.clone());
        request
    }
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        Self::Http2(request)
    }
}

/// The raw bytes of an HTTP/1.1 request.
impl From<Vec<u8>> for Sent {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Http1(bytes)
    }
}
