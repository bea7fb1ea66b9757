//! How far a request has come, and its next step: decided on what there is of it, as often as something changes.
//!
//! A request waits for at most one thing at a time: the gate's own state ([`crate::held`]), its body
//! ([`crate::uploads`]) or the control plane's word ([`crate::questions`]). Whatever ends the wait decides it
//! once more, from the start and on the newest state.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use gatepass_engine::body::{Body, Unfinished};
use gatepass_engine::clock::{Milliseconds, Now};
use gatepass_engine::listing::Listing;
use gatepass_engine::redeem::{Confirmation, Redemption};

use crate::decision_id::DecisionId;
use crate::held::{HeldRequest, MAX_HELD_BODY};
use crate::host::{self, Buffer, Failed, Map};
use crate::pairs;
use crate::shell::{Shell, Verdict};

/// Where a request is. The body of one that is not allowed never goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Undecided,
    /// Waits for the gate's state.
    Held,
    /// Waits for its body.
    Reading,
    /// Waits for the control plane to confirm a use or a record.
    Waiting,
    Allowed,
    Denied,
}

/// What has come of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// The request ended with its headers.
    NoBody,
    /// So many bytes, which Envoy keeps, and it goes on.
    Some(usize),
    Whole(usize),
    /// Trailers followed it.
    Trailers,
}

/// One request's, shared by all that it waits with.
pub(crate) struct Progress {
    pub(crate) context: u32,
    stage: Cell<Stage>,
    came: Cell<Came>,
    /// How its answer is cut, until that has begun.
    listing: RefCell<Option<Listing>>,
}

/// What the control plane was asked about a request, and under which id.
pub(crate) struct Asked {
    pub(crate) id: DecisionId,
    pub(crate) redemption: Box<Redemption>,
}

/// What is known of the body when a request is decided.
pub(crate) enum Known {
    None,
    ToCome,
    Whole(Vec<u8>),
    Unfinished(Unfinished),
}

impl Known {
    pub(crate) fn as_body(&self) -> Body<'_> {
        match self {
            Self::None => Body::None,
            Self::ToCome => Body::ToCome,
            Self::Whole(bytes) => Body::Whole(bytes),
            Self::Unfinished(why) => Body::Unfinished(*why),
        }
    }
}

impl Progress {
    pub(crate) fn new(context: u32) -> Rc<Self> {
        let (stage, came) = (Cell::new(Stage::Undecided), Cell::new(Came::Some(0)));
        Rc::new(Self { context, stage, came, listing: RefCell::default() })
    }

