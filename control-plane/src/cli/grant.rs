//! `gatepass dev gatepass`: a grant from the command line.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use gatepass::budget;
use gatepass::issue::{Approval, Constraint, Entry, Grant, Party, new_id};
use gatepass_engine::budget::Amount;
use gatepass_engine::bundle::{self, Bundle, InputKind, RouteTarget, Treatment};
use gatepass_engine::clock::UnixSeconds;
use serde_json::Value;

use super::{At, Outcome};

#[derive(Args)]
pub(crate) struct GrantArgs {
    #[command(flatten)]
    at: At,
    /// Who presents it: `agent:<uuid>`.
    #[arg(long)]
    agent: String,
    /// Who answers for the agent: `user:<directory>/<id>`.
    #[arg(long, default_value = "user:dev/owner")]
    owner: String,
    #[arg(long, default_value = "dev")]
    blueprint: String,
    /// An action that it is good for; repeat for each.
    #[arg(long, required = true)]
    action: Vec<String>,
    /// A target system; repeat for each.
    #[arg(long, required = true)]
    audience: Vec<String>,
    /// A scope; repeat for each.
    #[arg(long)]
    scope: Vec<String>,
    /// `INPUT.max=VALUE`, or `min`, `equals`, `prefix`, or `in` with values separated by commas.
    #[arg(long, value_name = "INPUT.OPERATOR=VALUE")]
    constraint: Vec<String>,
    /// The unit of work; a new one unless named.
    #[arg(long)]
    task: Option<String>,
    /// Its `jti`; a new one unless named.
    #[arg(long)]
    jti: Option<String>,
    /// Whom the agent acts for: `user:<directory>/<id>` or an agent.
    #[arg(long)]
    subject: Option<String>,
    /// A `jti` that it was exchanged from; repeat for each.
    #[arg(long)]
    ancestor: Vec<String>,
    #[arg(long, value_enum, default_value_t = Assurance::Federated)]
    assurance: Assurance,
    /// Pin the request to this action digest (base64url).
    #[arg(long, value_name = "DIGEST")]
    args_digest: Option<String>,
    /// A human approved the action with this digest (base64url).
    #[arg(long, value_name = "DIGEST", requires = "approved_by")]
    approval_digest: Option<String>,
    /// Who approved: `user:<directory>/<id>`.
    #[arg(long, value_name = "ID", requires = "approval_digest")]
    approved_by: Option<String>,
    /// What is taken of a budget with it, such as `day=45000.00 EUR`; this gatepass alone unless stated. Repeat
    /// for each.
    #[arg(long, value_name = "NAME=SUM")]
    budget: Vec<String>,
    /// How long it lives: `30s`, `5m`, `1h`.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    ttl: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Assurance {
    Static,
    Federated,
    Attested,
}

impl GrantArgs {
    pub(crate) fn issue(&self, now: UnixSeconds) -> Outcome<String> {
        let mut store = self.at.open()?;
        let bundle = store.publisher().index().bundle();
        let mut grant = self.grant(bundle, now)?;
        // Nothing is counted here.
        budget::use_once(&mut grant.entries, bundle);
        budget::alone(&mut grant, bundle);
        self.take(&mut grant, bundle)?;
        Ok(store.issue(&grant, now)?)
    }

    fn take(&self, grant: &mut Grant, bundle: &Bundle) -> Outcome<()> {
        for text in &self.budget {
            let wrong = |what: &str| format!("`{text}`: {what}");
            let (name, sum) = text
                .split_once('=')
                .ok_or_else(|| wrong("expected `NAME=SUM`, such as `day=45000.00 EUR`"))?;
            let budget = bundle.budgets.iter().find(|budget| budget.name == name);
            let budget = budget.ok_or_else(|| wrong("the policy has no budget of this name"))?;
            let sum = Amount::parse(&budget.sums, sum)
                .ok_or_else(|| wrong("no sum in the unit of this budget"))?;
            grant.budgets.insert(budget.claim.clone(), sum);
        }
        Ok(())
    }

