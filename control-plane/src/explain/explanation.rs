//! A decision with each check on the way to it, for programs and for people.

use gatepass_engine::clock::Now;
use gatepass_engine::decision::{Identity, Noted};
use gatepass_engine::policy::{Causes, Effect};
use gatepass_engine::redeem::Needs;
use gatepass_engine::trace::{Check, Outcome, Recorded};
use gatepass_engine::{Decision, Denial, Gate, Reason};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a gate would decide, and how it comes to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Of the gate's state: `<epoch>.<sequence>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Of that state, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    pub decision: Decided,
    /// Of `allow`, where no gatepass was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenBy>,
    /// Of `deny`, and of `shadow`: what would be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For operators: the caller is not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Who acts, whose it is and for which task; known once the gatepass was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Its `jti`; known once it was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gatepass: Option<String>,
    /// Of `redeem`: what the control plane would be asked to confirm. Nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confirms: Vec<Confirms>,
    /// Whether that use is spent already, and the request would be denied as `replayed`; where the control
    /// plane was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<bool>,
    /// Of `read`: so many bytes of a body at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u32>,
    /// In their order, up to the one that ended it.
    pub checks: Vec<CheckView>,
    /// That the decision rests on.
    pub rules: Vec<RuleView>,
    /// In shadow mode, that would have had a part in it.
    pub shadow_rules: Vec<RuleView>,
    /// What the rule that denies tells the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RuleMessage>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    Allow,
    Deny,
    /// It goes on, and would be denied if the action were enforced.
    Shadow,
    /// Allowed once the control plane confirms what is asked of it.
    Redeem,
    /// So far so good: the gate would now read the body, and none was given.
    Read,
}

/// Why it goes on without a gatepass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenBy {
    /// The route.
    Public,
    /// The host.
    PassedThrough,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confirms {
    /// The gatepass's one use is spent for it.
    Use,
    /// The record of the decision is stored.
    Record,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// What must hold, in words.
    pub check: String,
    pub outcome: CheckOutcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    Passed,
    Failed,
    /// It does not apply; `detail` says why.
    NotAsked,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleView {
    pub effect: RuleEffect,
    /// `@id`
    pub id: String,
}

/// What a rule does where it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    Permit,
    Forbid,
}

