//! Medians, spreads and ratios of a run, as JSON, as a table and as a chart.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::load::{Http, Outcome};
use super::rows::Row;
use super::{Failed, QUICK, Setting};

/// One row under one setting.
pub(crate) struct Measured {
    pub(crate) row: Row,
    setting: Setting,
    rounds: Vec<Round>,
    unexpected: u64,
    /// The first answer that was not expected.
    example: Option<String>,
}

/// One round of a row.
pub(crate) struct Round {
    rps: f64,
    /// Microseconds for each request: of Envoy, and of a server that it asks.
    cpu: f64,
    helper: f64,
    /// Microseconds under the open load.
    p50: f64,
    p99: f64,
    p999: f64,
    unexpected: u64,
    example: Option<String>,
}

impl Round {
    pub(crate) fn of(closed: &Outcome, open: &Outcome, cpu: f64, helper: f64) -> Self {
        let answered = closed.answered as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        Self {
            rps: answered / closed.lasted.as_secs_f64(),
            cpu: cpu / answered,
            helper: helper / answered,
            p50: micros(open.per_mille(500)),
            p99: micros(open.per_mille(990)),
            p999: micros(open.per_mille(999)),
            unexpected: closed.unexpected + open.unexpected,
            example: closed.example.clone().or_else(|| open.example.clone()),
        }
    }
}

impl Round {
    pub(crate) fn line(&self) -> String {
        format!("{:.0} requests/s, {:.1} us, p50 {:.0} us", self.rps, self.cpu, self.p50)
    }
}

impl Measured {
    pub(crate) const fn new(row: Row, setting: Setting) -> Self {
        Self { row, setting, rounds: Vec::new(), unexpected: 0, example: None }
    }

    pub(crate) fn add(&mut self, round: Round, counts: bool) {
        self.unexpected += round.unexpected;
        if self.example.is_none() {
            self.example.clone_from(&round.example);
        }
        if counts {
            self.rounds.push(round);
        }
    }

    fn all(&self, of: impl Fn(&Round) -> f64) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let all = self.all(of);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn spread(&self, of: impl Fn(&Round) -> f64) -> (f64, f64) {
        let all = self.all(of);
        (all.first().copied().unwrap_or(f64::NAN), all.last().copied().unwrap_or(f64::NAN))
    }

    fn json(&self) -> Value {
        let void = self.unexpected > 0;
        let figure = |of: &dyn Fn(&Round) -> f64| match void {
            true => Value::Null,
            false => json!(rounded(self.median(of))),
        };
        let spread = |of: &dyn Fn(&Round) -> f64| {
            let (least, most) = self.spread(of);
            json!([rounded(least), rounded(most)])
        };
        json!({
            "name": self.row.name,
            "workers": self.setting.workers,
            "http": match self.setting.http { Http::One => 1, Http::Two => 2 },
            "upstream": self.setting.upstream,
            "rps": figure(&|round| round.rps),
            "cpu_us": figure(&|round| round.cpu),
            "helper_cpu_us": figure(&|round| round.helper),
            "p50_us": figure(&|round| round.p50),
            "p99_us": figure(&|round| round.p99),
            "p999_us": figure(&|round| round.p999),
            "rounds": self.rounds.len(),
            "spread": { "rps": spread(&|round| round.rps), "cpu_us": spread(&|round| round.cpu) },
            "expected": { "status": self.row.expected.status, "text": self.row.expected.text },
            "unexpected": self.unexpected,
            "example": self.example,
        })
    }
}

/// A whole run.
pub(crate) struct Report {
    pub(crate) measured: Vec<Measured>,
    pub(crate) flood: Flood,
    pub(crate) command: String,
}

impl Report {
    pub(crate) fn write(&self, out: &Path) -> Result<(), Failed> {
        std::fs::create_dir_all(out)?;
        let rows: Vec<Value> = self.measured.iter().map(Measured::json).collect();
        let ratios: Vec<Value> = self.ratios().into_iter().map(Ratio::into_json).collect();
        let report = json!({ "command": self.command, "machine": machine(), "rows": rows, "ratios": ratios, "flood": self.flood.json() });
        std::fs::write(out.join("line-rate.json"), serde_json::to_string_pretty(&report)? + "\n")?;
        std::fs::write(out.join("line-rate.svg"), self.chart())?;
        Ok(())
    }

