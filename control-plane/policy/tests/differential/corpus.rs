//! Cedar's own corpus: the policies that its crates have in their packages, in our own world and beside Cedar
//! itself.
//!
//! They are about entities of other schemas. So each is translated by its syntax alone: `resource.owner.age > 17`
//! asks an input, `User::"alice"` is an agent. What it says of them, and how, is Cedar's.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::str::FromStr;

use cedar_policy::{Effect as CedarEffect, Policy, PolicySet};
use gatepass_engine::bundle::Bundle;
use gatepass_engine::policy::{Effect, Outcome, Program, Rules};
use gatepass_policy::cedar::{self, Note};

use self::request::Pool;
use crate::dice::Dice;
use crate::expected::{Asked, compare};
use crate::oracle::{Answer, Known, Oracle, Question, Truth, together};
use crate::request::Sample;
use files::File;
use translate::{Input, Translation};

mod expression;
mod files;
mod kinds;
mod request;
mod translate;
mod world;

/// What came of it.
#[derive(Debug, Default)]
struct Counts {
    files: u64,
    /// Without templates.
    policies: u64,
    templates: u64,
    /// Statements that Cedar's own parser does not take.
    unparsed: u64,
    translated: u64,
    compiled: u64,
    /// Of those that compile: they were seen to hold and not to hold.
    both_ways: u64,
    refused: u64,
    verdicts: u64,
    permitted: u64,
    forbidden: u64,
    not_permitted: u64,
    /// Cedar says of the policy that it is an error.
    erred: u64,
    reasons: BTreeMap<String, u64>,
}

#[test]
fn cedars_own_policies_are_decided_as_cedar_decides_them() {
    let seed = std::env::var("GATEPASS_SEED").ok().and_then(|text| text.parse().ok());
    let known = Known::default();
    let mut corpus = Corpus {
        seed: seed.unwrap_or(0),
        known: &known,
        worlds: BTreeMap::new(),
        counts: Counts::default(),
    };
    let empty = world::bundle(&[]);
    for file in files::all() {
        corpus.counts.files += 1;
        check_as_it_is(&file, &empty);
        corpus.run(&file);
    }
    let counts = corpus.counts;
    println!("{counts:#?}");
    // What the crates of the lock file have. Others may have more; less is not looked at unseen.
    assert!(counts.files >= 51 && counts.policies >= 126, "{counts:?}");
    assert!(counts.unparsed <= 42 && counts.templates == 0, "{counts:?}");
    assert!(counts.translated == counts.policies && counts.refused <= 14, "{counts:?}");
    assert!(counts.compiled >= 112 && counts.compiled + counts.refused == counts.translated);
    assert_eq!(counts.verdicts, counts.compiled * REQUESTS);
    assert!(counts.permitted > 0 && counts.forbidden > 0 && counts.not_permitted > 0);
    assert!(counts.erred > 0, "{counts:?}");
    assert!(seed.is_some() || counts.both_ways >= BOTH_WAYS, "{counts:?}");
}

/// A bundle, and all that are asked of it.
struct World<'k> {
    bundle: Bundle,
    oracle: Oracle<'k>,
    /// For policies that ask of a request only who goes where: the same for all.
    plain: OnceCell<Rc<Vec<(Sample, Question)>>>,
}

struct Corpus<'k> {
    seed: u64,
    known: &'k Known,
    /// By the types of their inputs.
    worlds: BTreeMap<Vec<&'static str>, Rc<World<'k>>>,
    counts: Counts,
}

impl<'k> Corpus<'k> {
    fn run(&mut self, file: &File) {
        let mut found = 0;
        for statement in files::statements(&file.text) {
            let Ok(set) = PolicySet::from_str(statement) else {
                self.counts.unparsed += 1;
                continue;
            };
            self.counts.templates += set.templates().count() as u64;
            for policy in set.policies() {
                found += 1;
                self.policy(policy, &format!("{}, policy {found}", file.name));
            }
        }
        self.counts.policies += found;
        if let Ok(whole) = PolicySet::from_str(&file.text) {
            assert_eq!(whole.policies().count() as u64, found, "{}", file.name);
        }
    }

    fn policy(&mut self, policy: &Policy, place: &str) {
        let json = policy.to_json().unwrap();
        let pool = Pool::of(&json["conditions"]);
        let mut translation = Translation::default();
        let translated = Policy::from_json(None, translation.policy(json))
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        self.counts.translated += 1;
        // What has no place would be told of the first line.
        let text = format!("// {place}\n{}", translated.to_cedar().unwrap());
        let types: Vec<&str> = translation.inputs.iter().map(Input::type_name).collect();
        let world = self.world(types);
        let program = match cedar::compile(&[(RULES, &text)], &world.bundle) {
            Ok((program, _)) => program,
            Err(notes) => return self.refuse(&text, &notes),
        };
        self.counts.compiled += 1;
        let of_cedar = match policy.effect() {
            CedarEffect::Permit => Effect::Permit,
            CedarEffect::Forbid => Effect::Forbid,
        };
        assert_eq!(program.rules[0].effect, of_cedar, "{text}");
        let mut dice = Dice::new(self.seed.wrapping_mul(10_000).wrapping_add(self.counts.compiled));
        let mut made = || {
            let mut asked = Vec::new();
            for _ in 0..REQUESTS {
                let sample = pool.roll(&mut dice, &translation);
                let question = world.oracle.question(&sample);
                asked.push((sample, question));
            }
            Rc::new(asked)
        };
        let is_plain = translation.inputs.is_empty() && !translation.has_source;
        let requests = if is_plain { Rc::clone(world.plain.get_or_init(made)) } else { made() };
        self.decide(&world, &program, &text, &requests);
    }

