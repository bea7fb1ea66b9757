//! One round: rules are written and compiled, and held against requests, each alone and several together.

use std::collections::BTreeMap;

use cedar_policy::PolicySet;
use gatepass_engine::bundle::Bundle;
use gatepass_engine::policy::{Applies, Effect, Outcome, Program, Rules, Stop};
use gatepass_policy::cedar;

use crate::dice::Dice;
use crate::expected::{Asked, compare};
use crate::oracle::{Known, Oracle, Truth, together};
use crate::pools::{ACTIONS, POLICY};
use crate::request::Sample;
use crate::writer::Writer;

/// What is the same in all rounds.
pub(crate) struct World<'k> {
    bundle: Bundle,
    oracle: Oracle<'k>,
}

/// What came of rounds.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Rules.
    pub(crate) written: u64,
    /// By the validator, or because the engine does not have them.
    pub(crate) refused: u64,
    /// Rules alone, each for a request.
    pub(crate) alone: u64,
    pub(crate) alone_hold: u64,
    pub(crate) alone_fail: u64,
    /// Of several rules together, each for a request.
    pub(crate) verdicts: u64,
    pub(crate) permitted: u64,
    pub(crate) forbidden: u64,
    /// Denied for a `forbid` that is an error, where Cedar goes on.
    pub(crate) forbid_failed: u64,
    pub(crate) not_permitted: u64,
    pub(crate) permit_failed: u64,
    /// Some rule is an error, whatever comes of it.
    pub(crate) failing: u64,
    /// Permitted before there is a request, where it is denied once there is one.
    pub(crate) permitted_before: u64,
}

impl Counts {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.refused += other.refused;
        self.alone += other.alone;
        self.alone_hold += other.alone_hold;
        self.alone_fail += other.alone_fail;
        self.verdicts += other.verdicts;
        self.permitted += other.permitted;
        self.forbidden += other.forbidden;
        self.forbid_failed += other.forbid_failed;
        self.not_permitted += other.not_permitted;
        self.permit_failed += other.permit_failed;
        self.failing += other.failing;
        self.permitted_before += other.permitted_before;
    }
}

impl<'k> World<'k> {
    pub(crate) fn new(known: &'k Known) -> Self {
        let bundle = gatepass_policy::compile(POLICY)
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .bundle;
        let names: Vec<&str> = bundle.actions.iter().map(|action| action.name.as_str()).collect();
        assert_eq!(names, ACTIONS);
        let schema = cedar::schema(&bundle).unwrap();
        Self { oracle: Oracle::new(&schema.text, known), bundle }
    }
}

/// Everything of one seed.
pub(crate) struct Round {
    seed: u64,
    dice: Dice,
    counts: Counts,
}

/// A rule that is compiled, beside what Cedar has of it.
struct Rule {
    text: String,
    cedar: PolicySet,
    /// Alone in a program, and enforced.
    alone: Rules,
}

/// Several rules in one program.
struct Chosen {
    numbers: Vec<usize>,
    /// Those that are not in shadow.
    cedar: PolicySet,
    rules: Rules,
}

