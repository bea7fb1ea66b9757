//! A decision as it is written: what it has in common with others of its batch, the first of them says, and the
//! others name that one by its place in the batch.
//!
//! Most of a record is whose gatepass it was and where it was used, and both recur: written once, a record is a
//! third as long, to hash, to post and to keep. Names lead to an entry that says the thing itself, never on to a
//! third, so that one look-up reads any record.

use serde::{Deserialize, Serialize};

use super::{
    Bearer, Call, Decision, Entry, LENGTH_BYTES, MAX_ENTRY_BYTES, Outcome, Scratch, Shown,
};
use crate::fold::fold;
use crate::position::Position;

/// A part of a decision that others may have too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said<T> {
    Nothing,
    Here(T),
    /// By the entry of this number in the batch, which comes before.
    By(u32),
}

/// One decision, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief<'a> {
    #[serde(borrow)]
    pub bearer: Said<Bearer<'a>>,
    #[serde(borrow)]
    pub place: Said<Place<'a>>,
    #[serde(borrow)]
    pub peer: Said<Peer<'a>>,
    #[serde(borrow)]
    pub rest: Rest<'a>,
}

/// What was asked for, by the policy; the fields are those of [`Decision`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place<'a> {
    pub policy: Option<Position>,
    pub action: Option<&'a str>,
    pub audience: Option<&'a str>,
    pub method: Option<&'a str>,
    pub host: Option<&'a str>,
    pub route: Option<&'a str>,
}

/// Who made the connection; the fields are those of [`Decision`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer<'a> {
    pub workload: Option<&'a str>,
    pub certificate: Option<&'a str>,
}

/// What is of this decision alone; the fields are those of [`Decision`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest<'a> {
    pub id: [u8; 16],
    pub at: u64,
    pub outcome: Outcome,
    pub code: &'a str,
    pub position: Option<Position>,
    pub age: Option<u64>,
    #[serde(borrow)]
    pub call: Option<Call<'a>>,
    #[serde(borrow)]
    pub inputs: Vec<(&'a str, Shown<'a>)>,
    pub request: Option<&'a str>,
    pub trace: Option<&'a str>,
    #[serde(borrow)]
    pub rules: Vec<&'a str>,
    #[serde(borrow)]
    pub shadow_rules: Vec<&'a str>,
}

/// [`Rest`] without taking the decision apart.
#[derive(Serialize)]
struct RestOf<'d, 'a> {
    id: [u8; 16],
    at: u64,
    outcome: Outcome,
    code: &'a str,
    position: Option<Position>,
    age: Option<u64>,
    call: Option<&'d Call<'a>>,
    inputs: &'d [(&'a str, Shown<'a>)],
    request: Option<&'a str>,
    trace: Option<&'a str>,
    rules: &'d [&'a str],
    shadow_rules: &'d [&'a str],
}

impl<'a> Brief<'a> {
    /// The numbers of the entries that it needs to be whole.
    pub fn needs(&self) -> impl Iterator<Item = u32> {
        let by = |said: Option<u32>| said.into_iter();
        by(self.bearer.by()).chain(by(self.place.by())).chain(by(self.peer.by()))
    }

    /// The decision, with what others say of it. `None` where one of them does not.
    #[must_use]
    pub fn whole(self, entry: impl Fn(u32) -> Option<Entry<'a>>) -> Option<Decision<'a>> {
        let brief = |at| match entry(at)? {
            Entry::Brief(brief) => Some(brief),
            Entry::Decision(_) | Entry::Counted(_) => None,
        };
        let bearer = self.bearer.resolve(|at| brief(at).map(|other| other.bearer))?;
        let place = self.place.resolve(|at| brief(at).map(|other| other.place))?;
        let place = place.unwrap_or(NOWHERE);
        let peer = self.peer.resolve(|at| brief(at).map(|other| other.peer))?;
        let peer = peer.unwrap_or(NOBODY);
        let Rest { id, at, outcome, code, position, age, call, inputs, request, trace, .. } =
            self.rest;
        let Place { policy, action, audience, method, host, route } = place;
        let Peer { workload, certificate } = peer;
        Some(Decision {
            id,
            at,
            outcome,
            code,
            policy,
            position,
            age,
            bearer,
            action,
            audience,
            method,
            host,
            route,
            call,
            inputs,
            workload,
            certificate,
            request,
            trace,
            rules: self.rest.rules,
            shadow_rules: self.rest.shadow_rules,
        })
    }
}

impl<T> Said<T> {
    const fn by(&self) -> Option<u32> {
        match self {
            Self::By(at) => Some(*at),
            Self::Nothing | Self::Here(_) => None,
        }
    }