    fn decide(
        &mut self,
        world: &World<'_>,
        program: &Program,
        text: &str,
        requests: &[(Sample, Question)],
    ) {
        let rules = read(program, world.bundle.actions.len());
        let effect = program.rules[0].effect;
        let alone = together([(0, text)].into_iter());
        let (mut holds, mut holds_not) = (false, false);
        for (sample, question) in requests {
            let answer = world.oracle.answer(&alone, question);
            let truth = truth(&answer);
            let action = u32::try_from(sample.at.action).unwrap();
            let (verdict, before) = sample.read(&world.bundle, &rules, |facts, before| {
                (rules.decide(action, facts), rules.decide(action, before))
            });
            let asked = Asked { number: 0, effect, shadow: false, truth };
            let mut agree = compare(&verdict, &[asked], &answer);
            let permitted = verdict.outcome == Outcome::Permitted;
            if permitted && before.outcome != Outcome::Permitted {
                agree = Err(format!("{before:?} before there is a request, and permitted then"));
            }
            if let Err(what) = agree {
                let seed = self.seed;
                panic!("GATEPASS_SEED={seed}\n{text}\n\n{}\n\n{what}", sample.shown());
            }
            holds |= truth == Truth::Holds;
            holds_not |= truth == Truth::HoldsNot;
            self.counts.verdicts += 1;
            match verdict.outcome {
                Outcome::Permitted => self.counts.permitted += 1,
                Outcome::Forbidden => self.counts.forbidden += 1,
                Outcome::NotPermitted => self.counts.not_permitted += 1,
                Outcome::ForbidFailed(_) | Outcome::PermitFailed(_) => self.counts.erred += 1,
            }
        }
        self.counts.both_ways += u64::from(holds && holds_not);
    }

    fn world(&mut self, types: Vec<&'static str>) -> Rc<World<'k>> {
        let world = self.worlds.entry(types.clone()).or_insert_with(|| {
            let bundle = world::bundle(&types);
            let oracle = Oracle::new(&cedar::schema(&bundle).unwrap().text, self.known);
            Rc::new(World { bundle, oracle, plain: OnceCell::new() })
        });
        Rc::clone(world)
    }

    fn refuse(&mut self, text: &str, notes: &[Note]) {
        check_notes(RULES, text, notes);
        self.counts.refused += 1;
        let errors = notes.iter().filter(|note| note.is_error);
        let first = errors.map(|note| (note.line, note.column, &note.message)).min();
        *self.counts.reasons.entry(first.unwrap().2.clone()).or_default() += 1;
    }
}

/// Of what is refused, each error has a place and says something.
fn check_notes(file: &str, text: &str, notes: &[Note]) {
    let errors: Vec<&Note> = notes.iter().filter(|note| note.is_error).collect();
    assert!(!errors.is_empty(), "{notes:?}\n{text}");
    for note in errors {
        let line = usize::try_from(note.line).unwrap();
        let of_line = text.split('\n').nth(line - 1).map(|line| line.chars().count() as u64);
        let is_there = of_line.is_some_and(|length| (1..=length + 1).contains(&note.column));
        let is_told = note.file == file && !note.message.is_empty();
        assert!(line > 1 && is_there && is_told, "{note:?}\n{text}");
    }
}

/// As it stands in the crate: a program, or notes with their places; laid out, it says the same.
fn check_as_it_is(file: &File, bundle: &Bundle) {
    let text = format!("\n{}", file.text);
    let sources = [(file.name.as_str(), text.as_str())];
    match cedar::compile(&sources, bundle) {
        Ok((program, _)) => drop(read(&program, bundle.actions.len())),
        Err(notes) => check_notes(&file.name, &text, &notes),
    }
    match (cedar::conditions(&sources), cedar::formatted(&file.name, &text)) {
        (Ok(conditions), Ok(laid_out)) => {
            let again = cedar::conditions(&[(file.name.as_str(), laid_out.as_str())]);
            assert_eq!(again, Ok(conditions), "{laid_out}");
        }
        (Err(notes), Err(note)) => {
            check_notes(&file.name, &text, &notes);
            assert!(!note.message.is_empty(), "{}", file.name);
        }
        (parsed, laid_out) => panic!("{}: {parsed:?}, {laid_out:?}", file.name),
    }
}

/// Of the one policy that was asked.
fn truth(answer: &Answer) -> Truth {
    match (answer.reasons.is_empty(), answer.errors.is_empty()) {
        (false, true) => Truth::Holds,
        (true, true) => Truth::HoldsNot,
        (true, false) => Truth::Fails,
        (false, false) => panic!("a policy that holds and fails: {answer:?}"),
    }
}

/// A program survives its encoding.
fn read(program: &Program, actions: usize) -> Rules {
    let bytes = postcard::to_allocvec(program).unwrap();
    Rules::read(&bytes, actions).unwrap()
}

const RULES: &str = "rules.cedar";
/// Of each policy.
const REQUESTS: u64 = 200;
/// With the seed that is not chosen.
const BOTH_WAYS: u64 = 83;
