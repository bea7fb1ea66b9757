//! Requests through a VM: what Envoy's connection manager and router would do around the filter.

use super::error::HostError;
use super::guest::end_stream;
use super::headers::Headers;
use super::state::Deferred;
use super::stream::{
    Access, Life, LocalReply, Outcome, Phase, Request, ResponsePhase, Stream, StreamState,
};
use super::vm::{Role, Vm, abi_size};

impl Vm {
    /// Sends a request. Repeated headers that Envoy keeps once are joined, as it would.
    pub fn request(
        &mut self,
        headers: &[(&[u8], &[u8])],
        end_of_stream: bool,
    ) -> Result<Stream, HostError> {
        let mut request = Request::new(Headers::merged(headers));
        request.has_body = !end_of_stream;
        self.send(request)
    }

    /// Sends a request and runs its headers callback.
    pub fn send(&mut self, request: Request) -> Result<Stream, HostError> {
        if self.state().role == Role::MainThread {
            return Err(HostError::Misuse("the main thread serves no requests"));
        }
        let first = self.state().roots.first().map(|root| root.id);
        let root = request.root.or(first);
        let root = root.ok_or(HostError::Misuse("the VM has not started"))?;
        let (count, end) = (abi_size(request.headers.len()), !request.has_body);
        let id = self.state_mut().allocate_context();
        let stream = StreamState::new(root, request);
        self.state_mut().streams.insert(id, stream);
        self.enter::<_, ()>("proxy_on_context_create", id, (id, root))?;
        let parameters = (id, count, u32::from(end));
        let action = self.enter::<_, u32>("proxy_on_request_headers", id, parameters)?;
        self.settle()?;
        let stream = self.stream_mut(Stream(id))?;
        if stream.phase == Phase::HeadersHeld && action.is_none_or(|action| action == CONTINUE) {
            stream.forward();
        }
        Ok(Stream(id))
    }

    /// Sends a request, lets it end, and returns what became of it.
    pub fn decide(&mut self, request: Request) -> Result<Outcome, HostError> {
        let stream = self.send(request)?;
        let outcome = self.outcome(stream)?;
        self.finish(stream)?;
        Ok(outcome)
    }

    /// Sends a part of the request's body and says where the request stands.
    pub fn request_body(
        &mut self,
        stream: Stream,
        part: &[u8],
        end_of_stream: bool,
    ) -> Result<Outcome, HostError> {
        let size = self.live(stream)?.body.len().saturating_add(part.len());
        self.request_body_of(stream, part, size, end_of_stream)
    }

    /// The same by a host that says another size than there is.
    pub fn request_body_of(
        &mut self,
        stream: Stream,
        part: &[u8],
        said: usize,
        end_of_stream: bool,
    ) -> Result<Outcome, HostError> {
        let allowed = self.state().process.headers_stop();
        let record = self.live(stream)?;
        match record.phase {
            Phase::HeadersHeld if !allowed => {
                return Err(HostError::Misuse(
                    "a request paused at its headers gets no body callback, \
                     unless allow_on_headers_stop_iteration is set",
                ));
            }
            Phase::HeadersHeld | Phase::BodyHeld | Phase::Forwarded => {}
            Phase::Replied(_) | Phase::Reset => {
                return Err(HostError::Misuse("the request is over"));
            }
        }
        record.body.extend_from_slice(part);
        let parameters = (stream.0, abi_size(said), u32::from(end_of_stream));
        let action = self.enter::<_, u32>("proxy_on_request_body", stream.0, parameters)?;
        self.settle()?;
        let record = self.stream_mut(stream)?;
        let goes_on = action.is_none_or(|action| action == CONTINUE);
        match record.phase {
            Phase::HeadersHeld | Phase::BodyHeld if goes_on => record.forward(),
            Phase::Forwarded if goes_on => record.forward(),
            Phase::Forwarded if !record.body.is_empty() => record.phase = Phase::BodyHeld,
            Phase::HeadersHeld
            | Phase::BodyHeld
            | Phase::Forwarded
            | Phase::Replied(_)
            | Phase::Reset => {}
        }
        Ok(record.outcome())
    }