    fn resolve(self, other: impl Fn(u32) -> Option<Self>) -> Option<Option<T>>
    where
        T: Part,
    {
        match self {
            Self::Nothing => Some(None),
            Self::Here(said) => Some(Some(said)),
            Self::By(at) => match other(at)? {
                Self::Here(said) if said.length() <= MAX_COMMON_BYTES => Some(Some(said)),
                Self::Here(_) | Self::Nothing | Self::By(_) => None,
            },
        }
    }
}

/// A part that others may name. A short batch must not stand for a long one: what is large is said each time.
trait Part {
    /// Bytes of its texts, and one for each actor.
    fn length(&self) -> usize;
}

impl Part for Bearer<'_> {
    fn length(&self) -> usize {
        let through: usize = self.through.iter().map(|actor| actor.len().saturating_add(1)).sum();
        let texts =
            [Some(self.agent), Some(self.owner), self.subject, Some(self.task), Some(self.jti)];
        total(&texts).saturating_add(through)
    }
}

impl Part for Place<'_> {
    fn length(&self) -> usize {
        total(&[self.action, self.audience, self.method, self.host, self.route])
    }
}

impl Part for Peer<'_> {
    fn length(&self) -> usize {
        total(&[self.workload, self.certificate])
    }
}

fn total(texts: &[Option<&str>]) -> usize {
    texts.iter().flatten().map(|text| text.len()).sum()
}

/// Which entry of the batch that is written said what. Its size is fixed: what finds its slot taken is said
/// again.
pub struct Sayings {
    slots: Box<[Slot]>,
    /// Of the batch; slots of another are empty. Zero is none.
    batch: u32,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    batch: u32,
    part: u8,
    /// The entry, and where in the batch the part is written.
    at: u32,
    start: u32,
    length: u16,
}

impl Default for Sayings {
    fn default() -> Self {
        Self { slots: vec![Slot::default(); SLOTS].into_boxed_slice(), batch: 1 }
    }
}

impl Sayings {
    /// Another batch begins.
    pub fn forget(&mut self) {
        self.batch = self.batch.wrapping_add(1);
        if self.batch == 0 {
            *self = Self::default();
        }
    }

    /// Appends a decision, the `at`th entry of the batch that `out` holds, with its length. False, and nothing
    /// is appended, for one that is over [`MAX_ENTRY_BYTES`].
    pub fn append(
        &mut self,
        out: &mut Vec<u8>,
        at: u32,
        decision: &Decision<'_>,
        scratch: &mut Scratch,
    ) -> bool {
        let place = decision.place();
        let peer = decision.peer();
        let start = out.len();
        let mut written =
            Written { bytes: scratch.0.as_mut_slice(), length: 0, new: [None; PARTS] };
        let is_whole = written.put(&BRIEF).is_some()
            && self.put(&mut written, 0, decision.bearer.as_ref(), out).is_some()
            && self.put(&mut written, 1, (place != NOWHERE).then_some(&place), out).is_some()
            && self.put(&mut written, 2, (peer != NOBODY).then_some(&peer), out).is_some()
            && written.put(&decision.rest()).is_some();
        let Written { length, new, .. } = written;
        let Some(bytes) = scratch.0.get(..length).filter(|_| is_whole) else { return false };
        let Ok(length) = u16::try_from(length) else { return false };
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(bytes);
        for (nth, mut slot) in new.into_iter().flatten() {
            let Ok(offset) = u32::try_from(start.saturating_add(LENGTH_BYTES)) else { continue };
            slot.start = slot.start.saturating_add(offset);
            if let Some(place) = self.slots.get_mut(nth) {
                *place = Slot { batch: self.batch, at, ..slot };
            }
        }
        true
    }

