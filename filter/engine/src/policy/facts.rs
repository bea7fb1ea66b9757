//! What rules are held against: a request with its gatepass, or a gatepass that is about to be issued.

use super::{Kind, Net, Slot, Stop, Value};
use crate::body::Read;
use crate::budget::{Amount, Budgets};
use crate::bundle::{Assurance, Input};
use crate::clock::UnixSeconds;
use crate::decision::Header;
use crate::document::Document;
use crate::gatepass::Claims;
use crate::inputs::{self, Found, Inputs};
use crate::target::Target;

/// The facts of one decision.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub claims: &'a Claims<'a>,
    pub environment: &'a str,
    /// By the time that expiry is held against.
    pub now: UnixSeconds,
    /// The name of the action.
    pub action: &'a str,
    /// Those that the action is under.
    pub budgets: Budgets<'a>,
    /// None where a gatepass is about to be issued.
    pub asked: Option<Asked<'a>>,
}

/// What only a request has.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub audience: &'a str,
    pub method: &'a str,
    pub host: &'a str,
    /// Without the query, as it came.
    pub path: &'a str,
    /// The route's template.
    pub route: &'a str,
    /// Of the caller; none where the proxy does not know it.
    pub source: Option<&'a Net>,
    pub inputs: &'a Inputs<'a>,
    /// Where in `inputs` each input of the rules stands; [`NOWHERE`] for those that the route does not have.
    pub places: &'a [u8],
}

/// The inputs of a request whose body is a JSON document: for whoever holds rules against a request that no gate
/// has taken.
///
/// `None` where the body is no document, or the request has a second reading.
#[must_use]
pub fn inputs_with_document<'a>(
    inputs: &'a [Input],
    target: &Target<'a>,
    headers: &[Header<'a>],
    document: &'a [u8],
) -> Option<Inputs<'a>> {
    let body = Read::Json(Document::read(document).ok()?);
    Inputs::read_all(inputs, &[], target, headers, &body).ok()
}

/// Of an input that a route does not have.
pub(crate) const NOWHERE: u8 = u8::MAX;

impl<'a> Facts<'a> {
    /// The audience as an entity; not known before there is a request.
    pub(super) fn resource(&self) -> Result<Value<'a>, Stop> {
        Ok(Value::Entity(Kind::System, self.asked()?.audience))
    }

    pub(super) const fn principal(&self) -> Value<'a> {
        Value::Entity(Kind::Agent, self.claims.client_id.as_str())
    }

    /// The value; none where it may be missing, and is.
    pub(super) fn find(&self, slot: Slot) -> Result<Option<Value<'a>>, Stop> {
        let claims = self.claims;
        Ok(Some(match slot {
            Slot::Owner => Value::Entity(Kind::Person, claims.owner.as_str()),
            Slot::Environment => Value::Text(self.environment),
            Slot::Method => Value::Text(self.asked()?.method),
            Slot::Host => Value::Text(self.asked()?.host),
            Slot::Path => Value::Text(self.asked()?.path),
            Slot::Route => Value::Text(self.asked()?.route),
            Slot::Time => Value::Datetime(self.time()?),
            Slot::Source => match self.asked()?.source {
                Some(source) => Value::Net(source),
                None => return Ok(None),
            },
            Slot::GatepassId => Value::Text(claims.jti.as_str()),
            Slot::Scopes => Value::Scopes(&claims.scope),
            Slot::Assurance => Value::Text(assurance(claims)),
            Slot::Issued => Value::Datetime(moment(claims.iat)),
            Slot::Expires => Value::Datetime(moment(claims.exp)),
            Slot::Subject => Value::Text(claims.sub.as_str()),
            Slot::Through => Value::Actors(claims.act.get(1..).unwrap_or_default()),
            Slot::Task => Value::Text(claims.txn.as_str()),
            Slot::Approval => match &claims.approval {
                Some(_) => Value::Boolean(true),
                None => return Ok(None),
            },
            Slot::ApprovalId => match &claims.approval {
                Some(approval) => Value::Text(approval.id),
                None => return Ok(None),
            },
            Slot::ApprovalBy => match &claims.approval {
                Some(approval) => Value::Entity(Kind::Person, approval.by.as_str()),
                None => return Ok(None),
            },
            Slot::Input(nth) => return Ok(self.input(nth)?.map(plain)),
            Slot::Amount(nth) => match self.input(nth)? {
                Some(inputs::Value::Money(money)) => Value::Decimal(money.amount.ten_thousandths()),
                Some(_) => return Err(Stop::Type),
                None => return Ok(None),
            },
            Slot::Budget(nth) => match self.budgets.find(nth) {
                Some(budget) => match claims.budget.find(budget) {
                    Some(Amount::Whole(count)) => Value::Long(count),
                    Some(amount) => Value::Decimal(amount.steps()),
                    None => return Ok(None),
                },
                None => return Ok(None),
            },
            Slot::Currency(nth) => match self.input(nth)? {
                Some(inputs::Value::Money(money)) => Value::Text(money.currency()),
                Some(_) => return Err(Stop::Type),
                None => return Ok(None),
            },
        }))
    }

    /// Whether it is there.
    pub(super) fn has(&self, slot: Slot) -> Result<bool, Stop> {
        match slot {
            Slot::Input(nth) => self.input(nth).map(|found| found.is_some()),
            // A gatepass that should say it and does not is no reason to pass over a rule.
            Slot::Budget(nth) => Ok(self.budgets.find(nth).is_some()),
            _ => self.find(slot).map(|found| found.is_some()),
        }
    }

    /// A gatepass is issued before it is used, and a window may open in between.
    pub(super) fn time(&self) -> Result<i64, Stop> {
        self.asked()?;
        Ok(moment(self.now))
    }

    const fn asked(&self) -> Result<&Asked<'a>, Stop> {
        match &self.asked {
            Some(asked) => Ok(asked),
            None => Err(Stop::Unknown),
        }
    }

    pub(super) fn input(&self, nth: u16) -> Result<Option<&'a inputs::Value<'a>>, Stop> {
        let asked = self.asked()?;
        let place = asked.places.get(usize::from(nth)).copied().unwrap_or(NOWHERE);
        if place == NOWHERE {
            return Ok(None);
        }
        match asked.inputs.nth(usize::from(place)) {
            None | Some(Found::Missing) => Ok(None),
            Some(Found::Invalid) => Err(Stop::Input),
            Some(Found::Value(value)) => Ok(Some(value)),
        }
    }
}

pub(super) const fn assurance(claims: &Claims<'_>) -> &'static str {
    match claims.assurance {
        Assurance::Static => "static",
        Assurance::Federated => "federated",
        Assurance::Attested => "attested",
    }
}

/// Milliseconds since 1970.
pub(super) const fn moment(time: UnixSeconds) -> i64 {
    (time.0 as i64).saturating_mul(1_000)
}

fn plain<'a>(value: &'a inputs::Value<'a>) -> Value<'a> {
    match value {
        inputs::Value::Text(text) => Value::Text(text),
        inputs::Value::Integer(value) => Value::Long(*value),
        inputs::Value::Decimal(value) => Value::Decimal(value.ten_thousandths()),
        // That it is there; its parts have slots of their own.
        inputs::Value::Money(_) => Value::Boolean(true),
        inputs::Value::Boolean(value) => Value::Boolean(*value),
        inputs::Value::TextSet(texts) => Value::Texts(texts),
    }
}
