//! Requests that wait for their body: bounded in bytes, number and time, in all and for each agent of a gate.
//!
//! Envoy keeps what has come of a body, outside of this VM, for as long as the request is paused. Only a request
//! whose gatepass was verified and whose headers hold waits here, so nobody without one takes anything of it.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use gatepass_engine::body::Unfinished;
use gatepass_engine::clock::{Milliseconds, Now};
use gatepass_engine::decision::Awaited;

use crate::open::Spread;
use crate::progress::{Came, Progress};

/// Those of one gate in this VM; the bounds of all are of all gates in it.
#[derive(Default)]
pub(crate) struct Uploads {
    waiting: HashMap<u32, Upload, BuildHasherDefault<Spread>>,
    agents: HashMap<u64, Share, BuildHasherDefault<Spread>>,
}

struct Upload {
    progress: Rc<Progress>,
    agent: u64,
    most: usize,
    bytes: usize,
    deadline: Milliseconds,
}

#[derive(Clone, Copy, Default)]
struct Share {
    places: usize,
    bytes: usize,
}

impl Share {
    const fn fits(self, bytes: usize, places: usize, most: usize) -> bool {
        self.places < places && self.bytes.saturating_add(bytes) <= most
    }
}

impl Uploads {
    /// Takes a place. What has come already counts.
    ///
    /// # Errors
    /// Why the body will not be had.
    pub(crate) fn begin(
        &mut self,
        progress: &Rc<Progress>,
        awaited: &Awaited,
        now: Now,
    ) -> Result<(), Unfinished> {
        let most = usize::try_from(awaited.most).unwrap_or(0);
        let bytes = match progress.came() {
            Came::NoBody => 0,
            Came::Some(size) | Came::Whole(size) => size,
            Came::Trailers => return Err(Unfinished::Trailers),
        };
        if bytes > most {
            return Err(Unfinished::TooLong);
        }
        let agent = hash(&awaited.agent);
        let own = self.agents.get(&agent).copied().unwrap_or_default();
        if !ALL.get().fits(bytes, MAX_UPLOADS, MAX_BYTES)
            || !own.fits(bytes, MAX_UPLOADS / SHARES, MAX_BYTES / SHARES)
        {
            return Err(Unfinished::NoRoom);
        }
        let deadline = now.monotonic.plus(LONGEST);
        let progress = Rc::clone(progress);
        let context = progress.context;
        self.change(agent, bytes, true);
        self.waiting.insert(context, Upload { progress, agent, most, bytes, deadline });
        Ok(())
    }

    /// So much of the body has come in all.
    ///
    /// # Errors
    /// Why it will not be had whole; then it waits no more.
    pub(crate) fn grow(&mut self, context: u32, size: usize) -> Result<(), Unfinished> {
        // Of a gate that was configured anew: nobody holds it to a bound.
        let Some(upload) = self.waiting.get_mut(&context) else { return Err(Unfinished::Broken) };
        let more = size.saturating_sub(upload.bytes);
        upload.bytes = upload.bytes.max(size);
        let (agent, most) = (upload.agent, upload.most);
        let own = self.agents.entry(agent).or_default();
        own.bytes = own.bytes.saturating_add(more);
        let mut all = ALL.get();
        all.bytes = all.bytes.saturating_add(more);
        ALL.set(all);
        let why = if size > most {
            Unfinished::TooLong
        } else if own.bytes > MAX_BYTES / SHARES || all.bytes > MAX_BYTES {
            Unfinished::NoRoom
        } else {
            return Ok(());
        };
        self.remove(context);
        Err(why)
    }

    /// The request waits no more.
    pub(crate) fn remove(&mut self, context: u32) {
        if let Some(upload) = self.waiting.remove(&context) {
            self.change(upload.agent, upload.bytes, false);
        }
    }

    /// So many at most of those whose time is over.
    pub(crate) fn take_late(&mut self, now: Now, most: usize) -> Vec<Rc<Progress>> {
        let late = |upload: &&Upload| upload.deadline <= now.monotonic;
        let late = self.waiting.values().filter(late).take(most);
        let late: Vec<Rc<Progress>> = late.map(|upload| Rc::clone(&upload.progress)).collect();
        for progress in &late {
            self.remove(progress.context);
        }
        late
    }

    fn change(&mut self, agent: u64, bytes: usize, more: bool) {
        let own = self.agents.entry(agent).or_default();
        let mut all = ALL.get();
        for share in [own, &mut all] {
            if more {
                share.places = share.places.saturating_add(1);
                share.bytes = share.bytes.saturating_add(bytes);
            } else {
                share.places = share.places.saturating_sub(1);
                share.bytes = share.bytes.saturating_sub(bytes);
            }
        }
        ALL.set(all);
        if self.agents.get(&agent).is_some_and(|own| own.places == 0) {
            self.agents.remove(&agent);
        }
    }
}

impl Drop for Uploads {
    /// A gate that is configured anew gives its places back.
    fn drop(&mut self) {
        let all: Vec<u32> = self.waiting.keys().copied().collect();
        all.into_iter().for_each(|context| self.remove(context));
    }
}

thread_local! {
    /// Over all gates of this VM: several listeners share it.
    static ALL: Cell<Share> = const { Cell::new(Share { places: 0, bytes: 0 }) };
}

/// Agents are known by verified ids, which the control plane draws: nobody looks for two that are one here.
fn hash(agent: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    agent.hash(&mut hasher);
    hasher.finish()
}

/// Requests of one worker that wait for their body at once, and bytes of their bodies that Envoy keeps.
const MAX_UPLOADS: usize = 8_192;
const MAX_BYTES: usize = 64 << 20;
/// One agent has at most one of so many parts of both.
const SHARES: usize = 8;
/// Milliseconds that a body may take.
const LONGEST: u64 = 15_000;