    /// An answer that was not expected makes a row worthless, and with it what it is compared with.
    pub(crate) fn refuse_void(&self) -> Result<(), Failed> {
        for measured in &self.measured {
            if let Some(example) = &measured.example {
                let (name, count) = (measured.row.name, measured.unexpected);
                return Err(
                    format!("`{name}` is void: {count} other answers, such as {example}").into()
                );
            }
        }
        Ok(())
    }

    /// The table of README, between its marks.
    pub(crate) fn write_readme(&self, readme: &Path) -> Result<(), Failed> {
        let text = std::fs::read_to_string(readme)?;
        let (before, rest) = text.split_once(BEGIN).ok_or("README has no mark for the table")?;
        let (_, after) = rest.split_once(END).ok_or("README's table has no end")?;
        std::fs::write(readme, format!("{before}{BEGIN}\n{}{END}{after}", self.table()))?;
        Ok(())
    }

    pub(crate) fn table(&self) -> String {
        let mut out = format!(
            "One worker, HTTP/1.1, direct response; medians of {} rounds (least to most); {}; `{}`.\n\n\
             | | requests/s | CPU µs of Envoy | + of its helper | p50 / p99 / p99.9 µs |\n|---|---|---|---|---|\n",
            self.quick().next().map_or(0, |one| one.rounds.len()),
            cpu(),
            self.command,
        );
        for one in self.quick() {
            if one.unexpected > 0 {
                out += &format!("| `{}` | void | | | |\n", one.row.name);
                continue;
            }
            let (least, most) = one.spread(|round| round.rps);
            let helper = one.median(|round| round.helper);
            out += &format!(
                "| `{}` | {:.0} ({least:.0} to {most:.0}) | {:.1} | {} | {:.0} / {:.0} / {:.0} |\n",
                one.row.name,
                one.median(|round| round.rps),
                one.median(|round| round.cpu),
                if helper > 0.0 { format!("{helper:.1}") } else { String::new() },
                one.median(|round| round.p50),
                one.median(|round| round.p99),
                one.median(|round| round.p999),
            );
        }
        out += &self.flood.line();
        out += "\n| goal | wanted | measured |\n|---|---|---|\n";
        for ratio in self.ratios() {
            out += &format!("| {} | {} | {:.2} |\n", ratio.what, ratio.wanted, ratio.measured);
        }
        out
    }

    fn quick(&self) -> impl Iterator<Item = &Measured> {
        self.measured.iter().filter(|one| one.setting == QUICK)
    }