/// In the words of who wrote the rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleMessage {
    /// `@code`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `@message`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Explanation {
    pub(super) fn of(decision: &Decision, recorded: Recorded, gate: &Gate, at: Now) -> Self {
        let about = Self {
            position: gate.position().map(|position| position.to_string()),
            age_ms: gate.age(at),
            checks: CheckView::all(recorded),
            ..Self::empty()
        };
        match decision {
            Decision::Allow(permit) => {
                let about = about.noted(permit.noted(), gate);
                let about = Self { action: permit.action().map(str::to_owned), ..about };
                match permit.reason() {
                    Reason::Decided(who) => Self { decision: Decided::Allow, ..about.by(who) },
                    Reason::Shadow(denial) => about.denied(Decided::Shadow, denial),
                    Reason::Public => about.open(OpenBy::Public),
                    Reason::PassedThrough => about.open(OpenBy::PassedThrough),
                }
            }
            Decision::Deny(denial) => {
                let whom = denial.whom();
                let about = about.noted(&whom.noted, gate);
                let action = whom.action.clone();
                Self { action, ..about }.denied(Decided::Deny, denial)
            }
            Decision::Redeem(redemption) => {
                let about = about.noted(redemption.noted(), gate).by(redemption.identity());
                Self {
                    decision: Decided::Redeem,
                    action: Some(redemption.action().to_owned()),
                    confirms: Confirms::of(redemption.needs()),
                    ..about
                }
            }
            Decision::Read(awaited) => Self {
                decision: Decided::Read,
                agent: Some(awaited.agent.clone()),
                body_bytes: Some(awaited.most),
                ..about
            },
        }
    }

    /// Whether the request would go on, as far as a gate can say.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        match self.decision {
            Decided::Allow | Decided::Shadow => true,
            Decided::Redeem => !matches!(self.spent, Some(true)),
            Decided::Deny | Decided::Read => false,
        }
    }

    /// Denied, for nothing yet.
    const fn empty() -> Self {
        Self {
            position: None,
            age_ms: None,
            decision: Decided::Deny,
            open: None,
            code: None,
            status: None,
            detail: None,
            next: None,
            action: None,
            agent: None,
            owner: None,
            task: None,
            gatepass: None,
            confirms: Vec::new(),
            spent: None,
            body_bytes: None,
            checks: Vec::new(),
            rules: Vec::new(),
            shadow_rules: Vec::new(),
            policy: None,
        }
    }

    /// Who acts, and the rules.
    fn noted(self, noted: &Noted, gate: &Gate) -> Self {
        let bearer = noted.bearer();
        let of = |causes: &Causes| RuleView::all(causes, gate);
        let (rules, shadow_rules) = noted.rules();
        Self {
            agent: bearer.as_ref().map(|bearer| bearer.agent.to_owned()),
            owner: bearer.as_ref().map(|bearer| bearer.owner.to_owned()),
            task: bearer.as_ref().map(|bearer| bearer.task.to_owned()),
            gatepass: bearer.as_ref().map(|bearer| bearer.jti.to_owned()),
            rules: of(rules),
            shadow_rules: of(shadow_rules),
            ..self
        }
    }

    fn by(self, who: &Identity) -> Self {
        Self {
            agent: Some(who.agent.clone()),
            owner: Some(who.owner.clone()),
            task: Some(who.task.clone()),
            ..self
        }
    }

    fn open(self, open: OpenBy) -> Self {
        Self { decision: Decided::Allow, open: Some(open), ..self }
    }

    fn denied(self, decision: Decided, denial: &Denial) -> Self {
        let code = denial.code();
        let policy = denial.ruling().map(|ruling| RuleMessage {
            code: ruling.code.clone(),
            message: ruling.message.clone(),
        });
        Self {
            decision,
            code: Some(code.as_str().to_owned()),
            status: Some(code.status()),
            detail: Some(denial.detail().to_owned()),
            next: Some(code.next_step().to_owned()),
            policy,
            ..self
        }
    }
}

impl Confirms {
    fn of(needs: Needs) -> Vec<Self> {
        let all = [(needs.one_use, Self::Use), (needs.record, Self::Record)];
        all.into_iter().filter_map(|(is_needed, what)| is_needed.then_some(what)).collect()
    }
}

impl CheckView {
    /// The check after which the rules are shown.
    #[must_use]
    pub fn is_of_rules(&self) -> bool {
        self.check == Check::Rules.as_str()
    }

    /// One line for each check: what it takes in several steps is passed with the last of them.
    fn all(Recorded(noted, _): Recorded) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::with_capacity(noted.len());
        for checked in noted.into_iter().map(Self::of) {
            if all.last().is_some_and(|last| last.check == checked.check) {
                all.pop();
            }
            all.push(checked);
        }
        all
    }

    fn of((check, outcome): (Check, Outcome)) -> Self {
        let (outcome, code, detail) = match outcome {
            Outcome::Passed => (CheckOutcome::Passed, None, None),
            Outcome::NotAsked(why) => (CheckOutcome::NotAsked, None, Some(why.to_owned())),
            Outcome::Failed(code, detail) => {
                (CheckOutcome::Failed, Some(code.as_str().to_owned()), Some(detail))
            }
        };
        Self { check: check.as_str().to_owned(), outcome, code, detail }
    }
}

impl RuleView {
    fn all(causes: &Causes, gate: &Gate) -> Vec<Self> {
        let Some(index) = gate.index() else { return Vec::new() };
        let rules = causes.iter().filter_map(|at| index.rules().rule(at));
        let named = rules.map(|rule| Self {
            effect: match rule.effect {
                Effect::Permit => RuleEffect::Permit,
                Effect::Forbid => RuleEffect::Forbid,
            },
            id: rule.id.to_string(),
        });
        named.collect()
    }
}
