//! Cohorts: followers with a feed audience of their own, so that a policy can be in force for them
//! before it is for all.
//!
//! A cohort differs from the others in its policy and in nothing else. Position, revocations, issuer
//! keys, root version and time are those of the environment, kept once: what stops something stops
//! it for every audience in the same step. There is one sequence; what changes for one audience is
//! an empty delta for the others, so that all pass the same positions and a gatepass, which carries
//! one, means the same to each gate (02-wire-formats, "Cohorts").

use std::sync::Arc;

use gatepass_engine::bundle::Bundle;
use gatepass_engine::clock::UnixSeconds;
use gatepass_engine::routes::Index;

use super::{Changes, PublishError, Publisher, encoded};
use crate::keys::Signer;

/// A policy in force, to be held against requests and to be sent.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) index: Arc<Index>,
    /// As postcard.
    pub(super) bundle: Arc<[u8]>,
}

/// One cohort and the policy that its gates decide by.
#[derive(Clone, Debug)]
pub struct Cohort {
    name: String,
    pub(super) policy: Policy,
}

/// What one step does to a cohort.
#[derive(Clone, Debug)]
pub enum ToCohort {
    /// There was none of this name. It has the policy of all.
    Begin,
    /// Its audience is followed no more.
    End,
    /// It has a policy of its own from this step on.
    Own(Bundle),
    /// It has the policy of all, as of this step.
    OfAll,
}

/// A cohort after a step.
pub(super) struct Next {
    pub(super) cohort: Cohort,
    /// The step puts a policy in force there.
    is_news: bool,
    /// Nobody can have followed it before.
    is_new: bool,
}

/// What carries a step to the followers of one audience.
#[derive(Clone, Debug)]
pub struct Carried {
    /// The cohort; `None` for those in no cohort.
    pub cohort: Option<String>,
    /// `None`: they fetch a snapshot.
    pub delta: Option<Vec<u8>>,
}

impl Policy {
    pub(super) fn compile(bundle: Bundle) -> Result<Self, PublishError> {
        let bytes = encoded(&bundle)?;
        let index = Index::build(bundle).map_err(PublishError::Bundle)?;
        Ok(Self { index: Arc::new(index), bundle: bytes.into() })
    }
}

impl Cohort {
    /// Its feed audience too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn index(&self) -> &Index {
        &self.policy.index
    }
}

impl Publisher {
    /// Goes on with a cohort that a store kept: with a policy of its own, or with the one of all.
    ///
    /// # Errors
    /// [`PublishError::Bundle`].
    pub fn with_cohort(mut self, name: &str, own: Option<Bundle>) -> Result<Self, PublishError> {
        let policy = own.map_or_else(|| Ok(self.policy.clone()), Policy::compile)?;
        self.cohorts.push(Cohort { name: name.to_owned(), policy });
        self.cohorts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(self)
    }

    /// By name.
    #[must_use]
    pub fn cohorts(&self) -> &[Cohort] {
        &self.cohorts
    }

    /// The policies in force anywhere.
    pub fn indexes(&self) -> impl Iterator<Item = &Index> {
        core::iter::once(self.index()).chain(self.cohorts.iter().map(Cohort::index))
    }

    /// [`Publisher::delta`] for every audience, those in no cohort first. One step for all: either
    /// each has it, or none.
    ///
    /// # Errors
    /// Then nothing changed.
    pub fn deltas(
        &mut self,
        changes: &Changes,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<Carried>, PublishError> {
        let issued_at = self.stamp(now);
        let step = self.prepare(changes)?;
        let mut news = self.news(&step, step.policy.as_ref())?;
        let delta = fits(self.signed_step(&step, &self.state.audience, &news, issued_at, feed))?;
        let mut all = vec![Carried { cohort: None, delta }];
        for next in &step.cohorts {
            let name = &next.cohort.name;
            let delta = if next.is_new {
                None
            } else {
                let policy = next.is_news.then_some(&next.cohort.policy);
                news.bundle = policy.map(|policy| policy.bundle.to_vec());
                fits(self.signed_step(&step, name, &news, issued_at, feed))?
            };
            all.push(Carried { cohort: Some(name.clone()), delta });
        }
        self.commit(step);
        Ok(all)
    }

    /// [`Publisher::snapshot`] for a cohort.
    ///
    /// # Errors
    /// [`PublishError::NoCohort`]; else as there.
    pub fn snapshot_for(
        &mut self,
        cohort: &str,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<Vec<u8>>, PublishError> {
        let bundle = Arc::clone(&self.cohort(cohort)?.policy.bundle);
        self.snapshot_of(cohort, &bundle, feed, now)
    }

    /// [`Publisher::checkpoint`] for a cohort.
    ///
    /// # Errors
    /// [`PublishError::NoCohort`].
    pub fn checkpoint_for(
        &mut self,
        cohort: &str,
        feed: &dyn Signer,
        now: UnixSeconds,
    ) -> Result<Vec<u8>, PublishError> {
        self.cohort(cohort)?;
        self.checkpoint_of(cohort, feed, now)
    }

    /// # Errors
    /// [`PublishError::NoCohort`].
    pub fn cohort(&self, name: &str) -> Result<&Cohort, PublishError> {
        let found = self.cohorts.iter().find(|cohort| cohort.name == name);
        found.ok_or_else(|| PublishError::NoCohort(name.to_owned()))
    }

    /// The cohorts after a step that leaves `of_all` as the policy of all.
    pub(super) fn next(
        &self,
        changes: &[(String, ToCohort)],
        of_all: &Policy,
    ) -> Result<Vec<Next>, PublishError> {
        let still =
            |cohort: &Cohort| Next { cohort: cohort.clone(), is_news: false, is_new: false };
        let mut all: Vec<Next> = self.cohorts.iter().map(still).collect();
        for (name, change) in changes {
            let at = all.binary_search_by(|next| next.cohort.name.as_str().cmp(name));
            let known = || at.map_err(|_| PublishError::NoCohort(name.clone()));
            match change {
                ToCohort::Begin => {
                    let Err(at) = at else { return Err(PublishError::Cohort(name.clone())) };
                    if *name == self.state.audience {
                        return Err(PublishError::Cohort(name.clone()));
                    }
                    let cohort = Cohort { name: name.clone(), policy: of_all.clone() };
                    all.insert(at, Next { cohort, is_news: false, is_new: true });
                }
                ToCohort::End => drop(all.remove(known()?)),
                ToCohort::Own(bundle) => put(&mut all, known()?, Policy::compile(bundle.clone())?),
                ToCohort::OfAll => put(&mut all, known()?, of_all.clone()),
            }
        }
        Ok(all)
    }
}

fn put(all: &mut [Next], at: usize, policy: Policy) {
    if let Some(next) = all.get_mut(at) {
        next.cohort.policy = policy;
        next.is_news = true;
    }
}

/// A step that is too large for a delta of one audience is taken all the same.
fn fits(signed: Result<Vec<u8>, PublishError>) -> Result<Option<Vec<u8>>, PublishError> {
    match signed {
        Ok(envelope) => Ok(Some(envelope)),
        Err(PublishError::TooLarge) => Ok(None),
        Err(error) => Err(error),
    }
}