    fn ratios(&self) -> Vec<Ratio> {
        let rps = |round: &Round| round.rps;
        let cpu = |round: &Round| round.cpu;
        let median = |name: &str, of: &dyn Fn(&Round) -> f64| {
            self.quick().find(|one| one.row.name == name).map_or(f64::NAN, |one| one.median(of))
        };
        let over = |a: &str, b: &str, of: &dyn Fn(&Round) -> f64| median(a, of) / median(b, of);
        let more = |a: &str, b: &str| median(a, &cpu) - median(b, &cpu);
        let ratio = |what, wanted, measured| Ratio { what, wanted, measured };
        vec![
            ratio(
                "fresh, requests/s over `jwt_authn` + `rbac` (EdDSA)",
                "at least 1.8",
                over("gatepass_fresh", "jwt_rbac_fresh_eddsa", &rps),
            ),
            ratio(
                "fresh, CPU over `jwt_authn` + `rbac` (EdDSA)",
                "at most 0.6",
                over("gatepass_fresh", "jwt_rbac_fresh_eddsa", &cpu),
            ),
            ratio(
                "recurring, requests/s over `jwt_authn`'s token cache",
                "at least 1.0",
                over("gatepass_recurring_200", "jwt_rbac_cached_200", &rps),
            ),
            ratio(
                "recurring, CPU µs over the empty filter",
                "at most 6",
                more("gatepass_recurring_200", "wasm_empty"),
            ),
            ratio(
                "fresh, CPU µs over the empty filter",
                "at most 30",
                more("gatepass_fresh", "wasm_empty"),
            ),
            ratio(
                "no credential, CPU over a recurring one",
                "at most 1.0",
                over("gatepass_denied_none", "gatepass_recurring_200", &cpu),
            ),
            ratio(
                "malformed, CPU over a recurring one",
                "at most 1.0",
                over("gatepass_denied_malformed", "gatepass_recurring_200", &cpu),
            ),
            ratio(
                "unknown key, CPU over a recurring one",
                "at most 1.0",
                over("gatepass_denied_key", "gatepass_recurring_200", &cpu),
            ),
            ratio(
                "bad signature, CPU over a fresh one",
                "at most 1.0",
                over("gatepass_denied_signature", "gatepass_fresh", &cpu),
            ),
            ratio(
                "fresh, requests/s over `ext_authz` at equal cores",
                "at least 1.5",
                over("gatepass_fresh", "ext_authz_min", &rps),
            ),
            ratio(
                "fresh, p99 over `ext_authz`",
                "at most 0.5",
                over("gatepass_fresh", "ext_authz_min", &|round| round.p99),
            ),
        ]
    }

    /// Bars of requests a second, as SVG.
    fn chart(&self) -> String {
        let rows: Vec<(&str, f64)> =
            self.quick().map(|one| (one.row.name, one.median(|round| round.rps))).collect();
        let most = rows.iter().map(|(_, rps)| *rps).fold(1.0, f64::max);
        let height = rows.len() * BAR + 40;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <text x=\"8\" y=\"20\">requests/s, one worker, HTTP/1.1, direct response</text>\n",
        );
        for (at, (name, rps)) in rows.iter().enumerate() {
            let (y, width) = (at * BAR + 32, rps / most * 420.0);
            let fill = if name.starts_with("gatepass") { "#1a7f5a" } else { "#9aa4ad" };
            out += &format!(
                "<text x=\"8\" y=\"{}\">{name}</text>\n\
                 <rect x=\"220\" y=\"{y}\" width=\"{width:.0}\" height=\"16\" fill=\"{fill}\"/>\n\
                 <text x=\"{:.0}\" y=\"{}\">{rps:.0}</text>\n",
                y + 13,
                width + 226.0,
                y + 13,
            );
        }
        out + "</svg>\n"
    }
}

/// Recurring gatepasses beside as many connections that send bad signatures as fast as they are answered:
/// requests a second of each, medians.
pub(crate) struct Flood {
    pub(crate) alone: f64,
    pub(crate) beside: f64,
    pub(crate) bad: f64,
}

impl Flood {
    fn json(&self) -> Value {
        let [alone, beside, bad] = [self.alone, self.beside, self.bad].map(rounded);
        json!({ "alone_rps": alone, "beside_rps": beside, "bad_rps": bad })
    }

    fn line(&self) -> String {
        format!(
            "\nA flood of bad signatures ({:.0} a second on as many connections) leaves {:.0} of {:.0} requests/s to \
             recurring gatepasses on the same worker.\n",
            self.bad, self.beside, self.alone,
        )
    }
}

/// A goal with what was measured.
struct Ratio {
    what: &'static str,
    wanted: &'static str,
    measured: f64,
}

impl Ratio {
    fn into_json(self) -> Value {
        json!({ "what": self.what, "wanted": self.wanted, "measured": rounded(self.measured) })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned()
}

pub(crate) fn machine() -> Value {
    json!({
        "cpu": cpu(),
        "cores": super::cores::count(),
        "envoy": gatepass_envoy::ENVOY_VERSION,
    })
}

const BEGIN: &str = "<!-- line-rate: written by the benchmark -->";
const END: &str = "<!-- end of line-rate -->";
const BAR: usize = 24;