    /// Writes a part, or who said it. `None` where there is no room.
    fn put<T: Serialize + Part>(
        &self,
        written: &mut Written<'_>,
        part: u8,
        said: Option<&T>,
        batch: &[u8],
    ) -> Option<()> {
        let Some(said) = said else { return written.put(&Said::<()>::Nothing) };
        let is_common = said.length() <= MAX_COMMON_BYTES;
        let start = written.length;
        written.put(&HERE)?;
        let from = written.length;
        written.put(said)?;
        let bytes = written.bytes.get(from..written.length)?;
        let nth = usize::try_from(fold(bytes, part.into()) >> 32).ok()? % SLOTS;
        if let Some(by) = self.find(nth, part, bytes, batch) {
            written.length = start;
            return written.put(&Said::<()>::By(by));
        }
        if !is_common {
            return Some(());
        }
        let (start, length) = (u32::try_from(from).ok()?, u16::try_from(bytes.len()).ok()?);
        if let Some(new) = written.new.get_mut(usize::from(part)) {
            *new = Some((nth, Slot { part, start, length, ..Slot::default() }));
        }
        Some(())
    }

    fn find(&self, nth: usize, part: u8, bytes: &[u8], batch: &[u8]) -> Option<u32> {
        let slot = self.slots.get(nth)?;
        if slot.batch != self.batch || slot.part != part || usize::from(slot.length) != bytes.len()
        {
            return None;
        }
        let start = usize::try_from(slot.start).ok()?;
        let before = batch.get(start..start.checked_add(bytes.len())?)?;
        (before == bytes).then_some(slot.at)
    }
}

/// What stands in the scratch so far.
struct Written<'s> {
    bytes: &'s mut [u8],
    length: usize,
    /// What it is the first to say, with the slot.
    new: [Option<(usize, Slot)>; PARTS],
}

impl Written<'_> {
    fn put<T: Serialize>(&mut self, value: &T) -> Option<()> {
        let room = self.bytes.get_mut(self.length..)?;
        let taken = postcard::to_slice(value, room).ok()?.len();
        self.length = self.length.saturating_add(taken);
        Some(())
    }
}

impl<'a> Decision<'a> {
    fn place(&self) -> Place<'a> {
        Place {
            policy: self.policy,
            action: self.action,
            audience: self.audience,
            method: self.method,
            host: self.host,
            route: self.route,
        }
    }

    fn peer(&self) -> Peer<'a> {
        Peer { workload: self.workload, certificate: self.certificate }
    }

    fn rest(&self) -> RestOf<'_, 'a> {
        RestOf {
            id: self.id,
            at: self.at,
            outcome: self.outcome,
            code: self.code,
            position: self.position,
            age: self.age,
            call: self.call.as_ref(),
            inputs: &self.inputs,
            request: self.request,
            trace: self.trace,
            rules: &self.rules,
            shadow_rules: &self.shadow_rules,
        }
    }
}

/// How postcard writes which variant of [`Entry`] and of [`Said`] follows.
const BRIEF: u8 = 2;
const HERE: u8 = 1;
const NOWHERE: Place<'static> =
    Place { policy: None, action: None, audience: None, method: None, host: None, route: None };
const NOBODY: Peer<'static> = Peer { workload: None, certificate: None };
const PARTS: usize = 3;
/// Of a part that others name.
const MAX_COMMON_BYTES: usize = 512;
/// 20 KiB; a batch has some thousand entries.
const SLOTS: usize = 1_024;
const _: () = assert!(MAX_ENTRY_BYTES <= u16::MAX as usize);

#[cfg(test)]
mod tests;
