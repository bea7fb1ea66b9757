//! What is counted over several gatepasses, beside what was.

use std::collections::BTreeMap;

use gatepass_engine::bundle::{Budget, Bundle, Sums};

use super::{Bearing, Changes, arrow, word};

pub(super) fn compare(before: &Bundle, after: &Bundle, all: &mut Changes) {
    let by_name = |bundle: &Bundle| -> BTreeMap<String, Budget> {
        bundle.budgets.iter().map(|budget| (budget.name.clone(), budget.clone())).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    for (name, budget) in &old {
        all.of(&format!("budget `{name}`"));
        match new.get(name) {
            Some(now) => one((before, budget), (after, now), all),
            None => all.add(Bearing::Wider, "removed"),
        }
    }
    for name in new.keys().filter(|name| !old.contains_key(*name)) {
        all.of(&format!("budget `{name}`")).add(Bearing::Narrower, "added");
    }
}

fn one((before, old): (&Bundle, &Budget), (after, new): (&Bundle, &Budget), all: &mut Changes) {
    if old.per != new.per {
        all.add(Bearing::Changed, format!("per {}", arrow(word(&old.per), word(&new.per))));
    }
    if old.sums != new.sums {
        all.add(Bearing::Changed, format!("sums {}", arrow(sums(&old.sums), sums(&new.sums))));
    }
    if old.window != new.window {
        // More of what was taken is remembered.
        let bearing = Bearing::stricter(&old.window, &new.window);
        let (old, new) = (format!("{}s", old.window), format!("{}s", new.window));
        all.add(bearing, format!("window {}", arrow(old, new)));
    }
    let (old, new) = (actions(before, old), actions(after, new));
    for (bearing, what, these) in [
        (Bearing::Narrower, "added", super::beyond(&old, &new)),
        (Bearing::Wider, "removed", super::beyond(&new, &old)),
    ] {
        if !these.is_empty() {
            all.add(bearing, format!("actions {what}: {}", these.join(", ")));
        }
    }
}

fn actions(bundle: &Bundle, budget: &Budget) -> Vec<String> {
    let name = |at: &u32| Some(bundle.actions.get(usize::try_from(*at).ok()?)?.name.clone());
    budget.actions.iter().filter_map(name).collect()
}

fn sums(sums: &Sums) -> String {
    match sums {
        Sums::Uses => "gatepasses".to_owned(),
        Sums::Integer(input) | Sums::Decimal(input) => format!("`{input}`"),
        Sums::Money(input, currency) => format!("`{input}` in {currency}"),
    }
}