    pub(crate) fn take_listing(&self) -> Option<Listing> {
        self.listing.try_borrow_mut().ok().and_then(|mut listing| listing.take())
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Nothing was said to the caller or the upstream yet.
    pub(crate) fn waits(&self) -> bool {
        match self.stage() {
            Stage::Undecided | Stage::Held | Stage::Reading | Stage::Waiting => true,
            Stage::Allowed | Stage::Denied => false,
        }
    }

    pub(crate) fn set(&self, stage: Stage) {
        self.stage.set(stage);
    }

    pub(crate) fn came(&self) -> Came {
        self.came.get()
    }

    pub(crate) fn note(&self, came: Came) {
        self.came.set(came);
    }

    /// The body, as far as a decision can ask for it: whichever policy is read just before it. What is whole
    /// was waited for, and so is bounded. What Envoy says and what it hands over must be one.
    fn known(&self) -> Known {
        match self.came() {
            Came::NoBody => Known::None,
            Came::Some(_) => Known::ToCome,
            Came::Trailers => Known::Unfinished(Unfinished::Trailers),
            // One more than there is, which would go on unseen.
            Came::Whole(size) => match host::buffer(Buffer::RequestBody, size.saturating_add(1)) {
                Ok(bytes) if bytes.len() == size => Known::Whole(bytes),
                // An empty buffer is none to some hosts.
                Err(Failed) if size == 0 => Known::Whole(Vec::new()),
                Ok(_) | Err(Failed) => Known::Unfinished(Unfinished::Broken),
            },
        }
    }

    /// Decides the request, whose context is the effective one, and carries out what was decided. `why` is
    /// what keeps its body from being read; `deadline` is when it has been held long enough, where it was held
    /// before.
    ///
    /// # Errors
    /// Nothing was carried out: the caller answers it.
    pub(crate) fn decide(
        self: &Rc<Self>,
        shell: &mut Shell,
        why: Option<Unfinished>,
        deadline: Option<Milliseconds>,
        now: Now,
    ) -> Result<(), Failed> {
        let bytes = host::map(Map::Request)?;
        let headers = pairs::read(&bytes).map_err(|_| Failed)?;
        let known = why.map_or_else(|| self.known(), Known::Unfinished);
        let stage = match shell.decide(now, &headers, known.as_body())? {
            Verdict::Allowed(open, listing) => {
                shell.watch(self.context, open, bytes, known);
                *self.listing.borrow_mut() = listing;
                Stage::Allowed
            }
            Verdict::Denied => Stage::Denied,
            Verdict::Asks(redemption, id) => shell.ask(now, &headers, self, redemption, id)?,
            Verdict::Awaited(awaited) => {
                match shell.uploads.begin(self, &awaited, now) {
                    Ok(()) => Stage::Reading,
                    Err(why) => match shell.decide(now, &headers, Body::Unfinished(why))? {
                        // Whoever is let on without a body is in shadow mode, where nothing is hidden.
                        Verdict::Allowed(open, _) => {
                            shell.watch(self.context, open, bytes, Known::Unfinished(why));
                            Stage::Allowed
                        }
                        Verdict::Denied => Stage::Denied,
                        Verdict::Holdable(denial) => {
                            shell.refuse_held(now, &denial, &headers).map(|()| Stage::Denied)?
                        }
                        // Never: it has said why there is none.
                        Verdict::Awaited(_) | Verdict::Asks(..) => return Err(Failed),
                    },
                }
            }
            Verdict::Holdable(denial) => {
                let hold = shell.configuration.hold.0;
                let deadline = deadline.unwrap_or(now.monotonic.plus(hold));
                let request = HeldRequest { deadline, progress: Rc::clone(self) };
                let is_first = self.stage() != Stage::Held;
                // What Envoy keeps of it meanwhile is in no other account.
                let is_short = !matches!(self.came(), Came::Whole(size) if size > MAX_HELD_BODY);
                if now.monotonic < deadline && is_short && shell.held.push(request) {
                    if is_first {
                        shell.count_held();
                    }
                    Stage::Held
                } else {
                    shell.refuse_held(now, &denial, &headers).map(|()| Stage::Denied)?
                }
            }
        };
        self.set(stage);
        Ok(())
    }

    /// Decides the request, whose context is the effective one, with what the control plane has confirmed.
    ///
    /// # Errors
    /// As [`Progress::decide`].
    pub(crate) fn decide_confirmed(
        &self,
        shell: &mut Shell,
        question: Asked,
        confirmation: Confirmation,
        now: Now,
    ) -> Result<(), Failed> {
        let bytes = host::map(Map::Request)?;
        let headers = pairs::read(&bytes).map_err(|_| Failed)?;
        let known = self.known();
        let Asked { id, redemption } = question;
        let body = known.as_body();
        let stage = match shell.decide_confirmed(now, &headers, body, confirmation, id)? {
            Verdict::Allowed(open, listing) => {
                shell.watch(self.context, open, bytes, known);
                *self.listing.borrow_mut() = listing;
                Stage::Allowed
            }
            Verdict::Denied => Stage::Denied,
            // It is spent or stored already, so it is not held for what would let it on later.
            Verdict::Holdable(denial) => {
                shell.refuse(&denial, &headers, id.as_str()).map(|()| Stage::Denied)?
            }
            Verdict::Awaited(_) | Verdict::Asks(..) => {
                let denial = redemption.unconfirmed("it was confirmed, and more is asked for");
                shell.refuse(&denial, &headers, id.as_str()).map(|()| Stage::Denied)?
            }
        };
        self.set(stage);
        Ok(())
    }
}
