//! Requests that a policy of the corpus may hold for: their values are the policy's own literals, and what is next
//! to those.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::translate::{Translation, name};
use super::world;
use crate::dice::Dice;
use crate::pools::{LARGE, quoted};
use crate::request::values::{Inputs, Taken};
use crate::request::{At, Sample};

const SCENES: usize = 40;

/// The literals of a policy.
pub(super) struct Pool {
    places: Vec<At>,
    longs: Vec<i64>,
    texts: Vec<String>,
    /// Ten-thousandths.
    decimals: Vec<i64>,
    addresses: Vec<String>,
}

impl Pool {
    /// Of conditions in Cedar's JSON form.
    pub(super) fn of(conditions: &Value) -> Self {
        let mut pool = Self {
            places: world::places(),
            longs: vec![0, 1, 2, -1],
            texts: vec![String::new(), "a".to_owned(), "b".to_owned()],
            decimals: vec![0, 10_000],
            addresses: ["127.0.0.1", "224.0.0.1", "::1", "192.0.2.1"].map(str::to_owned).into(),
        };
        pool.collect(conditions);
        pool
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::Array(all) => all.iter().for_each(|one| self.collect(one)),
            Value::Object(all) => {
                for (name, of) in all {
                    match (name.as_str(), of) {
                        ("Value", Value::Number(number)) => {
                            let number = number.as_i64().unwrap();
                            let beside = [number.saturating_sub(1), number.saturating_add(1)];
                            self.longs.extend([number, beside[0], beside[1]]);
                        }
                        ("Value", Value::String(text)) => {
                            let but_last: String =
                                text.chars().take(text.chars().count().max(1) - 1).collect();
                            self.texts.extend([text.clone(), format!("{text}x"), but_last]);
                        }
                        ("pattern", pattern) => self.texts.extend(instances(pattern)),
                        ("decimal", of) => {
                            let value = of[0]["Value"].as_str().and_then(ten_thousandths);
                            self.decimals.extend(value.into_iter().flat_map(|v| [v, v - 1, v + 1]));
                        }
                        ("ip", of) => {
                            self.addresses.extend(around(of[0]["Value"].as_str().unwrap_or("")));
                        }
                        _ => self.collect(of),
                    }
                }
            }
            _ => {}
        }
    }

    /// One request. In some of them all is there, and is what the policy compares it with.
    pub(super) fn roll(&self, dice: &mut Dice, policy: &Translation) -> Sample {
        let Translation { inputs, has_source, .. } = policy;
        let at = dice.pick(&self.places);
        let (all, likely) = (dice.percent(70), dice.percent(50));
        let is_there = |dice: &mut Dice| all || dice.percent(70);
        let source = &self.addresses[dice.roll(self.addresses.len())];
        let source = Some(source.as_str()).filter(|_| *has_source && is_there(dice));
        // Of agents, gatepasses and tasks there are a few, which Cedar reads once.
        let mut scene = Dice::new(dice.roll(SCENES) as u64);
        Sample::with(&mut scene, at, source, |_| {
            let mut made = Inputs::default();
            for (nth, input) in inputs.iter().enumerate() {
                if !is_there(dice) {
                    continue;
                }
                let value = if likely && !input.likely.is_empty() && dice.percent(90) {
                    input.likely[dice.roll(input.likely.len())].clone()
                } else {
                    self.value(dice, input.kind.as_ref())
                };
                let written = cedar(&value, input.kind.as_ref());
                made.in_body(&name(nth), value, &written);
            }
            (Taken::nothing(), made)
        })
    }

    fn value(&self, dice: &mut Dice, kind: Option<&Kind>) -> Value {
        match kind {
            Some(Kind::Boolean) => json!(dice.percent(50)),
            Some(Kind::Long) if dice.percent(10) => json!(dice.pick(LARGE)),
            Some(Kind::Long) => json!(dice.pick(&self.longs)),
            Some(Kind::Decimal) => json!(decimal(dice.pick(&self.decimals))),
            Some(Kind::Set(_)) => {
                let mut texts: Vec<&str> = self.texts.iter().map(String::as_str).collect();
                texts = dice.some(&texts);
                texts.sort_unstable();
                texts.dedup();
                json!(texts)
            }
            _ => json!(self.texts[dice.roll(self.texts.len())]),
        }
    }
}

/// As Cedar writes a value.
fn cedar(value: &Value, kind: Option<&Kind>) -> String {
    match (value, kind) {
        (Value::String(text), Some(Kind::Decimal)) => format!("decimal({})", quoted(text)),
        (Value::String(text), _) => quoted(text),
        (Value::Array(all), _) => {
            let all: Vec<String> = all.iter().map(|one| cedar(one, None)).collect();
            format!("[{}]", all.join(", "))
        }
        (plain, _) => plain.to_string(),
    }
}

/// Texts that a pattern takes, and one that is nearly so.
pub(super) fn instances(pattern: &Value) -> Vec<String> {
    let with = |filling: &str| -> String {
        let parts = pattern.as_array().into_iter().flatten();
        parts.map(|part| part["Literal"].as_str().unwrap_or(filling)).collect()
    };
    let near = with("a");
    let near = near.strip_suffix(|_| true).unwrap_or_default().to_owned();
    vec![with(""), with("a"), with("日/b"), near]
}

fn ten_thousandths(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.')?;
    let fraction: i64 = format!("{fraction:0<4}").parse().ok()?;
    Some(whole.parse::<i64>().ok()? * 10_000 + fraction)
}

fn decimal(value: i64) -> String {
    let (sign, value) = (if value < 0 { "-" } else { "" }, value.abs());
    format!("{sign}{}.{:04}", value / 10_000, value % 10_000)
}

/// The first address of a range, the one before it, and one that is in it or after it.
fn around(range: &str) -> Vec<String> {
    let first = range.split('/').next().unwrap_or_default();
    match first.parse() {
        Ok(IpAddr::V4(address)) => {
            let number = u32::from(address);
            let beside = [number, number.wrapping_sub(1), number.wrapping_add(1 << 16)];
            beside.map(|number| IpAddr::from(number.to_be_bytes()).to_string()).into()
        }
        Ok(IpAddr::V6(address)) => vec![address.to_string()],
        Err(_) => Vec::new(),
    }
}
