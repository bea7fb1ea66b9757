//! One HTTP request as the host sees it.

use std::collections::BTreeMap;

use super::headers::Headers;

/// The handle of a request, to go on with it. It is the guest's context id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub(super) u32);

impl Stream {
    /// The context id that the guest knows this request by.
    pub fn context_id(self) -> u32 {
        self.0
    }
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It went on to the upstream, with these headers.
    Continued(Headers),
    /// The guest holds it.
    Paused,
    /// The guest answered it.
    Replied(LocalReply),
    /// It was cut: by the guest, or because the client left.
    Reset,
}

/// A response that the guest made itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    pub status: u32,
    /// Becomes `%RESPONSE_CODE_DETAILS%`.
    pub details: String,
    /// As the client gets them: after the guest's own response callback, which sees local
    /// replies too, and with what Envoy adds (`:status`, `content-length`, `content-type`).
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Present where the guest asked for a gRPC status.
    pub grpc_status: Option<i32>,
}

/// A request to be sent, where [`super::Vm::request`] does not say enough.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub(super) headers: Headers,
    pub(super) has_body: bool,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) root: Option<u32>,
}

impl Request {
    /// A request without a body, with just these headers.
    pub fn new(headers: Headers) -> Self {
        Self { headers, ..Self::default() }
    }

    /// `method` for `https://authority/path`, without a body.
    pub fn to(method: &str, authority: &str, path: &str) -> Self {
        Self::new(Headers::merged(&[
            (":method", method),
            (":scheme", "https"),
            (":authority", authority),
            (":path", path),
        ]))
    }

    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.add(name.as_ref(), value.as_ref());
        self
    }

    /// The headers callback is told that a body follows, by [`super::Vm::request_body`].
    #[must_use]
    pub fn with_body(mut self) -> Self {
        self.has_body = true;
        self
    }

    /// What `proxy_get_property` answers for this path, for example
    /// `["connection", "uri_san_peer_certificate"]`. All other properties are not found.
    #[must_use]
    pub fn property(mut self, path: &[&str], value: impl AsRef<[u8]>) -> Self {
        let path = path.join("\0").into_bytes();
        self.properties.insert(path, value.as_ref().to_vec());
        self
    }

    /// The plugin configuration that serves this request; the first one otherwise.
    #[must_use]
    pub fn root(mut self, context_id: u32) -> Self {
        self.root = Some(context_id);
        self
    }
}

/// The host's record of a request; it stays after the request has ended, for the test to read.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) root: u32,
    pub(super) phase: Phase,
    pub(super) life: Life,
    pub(super) request: Headers,
    pub(super) request_access: Access,
    /// What the upstream was sent.
    pub(super) forwarded: Option<Headers>,
    pub(super) forwarded_body: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) response: Headers,
    pub(super) response_access: Access,
    pub(super) response_phase: ResponsePhase,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The headers callback has paused, or has not returned yet: the upstream has seen nothing.
    HeadersHeld,
    /// The headers went on; the body is held.
    BodyHeld,
    Forwarded,
    Replied(LocalReply),
    Reset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponsePhase {
    Awaited,
    Held,
    Sent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    /// `proxy_on_log` and what follows it are under way.
    Ending,
    Ended,
}

/// What the guest may do with a header map now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To the guest the map is not there.
    Closed,
    /// In `proxy_on_log`.
    ReadOnly,
    Open,
}

impl StreamState {
    pub(super) fn new(root: u32, request: Request) -> Self {
        Self {
            root,
            phase: Phase::HeadersHeld,
            life: Life::Running,
            request: request.headers,
            request_access: Access::Open,
            forwarded: None,
            forwarded_body: Vec::new(),
            body: Vec::new(),
            response: Headers::new(),
            response_access: Access::Closed,
            response_phase: ResponsePhase::Awaited,
            properties: request.properties,
            filter_state: BTreeMap::new(),
        }
    }

    pub(super) fn ended(&self) -> bool {
        self.life == Life::Ended
    }

    pub(super) fn outcome(&self) -> Outcome {
        match &self.phase {
            Phase::HeadersHeld | Phase::BodyHeld => Outcome::Paused,
            Phase::Forwarded => Outcome::Continued(self.forwarded.clone().unwrap_or_default()),
            Phase::Replied(reply) => Outcome::Replied(reply.clone()),
            Phase::Reset => Outcome::Reset,
        }
    }

    /// Sends the headers and whatever body is held to the upstream. From here on the guest can
    /// change neither.
    pub(super) fn forward(&mut self) {
        if self.forwarded.is_none() {
            self.forwarded = Some(self.request.clone());
        }
        self.forwarded_body.append(&mut self.body);
        self.request_access = Access::Closed;
        self.phase = Phase::Forwarded;
    }
}
