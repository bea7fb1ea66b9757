//! Budgets: what is counted over several gatepasses, for whom and for how long.

use gatepass_engine::budget::claim_of;
use gatepass_engine::bundle::{
    Budget, Bundle, Holder, InputKind, Route, RouteTarget, Sums, Treatment, Uses,
};

use super::Place;
use super::action::Actions;
use crate::reader::{Fields, Reader};
use crate::tree::Tree;

/// Each with its place, and the actions under it made such that a gatepass is used once for them.
pub(super) fn budgets(
    reader: &mut Reader,
    tree: &Tree,
    actions: &Actions<'_>,
    bundle: &mut Bundle,
) -> Vec<Place> {
    let Some(entries) = reader.entries(tree, "`budgets`") else { return Vec::new() };
    let mut places = Vec::new();
    for (name, at, tree) in entries.iter() {
        let Some(fields) = reader.fields(tree, "a budget", &BUDGET_FIELDS) else { continue };
        let Some(budget) = budget(reader, name, &fields, actions, bundle) else { continue };
        for action in &budget.actions {
            use_once(*action, actions, bundle);
        }
        bundle.budgets.push(budget);
        places.push(Place::new(*at, &fields));
    }
    places
}

fn budget(
    reader: &mut Reader,
    name: &str,
    fields: &Fields<'_>,
    actions: &Actions<'_>,
    bundle: &Bundle,
) -> Option<Budget> {
    let what = format!("budget `{name}`");
    let of = reader.needed(fields, "actions", &what, "write `actions: [orders:create]`");
    let of = of.and_then(|tree| under(reader, tree, actions));
    let per = reader
        .needed(fields, "per", &what, "write `per: agent`, `task`, `owner` or `blueprint`")
        .and_then(|tree| reader.choice(tree, &HOLDERS));
    let window = reader
        .needed(fields, "window", &what, "write `window: 1d`")
        .and_then(|tree| reader.duration(tree));
    let of = of?;
    let sums = sums(reader, &what, fields, &of, bundle);
    let name = name.to_owned();
    let (per, window, sums) = (per?, window?, sums?);
    let budget = Budget { name, per, window, sums, actions: of, claim: String::new() };
    Some(Budget { claim: claim_of(&budget, &bundle.actions), ..budget })
}

/// The actions by their number; `None` where one of them cannot be read.
fn under(reader: &mut Reader, tree: &Tree, actions: &Actions<'_>) -> Option<Vec<u32>> {
    let mut of = Vec::new();
    let mut is_whole = true;
    for tree in reader.list(tree, "actions") {
        let name = reader.text(tree, "the name of an action");
        match name.and_then(|name| actions.find(name)) {
            Some(action) => of.push(action),
            None => {
                is_whole = false;
                if let Some(name) = name.filter(|_| !reader.is_partial) {
                    reader.tell(tree.referenced, format!("there is no action `{name}`"), "");
                }
            }
        }
    }
    of.sort_unstable();
    of.dedup();
    is_whole.then_some(of)
}

/// Of `count` and `sum` exactly one.
fn sums(
    reader: &mut Reader,
    what: &str,
    fields: &Fields<'_>,
    actions: &[u32],
    bundle: &Bundle,
) -> Option<Sums> {
    let currency = fields.find("currency");
    let sum = match (fields.find("sum"), fields.find("count")) {
        (Some(sum), None) => sum,
        (None, Some(count)) => {
            if let Some(tree) = currency {
                reader.tell(tree.referenced, "what is counted has no currency", "remove it");
                return None;
            }
            return match reader.boolean(count)? {
                true => Some(Sums::Uses),
                false => {
                    reader.tell(count.referenced, "`count` is `true` or not there", "");
                    None
                }
            };
        }
        (Some(_), Some(_)) | (None, None) => {
            let remedy = "write `sum: amount`, an input, or `count: true`";
            reader.tell(fields.at(), format!("{what} needs one of `sum` and `count`"), remedy);
            return None;
        }
    };
    let input = reader.text(sum, "the name of an input")?.to_owned();
    let found = kind(&input, actions, bundle);
    match (found, currency) {
        (Some(InputKind::Money(_)), Some(tree)) => {
            let code = reader.text(tree, "a currency such as `EUR`")?;
            Some(Sums::Money(input, code.to_owned()))
        }
        (Some(InputKind::Money(_)), None) => {
            let remedy = "write `currency: EUR`: amounts of others are not granted under it";
            reader.tell(sum.referenced, format!("{what} sums money without a currency"), remedy);
            None
        }
        (Some(InputKind::Integer | InputKind::Decimal), Some(tree)) => {
            reader.tell(tree.referenced, "only money has a currency", "remove it");
            None
        }
        (Some(InputKind::Integer), None) => Some(Sums::Integer(input)),
        (Some(InputKind::Decimal), None) => Some(Sums::Decimal(input)),
        (Some(InputKind::Text | InputKind::Boolean | InputKind::TextSet), _) => {
            let message = format!("input `{input}` is nothing that has a sum");
            reader.tell(sum.referenced, message, "name one of `integer`, `decimal` or `money`");
            None
        }
        (None, _) => {
            let message = format!("no route of these actions has an input `{input}`");
            reader.tell(sum.referenced, message, "");
            None
        }
    }
}

/// Of the first route of these actions that has it: that the others have the same is the engine's to say.
fn kind<'b>(input: &str, actions: &[u32], bundle: &'b Bundle) -> Option<&'b InputKind> {
    let routes = bundle.hosts.iter().filter_map(|host| match &host.treatment {
        Treatment::Guarded(routes) => Some(routes),
        Treatment::PassedThrough => None,
    });
    let leads =
        |route: &&Route| matches!(route.target, RouteTarget::Action(at) if actions.contains(&at));
    let inputs = routes.flatten().filter(leads).flat_map(|route| &route.inputs);
    let mut found = inputs.filter(|found| found.name == input);
    found.next().map(|found| &found.kind)
}

/// Unless the action says otherwise, which is then told of.
fn use_once(action: u32, actions: &Actions<'_>, bundle: &mut Bundle) {
    let Ok(at) = usize::try_from(action) else { return };
    let is_stated = actions
        .places
        .get(at)
        .is_some_and(|place| place.fields.iter().any(|stated| stated.name == "uses"));
    if let Some(action) = bundle.actions.get_mut(at).filter(|_| !is_stated) {
        action.uses = Uses::Once;
    }
}

const BUDGET_FIELDS: [&str; 6] = ["actions", "per", "window", "sum", "currency", "count"];
const HOLDERS: [(&str, Holder); 4] = [
    ("agent", Holder::Agent),
    ("task", Holder::Task),
    ("owner", Holder::Owner),
    ("blueprint", Holder::Blueprint),
];