    fn grant(&self, bundle: &Bundle, now: UnixSeconds) -> Outcome<Grant> {
        let id = |given: &Option<String>| given.clone().map_or_else(new_id, Ok);
        let agent = Party {
            id: self.agent.clone(),
            owner: self.owner.clone(),
            blueprint: self.blueprint.clone(),
        };
        let mut grant = Grant::new(&id(&self.jti)?, agent, &id(&self.task)?, "", &[]);
        grant.audiences.clone_from(&self.audience);
        grant.scopes.clone_from(&self.scope);
        grant.subject.clone_from(&self.subject);
        grant.ancestors.clone_from(&self.ancestor);
        grant.lifetime = gatepass_policy::seconds(&self.ttl).map(u64::from).ok_or_else(|| {
            format!("`{}`: expected a duration such as `30s`, `5m` or `1h`", self.ttl)
        })?;
        grant.assurance = match self.assurance {
            Assurance::Static => bundle::Assurance::Static,
            Assurance::Federated => bundle::Assurance::Federated,
            Assurance::Attested => bundle::Assurance::Attested,
        };
        if let (Some(text), Some(by)) = (&self.approval_digest, &self.approved_by) {
            grant.approval = Some(Approval {
                id: new_id()?,
                by: by.clone(),
                at: now,
                amr: vec!["dev".to_owned()],
                digest: digest(text)?,
            });
        }
        for entry in &mut grant.entries {
            entry.actions.clone_from(&self.action);
            entry.args_digest = self.args_digest.as_deref().map(digest).transpose()?;
            for text in &self.constraint {
                constrain(entry, text, |input| kind_of(bundle, &self.action, input))?;
            }
        }
        Ok(grant)
    }
}

/// Adds `INPUT.OPERATOR=VALUE`; where no kind is known a value is what it looks like.
pub(super) fn constrain<'k>(
    entry: &mut Entry,
    text: &str,
    kind_of: impl FnOnce(&str) -> Option<&'k InputKind>,
) -> Outcome<()> {
    let (input, operator, value) = split(text)?;
    let kind = kind_of(input);
    let constraint = entry.constraints.entry(input.to_owned()).or_default();
    add(constraint, operator, value, kind)
}

fn split(text: &str) -> Outcome<(&str, &str, &str)> {
    text.split_once('=')
        .and_then(|(left, value)| {
            left.split_once('.').map(|(input, operator)| (input, operator, value))
        })
        .ok_or_else(|| {
            format!("`{text}`: expected `INPUT.OPERATOR=VALUE`, such as `amount.max=500.00 EUR`")
                .into()
        })
}

fn add(
    constraint: &mut Constraint,
    operator: &str,
    value: &str,
    kind: Option<&InputKind>,
) -> Outcome<()> {
    let literal = || literal(value, kind);
    match operator {
        "max" => constraint.max = Some(literal()),
        "min" => constraint.min = Some(literal()),
        "equals" => constraint.equals = Some(literal()),
        "prefix" => constraint.prefix = Some(value.to_owned()),
        "in" => {
            let values = value.split(',').map(|one| self::literal(one, kind));
            constraint.among = Some(values.collect());
        }
        other => {
            return Err(
                format!("`{other}`: expected `max`, `min`, `equals`, `in` or `prefix`").into()
            );
        }
    }
    Ok(())
}

/// What the policy says that an input of these actions is.
fn kind_of<'b>(bundle: &'b Bundle, actions: &[String], input: &str) -> Option<&'b InputKind> {
    let routes = bundle.hosts.iter().flat_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => routes.as_slice(),
        Treatment::PassedThrough => &[],
    });
    let named = routes.filter(|route| match route.target {
        RouteTarget::Public => false,
        RouteTarget::Action(id) => usize::try_from(id)
            .ok()
            .and_then(|id| bundle.actions.get(id))
            .is_some_and(|action| actions.contains(&action.name)),
    });
    named.flat_map(|route| &route.inputs).find(|known| known.name == input).map(|known| &known.kind)
}

/// As the kind of the input wants it written; without one, as it looks.
fn literal(text: &str, kind: Option<&InputKind>) -> Value {
    let integer = || gatepass_engine::inputs::integer(text).map(Value::from);
    let boolean = || text.parse::<bool>().ok().map(Value::from);
    let found = match kind {
        Some(InputKind::Integer) => integer(),
        Some(InputKind::Boolean) => boolean(),
        Some(InputKind::Text | InputKind::Decimal | InputKind::Money(_) | InputKind::TextSet) => {
            None
        }
        None => integer().or_else(boolean),
    };
    found.unwrap_or_else(|| text.into())
}

fn digest(text: &str) -> Outcome<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("`{text}`: expected a SHA-256 in base64url").into())
}