impl Round {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, dice: Dice::new(seed), counts: Counts::default() }
    }

    pub(crate) fn run(mut self, world: &World<'_>) -> Counts {
        let (program, texts) = self.compiled(&world.bundle);
        let rules: Vec<Rule> = texts
            .into_iter()
            .enumerate()
            .map(|(number, text)| Rule {
                cedar: together([(number, text.as_str())].into_iter()),
                alone: alone(&program, number),
                text,
            })
            .collect();
        let chosen: Vec<Chosen> = (0..SETS).map(|_| self.choose(&program, &rules)).collect();
        for _ in 0..REQUESTS {
            let sample = Sample::roll(&mut self.dice, &world.bundle);
            let question = world.oracle.question(&sample);
            let truths: Vec<Truth> =
                rules.iter().map(|rule| world.oracle.truth(&rule.cedar, &question)).collect();
            for (number, (rule, truth)) in rules.iter().zip(&truths).enumerate() {
                self.check_alone(world, &sample, rule, program.rules[number].effect, *truth);
            }
            for chosen in &chosen {
                let answer = world.oracle.answer(&chosen.cedar, &question);
                let asked: Vec<Asked> = chosen
                    .numbers
                    .iter()
                    .map(|number| Asked {
                        number: *number,
                        effect: program.rules[*number].effect,
                        shadow: program.rules[*number].shadow,
                        truth: truths[*number],
                    })
                    .collect();
                let (verdict, before) =
                    sample.read(&world.bundle, &chosen.rules, |facts, before| {
                        let action = u32::try_from(sample.at.action).unwrap();
                        (chosen.rules.decide(action, facts), chosen.rules.decide(action, before))
                    });
                let agree = compare(&verdict, &asked, &answer);
                let permitted = verdict.outcome == Outcome::Permitted;
                let may = before.outcome == Outcome::Permitted;
                if let Err(what) = agree {
                    self.fail(&sample, &texts_of(&rules, &chosen.numbers), &what);
                }
                if permitted && !may {
                    let what = format!("{before:?} before there is a request, and permitted then");
                    self.fail(&sample, &texts_of(&rules, &chosen.numbers), &what);
                }
                self.count(
                    verdict.outcome,
                    may,
                    asked.iter().any(|rule| rule.truth == Truth::Fails),
                );
            }
        }
        self.counts
    }

    /// Rules that are valid, in one program. Each is in a file of its own, so that those that are not can be told.
    fn compiled(&mut self, bundle: &Bundle) -> (Program, Vec<String>) {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for nth in 0..RULES {
            let text = Writer::new(&mut self.dice).rule(&format!("rule-{nth}"));
            files.insert(format!("{nth:03}.cedar"), text);
        }
        self.counts.written += files.len() as u64;
        loop {
            let sources: Vec<(&str, &str)> =
                files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
            match cedar::compile(&sources, bundle) {
                Ok((program, _)) => {
                    self.counts.refused += (RULES - files.len()) as u64;
                    let bytes = postcard::to_allocvec(&program).unwrap();
                    assert_eq!(postcard::from_bytes::<Program>(&bytes).as_ref(), Ok(&program));
                    Rules::read(&bytes, bundle.actions.len()).unwrap();
                    return (program, files.into_values().collect());
                }
                Err(notes) => {
                    let before = files.len();
                    for note in notes.iter().filter(|note| note.is_error) {
                        if std::env::var_os("REFUSED").is_some() {
                            println!("{}:{}: {}", note.line, note.column, note.message);
                            println!("{}", files.get(&note.file).map_or("", String::as_str));
                        }
                    }
                    files.retain(|file, _| !notes.iter().any(|n| n.is_error && n.file == *file));
                    // Of those that are too long only together, the last goes.
                    if notes.iter().any(|n| n.message.ends_with("steps together")) {
                        files.pop_last();
                    }
                    assert!(files.len() < before, "seed {}: {notes:?}", self.seed);
                }
            }
        }
    }

    fn choose(&mut self, program: &Program, rules: &[Rule]) -> Chosen {
        let count = 1 + self.dice.roll(7);
        let mut numbers: Vec<usize> = (0..count).map(|_| self.dice.roll(rules.len())).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let enforced = numbers.iter().filter(|number| !program.rules[**number].shadow);
        Chosen {
            cedar: together(enforced.map(|number| (*number, rules[*number].text.as_str()))),
            rules: only(program.clone(), &numbers),
            numbers,
        }
    }

    fn check_alone(
        &mut self,
        world: &World<'_>,
        sample: &Sample,
        rule: &Rule,
        effect: Effect,
        truth: Truth,
    ) {
        let verdict = sample.read(&world.bundle, &rule.alone, |facts, _| {
            rule.alone.decide(u32::try_from(sample.at.action).unwrap(), facts)
        });
        let ours = match (effect, verdict.outcome) {
            (Effect::Permit, Outcome::Permitted) | (Effect::Forbid, Outcome::Forbidden) => {
                Truth::Holds
            }
            (Effect::Permit, Outcome::PermitFailed(Stop::Overflow))
            | (Effect::Forbid, Outcome::ForbidFailed(Stop::Overflow)) => Truth::Fails,
            (_, Outcome::NotPermitted) => Truth::HoldsNot,
            (_, other) => self.fail(sample, &rule.text, &format!("{other:?}, Cedar: {truth:?}")),
        };
        if ours != truth {
            self.fail(sample, &rule.text, &format!("the engine: {ours:?}, Cedar: {truth:?}"));
        }
        self.counts.alone += 1;
        self.counts.alone_hold += u64::from(truth == Truth::Holds);
        self.counts.alone_fail += u64::from(truth == Truth::Fails);
    }

    const fn count(&mut self, outcome: Outcome, may: bool, fails: bool) {
        let counts = &mut self.counts;
        counts.verdicts += 1;
        let of = match outcome {
            Outcome::Permitted => &mut counts.permitted,
            Outcome::Forbidden => &mut counts.forbidden,
            Outcome::ForbidFailed(_) => &mut counts.forbid_failed,
            Outcome::NotPermitted => &mut counts.not_permitted,
            Outcome::PermitFailed(_) => &mut counts.permit_failed,
        };
        *of += 1;
        counts.failing += fails as u64;
        counts.permitted_before += (may && !matches!(outcome, Outcome::Permitted)) as u64;
    }

    fn fail(&self, sample: &Sample, rules: &str, what: &str) -> ! {
        panic!("GATEPASS_SEED={}\n{rules}\n\n{}\n\n{what}", self.seed, sample.shown());
    }
}

fn texts_of(rules: &[Rule], numbers: &[usize]) -> String {
    let texts: Vec<String> =
        numbers.iter().map(|number| format!("// {number}\n{}", rules[*number].text)).collect();
    texts.join("\n")
}

/// A program with these of its rules.
fn only(mut program: Program, numbers: &[usize]) -> Rules {
    for Applies { rules } in &mut program.actions {
        rules.retain(|rule| numbers.contains(&(*rule as usize)));
    }
    Rules::check(program, ACTIONS.len()).unwrap()
}

fn alone(program: &Program, number: usize) -> Rules {
    let mut program = program.clone();
    program.rules[number].shadow = false;
    only(program, &[number])
}

/// Rules of a round.
const RULES: usize = 48;
/// Sets of rules that are decided together.
const SETS: usize = 25;
const REQUESTS: usize = 20;
