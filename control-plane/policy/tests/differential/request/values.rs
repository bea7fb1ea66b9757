//! Values of inputs: in a query or a body, and as Cedar writes them.

use gatepass_engine::bundle::Budget;
use serde_json::{Map, Value, json};

use super::{BUDGETS, CURRENCIES, DECIMALS, Dice, LARGE, LONGS, TAGS, TEXTS, quoted};
use crate::pools::Unit;

/// What was taken of budgets.
pub(crate) struct Taken {
    pub(super) claim: Value,
    /// Of those that the action is under.
    pub(super) cedar: Vec<String>,
}

impl Taken {
    /// Where there are no budgets.
    pub(crate) fn nothing() -> Self {
        Self { claim: json!({}), cedar: Vec::new() }
    }

    /// The gatepass says it of others too, which is nothing to the action.
    pub(super) fn roll(dice: &mut Dice, action: usize, budgets: &[Budget]) -> Self {
        let mut claim = Map::new();
        let mut cedar = Vec::new();
        for (name, of, actions) in BUDGETS {
            let is_under = actions.contains(&action);
            if !is_under && dice.percent(50) {
                continue;
            }
            let (said, value) = match of {
                Unit::Whole => {
                    let sum = dice.pick(&[LONGS, LARGE].concat());
                    (json!(sum), format!("({sum})"))
                }
                Unit::Decimal => {
                    let sum = dice.pick(DECIMALS);
                    (json!(sum), format!("decimal({})", quoted(sum)))
                }
                Unit::Euros => {
                    let sum = dice.pick(DECIMALS);
                    (json!(format!("{sum} EUR")), format!("decimal({})", quoted(sum)))
                }
            };
            let budget = budgets.iter().find(|budget| budget.name == name).unwrap();
            claim.insert(budget.claim.clone(), said);
            if is_under {
                cedar.push(format!("{name}: {value}"));
            }
        }
        Self { claim: Value::Object(claim), cedar }
    }
}

/// What was rolled so far.
#[derive(Default)]
pub(crate) struct Inputs {
    pub(super) query: String,
    pub(super) body: Map<String, Value>,
    /// Names and values, as Cedar writes them.
    pub(super) cedar: Vec<(String, String)>,
}

impl Inputs {
    /// For one action of the product's own bundle, by its number there; each is missing at times.
    pub(super) fn roll(&mut self, dice: &mut Dice, action: usize) {
        match action {
            0 => {
                self.money(dice, "amount", Some("currency"), true);
                self.money(dice, "limit", None, false);
                self.count(dice, "count", true);
                self.decimal(dice, "rate", false);
                self.boolean(dice, "rush", true);
                self.text(dice, "note", false);
                self.tags(dice);
            }
            1 => {
                self.count(dice, "count", true);
                self.text(dice, "note", true);
                self.text(dice, "kind", true);
                self.boolean(dice, "rush", true);
            }
            2 => {}
            3 => {
                self.count(dice, "kind", false);
                self.tags(dice);
                self.decimal(dice, "rate", true);
            }
            _ => {
                self.money(dice, "amount", Some("currency"), false);
                self.boolean(dice, "rush", false);
            }
        }
    }

    /// Whether it is there.
    fn is_there(dice: &mut Dice) -> bool {
        dice.percent(75)
    }

    /// In the body, and as Cedar writes it.
    pub(crate) fn in_body(&mut self, name: &str, json: Value, cedar: &str) {
        self.put(name, json, "", false);
        self.say(name, cedar);
    }

    fn put(&mut self, name: &str, json: Value, text: &str, in_query: bool) {
        if !in_query {
            self.body.insert(name.to_owned(), json);
            return;
        }
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(&format!("{name}={}", encoded(text)));
    }

    fn say(&mut self, name: &str, value: &str) {
        self.cedar.push((name.to_owned(), value.to_owned()));
    }

    fn money(&mut self, dice: &mut Dice, name: &str, currency: Option<&str>, in_query: bool) {
        if !Self::is_there(dice) {
            return;
        }
        let (amount, code) = (dice.pick(DECIMALS), dice.pick(CURRENCIES));
        self.put(name, json!(amount), amount, in_query);
        match currency {
            Some(currency) => self.put(currency, json!(code), code, in_query),
            None => {
                return self
                    .say(name, &format!("{{amount: decimal(\"{amount}\"), currency: \"EUR\"}}"));
            }
        }
        self.say(name, &format!("{{amount: decimal(\"{amount}\"), currency: \"{code}\"}}"));
    }

    fn count(&mut self, dice: &mut Dice, name: &str, in_query: bool) {
        if !Self::is_there(dice) {
            return;
        }
        let value = if dice.percent(30) { dice.pick(LARGE) } else { dice.pick(LONGS) };
        self.put(name, json!(value), &value.to_string(), in_query);
        self.say(name, &value.to_string());
    }

    fn decimal(&mut self, dice: &mut Dice, name: &str, in_query: bool) {
        if !Self::is_there(dice) {
            return;
        }
        let value = dice.pick(DECIMALS);
        self.put(name, json!(value), value, in_query);
        self.say(name, &format!("decimal(\"{value}\")"));
    }

    fn boolean(&mut self, dice: &mut Dice, name: &str, in_query: bool) {
        if !Self::is_there(dice) {
            return;
        }
        let value = dice.percent(50);
        self.put(name, json!(value), &value.to_string(), in_query);
        self.say(name, &value.to_string());
    }

    fn text(&mut self, dice: &mut Dice, name: &str, in_query: bool) {
        if !Self::is_there(dice) {
            return;
        }
        // A path in a query is never encoded, and what is no path byte always is.
        let plain = |text: &str| !in_query || !text.contains(['/', '\\', '+']);
        let value = Some(dice.pick(TEXTS)).filter(|text| plain(text)).unwrap_or("a");
        self.put(name, json!(value), value, in_query);
        self.say(name, &quoted(value));
    }

    fn tags(&mut self, dice: &mut Dice) {
        if !Self::is_there(dice) {
            return;
        }
        let tags = dice.some(TAGS);
        self.put("tags", json!(tags), "", false);
        let tags: Vec<String> = tags.into_iter().map(quoted).collect();
        self.say("tags", &format!("[{}]", tags.join(", ")));
    }
}

/// Percent-encoded where it has to be, and nowhere else.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'*' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
