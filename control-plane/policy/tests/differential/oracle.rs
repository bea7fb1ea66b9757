//! Cedar itself: what it says of each rule alone, and of rules together.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet,
    Request, RestrictedExpression, Schema,
};

use crate::pools::ACTIONS;
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

pub(crate) struct Oracle {
    schema: Schema,
    authorizer: Authorizer,
}

impl Oracle {
    pub(crate) fn new(schema: &str) -> Self {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).unwrap();
        assert_eq!(warnings.count(), 0);
        Self { schema, authorizer: Authorizer::new() }
    }

    /// A request with the entities that a gate knows: the agent with its owner in its blueprint, and the actions.
    pub(crate) fn question(&self, sample: &Sample) -> (Request, Entities) {
        let uid = |kind: &str, id: &str| EntityUid::from_str(&entity(kind, id)).unwrap();
        let agent = uid("Gatepass::Agent", sample.agent);
        let owner = RestrictedExpression::new_entity_uid(uid("Gatepass::Person", sample.owner));
        let attributes = HashMap::from([("owner".to_owned(), owner)]);
        let parents = HashSet::from([uid("Gatepass::Blueprint", sample.blueprint)]);
        let principal = Entity::new(agent.clone(), attributes, parents).unwrap();
        let entities = Entities::from_entities([principal], Some(&self.schema)).unwrap();
        let written = |text: &str| RestrictedExpression::from_str(text).unwrap();
        let context =
            sample.context.iter().map(|(name, value)| ((*name).to_owned(), written(value)));
        let context = Context::from_pairs(context).unwrap();
        let action = uid("Action", ACTIONS[sample.action]);
        let resource = uid("Gatepass::System", &sample.audience);
        let request = Request::new(agent, action, resource, context, Some(&self.schema));
        (request.unwrap_or_else(|error| panic!("{error}\n{}", sample.shown())), entities)
    }

    /// One rule alone.
    pub(crate) fn truth(
        &self,
        rule: &PolicySet,
        (request, entities): &(Request, Entities),
    ) -> Truth {
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

    pub(crate) fn answer(
        &self,
        rules: &PolicySet,
        (request, entities): &(Request, Entities),
    ) -> Answer {
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
