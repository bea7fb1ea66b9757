//! The body of a request as its action reads it, and the call that it is.

use super::{Judge, Stop, Wanted, ambiguous, no_route};
use crate::body::{self, Body, Read, Unfinished};
use crate::bundle::{Action, Protocol};
use crate::denial::{Code, Denial};
use crate::digest::BodyDigest;
use crate::inputs::Unclear;
use crate::listing::Listed;
use crate::routes::MatchedCalls;
use crate::rpc::Message;
use crate::trace::{Check, Trace};

/// What the body of a call says.
pub(super) struct Called<'a> {
    pub(super) wanted: Wanted<'a>,
    pub(super) digest: BodyDigest,
    pub(super) listed: Option<Listed>,
}

impl<'r, T: Trace> Judge<'r, '_, T> {
    /// Tells who calls whom to ask, where that is known (RFC 9728): the issuer of the environment's keys. Of
    /// what is denied alone.
    pub(super) fn tell_whom_to_ask(&mut self) {
        let Some(call) = &mut self.about.call else { return };
        let Some(audience) = self.audience else { return };
        let Some(key) = self.gate.keyring().keys().first() else { return };
        let issuer = key.issuer.trim_end_matches('/');
        let plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\&#".contains(&b));
        if plain(issuer) && plain(audience) {
            let uri = format!("{issuer}/oauth2/protected-resource?resource={audience}");
            call.metadata = Some(uri);
        }
    }

    /// The whole body as an action reads it.
    pub(super) fn read(&mut self, action: &Action, most: u32) -> Result<Read<'r>, Stop> {
        if self.request.body != Body::None {
            let announced = body::announced(action, most, self.request.headers);
            self.step(Check::Body, announced)?;
        }
        let bytes = match self.request.body {
            Body::ToCome => return Err(Stop::Read(most)),
            Body::None => Ok(&[] as &[u8]),
            Body::Whole(bytes) if usize::try_from(most).is_ok_and(|most| bytes.len() <= most) => {
                Ok(bytes)
            }
            Body::Whole(_) => Err(unfinished(Unfinished::TooLong)),
            Body::Unfinished(why) => Err(unfinished(why)),
        };
        let read = bytes.and_then(|bytes| Read::of(action.body, bytes));
        Ok(self.step(Check::Body, read)?)
    }

    /// The same where the body says which action it is: then all of them read JSON.
    pub(super) fn read_call(&mut self, calls: &MatchedCalls<'_>) -> Result<Read<'r>, Stop> {
        let most = calls.max_body();
        let any = calls.any().ok_or_else(no_route)?;
        self.read(any, most)
    }

    /// The route of the call that a body is, and the digest of the call.
    pub(super) fn called<'w>(
        &mut self,
        calls: &MatchedCalls<'w>,
        read: &Read<'r>,
        pinned: bool,
    ) -> Result<Called<'w>, Denial> {
        // INVARIANT: `check_call` lets only `body: json` have calls.
        let Read::Json(document) = read else { return Err(no_route()) };
        let message = self.step(Check::Call, Message::read(document, calls.protocol()))?;
        if let Some(call) = &mut self.about.call {
            call.id = message.id.map(str::to_owned);
        }
        self.about.noted.called(calls.protocol(), &message.method, message.name.as_deref());
        self.step(Check::Call, calls.agrees(&message, self.request.headers))?;
        let found = calls.find(&message.method, message.name.as_deref());
        let found = self.step(Check::Call, found)?;
        let wanted = found.and_then(|found| self.wanted(found));
        let wanted = wanted.ok_or_else(|| {
            Denial::new(Code::NoRoute, format!("no route for a call of `{}`", message.method))
        });
        let wanted = self.step(Check::RouteExists, wanted)?;
        // As much as any of the routes reads was read.
        let fits = document.len() <= usize::try_from(wanted.found.route.max_body).unwrap_or(0);
        let fits = if fits { Ok(()) } else { Err(unfinished(Unfinished::TooLong)) };
        self.step(Check::Body, fits)?;
        let listed = match calls.protocol() {
            Protocol::Mcp => {
                self.strip_replay = true;
                Listed::by(&message.method)
            }
            Protocol::JsonRpc => None,
        };
        let digest = if pinned { message.digest() } else { BodyDigest::Empty };
        Ok(Called { wanted, digest, listed })
    }
}

fn unfinished(why: Unfinished) -> Denial {
    match why {
        Unfinished::TooLong => Denial::new(Code::BodyTooLarge, "more than the route reads"),
        Unfinished::TooSlow => Denial::new(Code::BodyTooSlow, "the body was not there in time"),
        Unfinished::NoRoom => Denial::new(Code::GateBusy, "no room is left for bodies"),
        Unfinished::Trailers => Denial::new(Code::BodyNotAllowed, "trailers follow the body"),
        Unfinished::Broken => Denial::new(Code::BodyMalformed, "the host lost some of the body"),
    }
}

pub(super) fn unclear(why: Unclear) -> Denial {
    match why {
        Unclear::Line(why) => ambiguous(why),
        Unclear::Body(what) => Denial::new(Code::BodyMalformed, what),
    }
}