    /// Sends the upstream's response headers through the filter. [`Outcome::Continued`] has them
    /// as the client gets them.
    pub fn response<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        stream: Stream,
        headers: &[(N, V)],
        end_of_stream: bool,
    ) -> Result<Outcome, HostError> {
        let record = self.live(stream)?;
        if record.forwarded.is_none() || record.response_phase != ResponsePhase::Awaited {
            return Err(HostError::Misuse("the upstream has nothing to answer"));
        }
        record.response = Headers::merged(headers);
        let action = self.response_callback(stream, end_of_stream)?;
        self.settle()?;
        let record = self.stream_mut(stream)?;
        match record.phase {
            Phase::Replied(_) | Phase::Reset => return Ok(record.outcome()),
            Phase::HeadersHeld | Phase::BodyHeld | Phase::Forwarded => {}
        }
        if action == CONTINUE {
            record.response_phase = ResponsePhase::Sent;
            record.response_access = Access::Closed;
            Ok(Outcome::Continued(record.response.clone()))
        } else {
            record.response_phase = ResponsePhase::Held;
            Ok(Outcome::Paused)
        }
    }

    /// Where a request stands; also after it has ended.
    pub fn outcome(&self, stream: Stream) -> Result<Outcome, HostError> {
        Ok(self.record(stream)?.outcome())
    }

    /// The headers that the upstream was sent; `None` while it has seen nothing. A request whose
    /// body is held can be [`Outcome::Paused`] and have sent its headers.
    pub fn forwarded(&self, stream: Stream) -> Option<&Headers> {
        self.record(stream).ok()?.forwarded.as_ref()
    }

    /// The part of the body that the upstream was sent.
    pub fn forwarded_body(&self, stream: Stream) -> &[u8] {
        self.record(stream).map_or(&[], |record| record.forwarded_body.as_slice())
    }

    /// The response headers that the client was sent, of an upstream's response.
    pub fn response_headers(&self, stream: Stream) -> Option<&Headers> {
        let record = self.record(stream).ok()?;
        (record.response_phase == ResponsePhase::Sent).then_some(&record.response)
    }

    /// What the guest has set by `proxy_set_property`: in Envoy, filter state `wasm.<name>`.
    pub fn filter_state(&self, stream: Stream, name: &str) -> Option<&[u8]> {
        let record = self.record(stream).ok()?;
        record.filter_state.get(name.as_bytes()).map(Vec::as_slice)
    }

    /// Ends a request: `proxy_on_log`, `proxy_on_done`, `proxy_on_delete`. Does nothing for one
    /// that has ended, as those that the guest answered or cut have.
    pub fn finish(&mut self, stream: Stream) -> Result<(), HostError> {
        self.record(stream)?;
        self.run("proxy_on_log, done, delete", |store| end_stream(store, stream.0))?;
        self.settle()
    }

    /// Cuts a request: the client leaves before it is over.
    pub fn abandon(&mut self, stream: Stream) -> Result<(), HostError> {
        self.live(stream)?.phase = Phase::Reset;
        self.finish(stream)
    }

    /// Does what the guest has asked for during its last callback, until nothing is left.
    pub(super) fn settle(&mut self) -> Result<(), HostError> {
        while !self.state().deferred.is_empty() {
            for deferred in std::mem::take(&mut self.state_mut().deferred) {
                match deferred {
                    Deferred::ContinueRequest(id) => {
                        if let Ok(stream) = self.live(Stream(id)) {
                            match stream.phase {
                                Phase::HeadersHeld | Phase::BodyHeld => stream.forward(),
                                Phase::Forwarded | Phase::Replied(_) | Phase::Reset => {}
                            }
                        }
                    }
                    Deferred::ContinueResponse(id) => {
                        if let Ok(stream) = self.live(Stream(id))
                            && stream.response_phase == ResponsePhase::Held
                        {
                            stream.response_phase = ResponsePhase::Sent;
                            stream.response_access = Access::Closed;
                        }
                    }
                    Deferred::Close(id) => {
                        if self.live(Stream(id)).is_ok() {
                            self.abandon(Stream(id))?;
                        }
                    }
                    Deferred::Reply(id, reply) => self.reply(Stream(id), reply)?,
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, stream: Stream, mut reply: LocalReply) -> Result<(), HostError> {
        let Ok(record) = self.live(stream) else {
            return Ok(());
        };
        if matches!(record.phase, Phase::Replied(_) | Phase::Reset) {
            return Ok(());
        }
        // A response that has begun cannot be taken back: Envoy resets the stream.
        if record.response_phase == ResponsePhase::Sent {
            return self.abandon(stream);
        }
        record.response = reply_headers(&reply);
        record.phase = Phase::Replied(reply.clone());
        self.response_callback(stream, reply.body.is_empty())?;
        let record = self.stream_mut(stream)?;
        reply.headers = record.response.clone();
        if matches!(record.phase, Phase::Replied(_)) {
            record.phase = Phase::Replied(reply);
        }
        self.finish(stream)
    }

    fn response_callback(&mut self, stream: Stream, end_of_stream: bool) -> Result<u32, HostError> {
        let record = self.stream_mut(stream)?;
        record.response_access = Access::Open;
        let count = abi_size(record.response.len());
        let parameters = (stream.0, count, u32::from(end_of_stream));
        let action = self.enter::<_, u32>("proxy_on_response_headers", stream.0, parameters)?;
        Ok(action.unwrap_or(CONTINUE))
    }

    fn record(&self, stream: Stream) -> Result<&StreamState, HostError> {
        self.state().streams.get(&stream.0).ok_or(NO_STREAM)
    }

    fn stream_mut(&mut self, stream: Stream) -> Result<&mut StreamState, HostError> {
        self.state_mut().streams.get_mut(&stream.0).ok_or(NO_STREAM)
    }

    fn live(&mut self, stream: Stream) -> Result<&mut StreamState, HostError> {
        let record = self.stream_mut(stream)?;
        match record.life {
            Life::Running => Ok(record),
            Life::Ending | Life::Ended => Err(HostError::Misuse("the request has ended")),
        }
    }
}

/// The headers of a local reply as Envoy makes them, before the filter's response callback.
fn reply_headers(reply: &LocalReply) -> Headers {
    let mut headers = Headers::new();
    headers.add(b":status", reply.status.to_string().as_bytes());
    for (name, value) in reply.headers.iter() {
        headers.add(name, value);
    }
    if reply.body.is_empty() {
        headers.remove(b"content-length");
        headers.remove(b"content-type");
        return headers;
    }
    let length = reply.body.len().to_string();
    headers.replace(b"content-length", length.as_bytes());
    if headers.first("content-type").is_none() {
        headers.add(b"content-type", b"text/plain");
    }
    headers
}

/// The action of the ABI; any other number pauses.
const CONTINUE: u32 = 0;

const NO_STREAM: HostError = HostError::Misuse("no such request in this VM");
