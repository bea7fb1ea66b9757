//! Cedar itself: what it says of each rule alone, and of rules together.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet,
    Request, RestrictedExpression, Schema,
};

use crate::request::Sample;
use crate::writer::entity;

/// What a rule's scope and condition come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truth {
    Holds,
    HoldsNot,
    Fails,
}

/// What Cedar says of rules together.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) allows: bool,
    /// Rules by their place among those that were asked.
    pub(crate) reasons: BTreeSet<usize>,
    pub(crate) errors: BTreeSet<usize>,
}

/// A request as Cedar has it.
pub(crate) type Question = (Request, Entities);

/// What was read once: Cedar's parser takes most of the time of a request.
#[derive(Default)]
pub(crate) struct Known {
    values: RefCell<HashMap<String, RestrictedExpression>>,
    entities: RefCell<HashMap<(&'static str, String), EntityUid>>,
}

impl Known {
    fn value(&self, text: &str) -> RestrictedExpression {
        let mut values = self.values.borrow_mut();
        if let Some(value) = values.get(text) {
            return value.clone();
        }
        if values.len() >= MAX_KNOWN {
            values.clear();
        }
        let value = RestrictedExpression::from_str(text).unwrap();
        values.insert(text.to_owned(), value.clone());
        value
    }

    fn entity(&self, kind: &'static str, id: &str) -> EntityUid {
        let mut entities = self.entities.borrow_mut();
        let read = || EntityUid::from_str(&entity(kind, id)).unwrap();
        entities.entry((kind, id.to_owned())).or_insert_with(read).clone()
    }
}

const MAX_KNOWN: usize = 10_000;

pub(crate) struct Oracle<'k> {
    schema: Schema,
    authorizer: Authorizer,
    known: &'k Known,
}

impl<'k> Oracle<'k> {
    pub(crate) fn new(schema: &str, known: &'k Known) -> Self {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).unwrap();
        assert_eq!(warnings.count(), 0);
        Self { schema, authorizer: Authorizer::new(), known }
    }

    /// A request with the entities that a gate knows: the agent with its owner in its blueprint, and the actions.
    pub(crate) fn question(&self, sample: &Sample) -> Question {
        let uid = |kind, id: &str| self.known.entity(kind, id);
        let agent = uid("Gatepass::Agent", sample.agent);
        let owner = RestrictedExpression::new_entity_uid(uid("Gatepass::Person", sample.owner));
        let attributes = HashMap::from([("owner".to_owned(), owner)]);
        let parents = HashSet::from([uid("Gatepass::Blueprint", sample.blueprint)]);
        let principal = Entity::new(agent.clone(), attributes, parents).unwrap();
        let entities = Entities::from_entities([principal], Some(&self.schema)).unwrap();
        let written = |name: &str, text: &str| (name.to_owned(), self.known.value(text));
        let inputs = sample.inputs.iter().map(|(name, value)| written(name, value));
        let inputs = RestrictedExpression::new_record(inputs).unwrap();
        let context = sample.context.iter().map(|(name, value)| written(name, value));
        let context = Context::from_pairs(context.chain([("inputs".to_owned(), inputs)])).unwrap();
        let action = uid("Action", sample.at.name);
        let resource = uid("Gatepass::System", &sample.audience);
        let request = Request::new(agent, action, resource, context, Some(&self.schema));
        (request.unwrap_or_else(|error| panic!("{error}\n{}", sample.shown())), entities)
    }

    /// One rule alone.
    pub(crate) fn truth(&self, rule: &PolicySet, (request, entities): &Question) -> Truth {
        let response = self.authorizer.is_authorized(request, rule, entities);
        let diagnostics = response.diagnostics();
        let (holds, fails) =
            (diagnostics.reason().next().is_some(), diagnostics.errors().next().is_some());
        match (holds, fails) {
            (true, false) => Truth::Holds,
            (false, false) => Truth::HoldsNot,
            (false, true) => Truth::Fails,
            (true, true) => panic!("a rule that holds and fails: {response:?}"),
        }
    }

    pub(crate) fn answer(&self, rules: &PolicySet, (request, entities): &Question) -> Answer {
        let response = self.authorizer.is_authorized(request, rules, entities);
        let number = |id: &PolicyId| AsRef::<str>::as_ref(id).parse::<usize>().unwrap();
        Answer {
            allows: response.decision() == Decision::Allow,
            reasons: response.diagnostics().reason().map(number).collect(),
            errors: response
                .diagnostics()
                .errors()
                .map(|error| match error {
                    cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
                        number(error.policy_id())
                    }
                })
                .collect(),
        }
    }
}

/// The rules of these numbers, which are their ids.
pub(crate) fn together<'t>(rules: impl Iterator<Item = (usize, &'t str)>) -> PolicySet {
    let parsed = rules.map(|(number, text)| {
        Policy::parse(Some(PolicyId::new(number.to_string())), text).unwrap()
    });
    PolicySet::from_policies(parsed).unwrap()
}
