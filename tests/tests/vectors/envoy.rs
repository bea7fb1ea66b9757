//! Cases through a real Envoy: the same scenes at the present time, each state of a gate behind a
//! listener of its own, the feed's answers said by a feed that says what it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepass_envoy::{Bootstrap, Envoy, Gate, Listener, Mode, PluginConfig, Roots, Settings};
use gatepass_tests::kit::hostile::{Answer, HostileFeed, Poll};
use gatepass_tests::kit::orders::HOST;
use gatepass_tests::kit::wire::{Connection, Response, request};
use gatepass_tests::kit::{filter, world};

use crate::case::{Book, Case, NOW, Verdict};
use crate::feeds::{self, At, FeedBook, FeedCase, FeedVerdict};
use crate::format::{GateConfiguration, RequestVector};
use crate::gatepasses;
use crate::message::FLEET;

/// A listener with a gate, named like its feed audience.
struct Gated {
    audience: String,
    what: Scenes,
}

/// What its gate hears.
enum Scenes {
    /// Gatepass cases of one state: families and places in them.
    Gatepasses(Vec<(usize, usize)>),
    /// A feed case: book and place in it.
    Feed(usize, usize),
}

struct Play {
    book: Book,
    feeds: [FeedBook; 3],
    gates: Vec<Gated>,
}

/// What the feed has told an audience so far.
#[derive(Default)]
struct Told {
    /// It is this gate's turn to hear something: what it heard long ago would be stale.
    turn: bool,
    /// The time that its scenes are of.
    start: Option<u64>,
    /// How often it has said what it has to say last, and to which VM.
    said_to: Vec<String>,
    /// The poll that waits until the worker has answered from what came before the last answer.
    waits: Option<Instant>,
    in_service: bool,
    /// The newest poll.
    last: Option<Poll>,
    /// The poll that shows that all of it was heard.
    heard: Option<Poll>,
}

impl Told {
    /// Whether a VM asks that was not told the last answer but knows of it: what comes before it
    /// was refused there.
    fn is_refused_after_the_last(&self, poll: &Poll) -> bool {
        !self.said_to.is_empty() && !poll.header("x-gatepass-refusal").is_empty()
    }
}

type Tellings = Arc<Mutex<BTreeMap<String, Told>>>;

fn now() -> u64 {
    world::now().0
}

impl Play {
    fn new() -> Self {
        let (book, feeds) = (gatepasses::book(), feeds::books());
        let mut states: BTreeMap<String, Vec<(usize, usize)>> = BTreeMap::new();
        for (family, cases) in book.families.iter().enumerate() {
            for (place, case) in cases.cases.iter().enumerate().filter(|(_, case)| case.live) {
                let scene = book.scene(case, NOW, FLEET);
                let state = (scene.configuration(), scene.feed(), scene.now - scene.start);
                states.entry(format!("{state:?}")).or_default().push((family, place));
            }
        }
        let mut what: Vec<Scenes> = states.into_values().map(Scenes::Gatepasses).collect();
        for (nth, book) in feeds.iter().enumerate() {
            let live = book.cases.iter().enumerate().filter(|(_, case)| case.live);
            what.extend(live.map(|(place, _)| Scenes::Feed(nth, place)));
        }
        let gates = what.into_iter().enumerate();
        let gates =
            gates.map(|(nth, what)| Gated { audience: format!("gate{nth}"), what }).collect();
        Self { book, feeds, gates }
    }

    fn case(&self, (family, place): (usize, usize)) -> &Case {
        &self.book.families[family].cases[place]
    }

    fn feed_case(&self, book: usize, place: usize) -> (&FeedBook, &FeedCase) {
        let book = &self.feeds[book];
        (book, &book.cases[place])
    }

    fn configuration(&self, gated: &Gated, start: u64) -> GateConfiguration {
        match &gated.what {
            Scenes::Gatepasses(cases) => {
                let case = self.case(cases[0]);
                self.book.scene(case, start, &gated.audience).configuration()
            }
            Scenes::Feed(book, place) => {
                let (book, case) = self.feed_case(*book, *place);
                book.scene(case, start, &gated.audience).configuration()
            }
        }
    }

    /// Seconds from what the gate hears first to what is asked of it.
    fn span(&self, gated: &Gated) -> u64 {
        match &gated.what {
            Scenes::Gatepasses(cases) => {
                let scene = self.book.scene(self.case(cases[0]), NOW, &gated.audience);
                scene.now - scene.start
            }
            Scenes::Feed(book, place) => {
                let (book, case) = self.feed_case(*book, *place);
                let scene = book.scene(case, NOW, &gated.audience);
                scene.now - scene.start
            }
        }
    }

    fn name(&self, gated: &Gated) -> &str {
        match &gated.what {
            Scenes::Gatepasses(cases) => &self.case(cases[0]).name,
            Scenes::Feed(book, place) => &self.feed_case(*book, *place).1.name,
        }
    }

    fn find(&self, audience: &str) -> Option<&Gated> {
        self.gates.iter().find(|gated| gated.audience == audience)
    }

    /// Answers a poll. An answer to a VM that no longer leads is lost, so what was said is said
    /// again until a poll shows that it was heard.
    fn say(&self, poll: &Poll, tellings: &Tellings) -> Answer {
        let audience = poll.parameter("audience").unwrap_or_default();
        let Some(gated) = self.find(audience) else { return Answer::status(404, b"") };
        let mut tellings = tellings.lock().unwrap_or_else(PoisonError::into_inner);
        let told = tellings.entry(audience.to_owned()).or_default();
        told.last = Some(poll.clone());
        // Asked again every few milliseconds: scenes are signed only for what is new.
        let waits = told.waits == Some(poll.at) && !told.in_service;
        if !told.turn || told.heard.is_some() || waits {
            return Answer::Later;
        }
        let start = *told.start.get_or_insert_with(|| now() - self.span(gated));
        let vm = poll.header("x-gatepass-vm").to_owned();
        let was_told = told.said_to.contains(&vm);
        let (first, last, heard) = match &gated.what {
            Scenes::Gatepasses(cases) => {
                let case = self.case(cases[0]);
                let scene = self.book.scene(case, start, audience);
                let refusal = poll.header("x-gatepass-refusal");
                let feed = scene.feed();
                let heard = was_told && (poll.after().is_some() || !refusal.is_empty());
                (None, feed.clone(), heard || feed.is_none())
            }
            Scenes::Feed(book, place) => {
                let (book, case) = self.feed_case(*book, *place);
                let scene = book.scene(case, start, audience);
                let begins = poll.after().map(|at| [at.epoch, at.sequence]);
                if begins == scene.before.position && begins.is_some() && !told.in_service {
                    told.waits = Some(poll.at);
                    return Answer::Later;
                }
                let moves = case.verdict.as_str() == "moved";
                let first = match begins == scene.before.position {
                    true => None,
                    // After a new root a leader asks for a new base, signed under it; so does one
                    // that took over and found in shared data what another was told.
                    false if moves && (was_told || told.is_refused_after_the_last(poll)) => {
                        Some(scene.base())
                    }
                    false => scene.answers().into_iter().next(),
                };
                let heard = was_told && self.is_heard(gated, poll);
                (first, Some(scene.feed()), heard)
            }
        };
        if heard {
            told.heard = Some(poll.clone());
            return Answer::Later;
        }
        match (first, last) {
            (Some(first), _) => Answer::Body(first),
            (None, Some(last)) => {
                told.said_to.push(vm);
                Answer::Body(last)
            }
            (None, None) => Answer::Later,
        }
    }

    /// Whether the poll of a VM that was told everything shows what it must show.
    fn is_heard(&self, gated: &Gated, poll: &Poll) -> bool {
        let Scenes::Feed(book, place) = &gated.what else { return true };
        let (book, case) = self.feed_case(*book, *place);
        let scene = book.scene(case, NOW, &gated.audience);
        let after = case.verdict.after(&scene).position;
        match case.verdict.as_str() {
            "moved" => poll.after().map(|at| [at.epoch, at.sequence]) == after,
            // Nothing in a poll shows them; the position does, afterwards.
            "renewed" | "known" => true,
            "gap" if matches!(case.verdict, FeedVerdict::Refused { at: At::Batch, .. }) => true,
            code => poll.header("x-gatepass-refusal") == code,
        }
    }
}

/// All gates behind one Envoy.
struct Live {
    play: Arc<Play>,
    tellings: Tellings,
    envoy: Envoy,
}

impl Live {
    fn start() -> Self {
        let play = Arc::new(Play::new());
        let tellings = Tellings::default();
        let (says, told) = (Arc::clone(&play), Arc::clone(&tellings));
        let feed = HostileFeed::start(move |poll| says.say(poll, &told)).unwrap();
        let wasm = filter::path().unwrap();
        // Scores of gates on a machine that may be busy with other tests.
        let settings = Settings { workers: 1, ready_within: 3 * PATIENCE, ..Settings::default() };
        let mut bootstrap = Bootstrap::new().feed(feed.address()).settings(settings);
        for gated in &play.gates {
            let plugin = plugin(&play.configuration(gated, now()));
            let gate = Gate::new(&wasm, &plugin).vm_id("vectors");
            let listener = Listener::responding(&gated.audience, 200, "");
            bootstrap = bootstrap.listener(listener.without_path_normalization().gate(gate));
        }
        let envoy = Envoy::launch(&bootstrap).unwrap();
        Self { play, tellings, envoy }
    }

    /// Waits until the gate has heard everything, and gives the poll that shows it.
    fn heard(&self, gated: &Gated) -> Poll {
        self.with_told(gated, |told| told.turn = true);
        self.serve(gated);
        self.with_told(gated, |told| told.in_service = true);
        let start = Instant::now();
        loop {
            let (heard, last) =
                self.with_told(gated, |told| (told.heard.clone(), told.last.clone()));
            if let Some(poll) = heard {
                return poll;
            }
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "`{}` shows nothing: {last:?}", self.play.name(gated));
            std::thread::yield_now();
        }
    }

    /// Has the worker answer from what the gate of a feed case heard before the last answer.
    fn serve(&self, gated: &Gated) {
        let Scenes::Feed(book, place) = &gated.what else { return };
        let (book, case) = self.play.feed_case(*book, *place);
        let before = book.scene(case, NOW, &gated.audience).before.position;
        let start = Instant::now();
        while before.is_some() && self.position(gated) != text(before) {
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "`{}` never serves", self.play.name(gated));
        }
    }

    fn with_told<T>(&self, gated: &Gated, act: impl FnOnce(&mut Told) -> T) -> T {
        let mut tellings = self.tellings.lock().unwrap_or_else(PoisonError::into_inner);
        act(tellings.entry(gated.audience.clone()).or_default())
    }

    /// What a denial's answer says of the worker's position.
    fn position(&self, gated: &Gated) -> String {
        let response = self.ask(gated, &request("GET", HOST, "/orders", &[]));
        response.header("x-gatepass-position").unwrap_or_default().to_owned()
    }

    fn ask(&self, gated: &Gated, bytes: &[u8]) -> Response {
        let address = self.envoy.address(&gated.audience).unwrap();
        Connection::open(address).unwrap().exchange(bytes).unwrap()
    }
}

fn plugin(gate: &GateConfiguration) -> PluginConfig {
    let roots = Roots {
        keys: gate.roots.keys.clone(),
        threshold: u32::try_from(gate.roots.threshold).unwrap(),
    };
    let mut plugin = PluginConfig::new(&gate.environment, &gate.feed_audience, roots);
    plugin.min_root_version = gate.min_root_version;
    plugin.baseline = gate.baseline.as_ref().map(|baseline| baseline.0.clone());
    plugin.mode = if gate.mode == "shadow" { Mode::Shadow } else { Mode::Enforce };
    // What may be held is told at once.
    plugin.hold_ms = 0;
    plugin.expose_position = true;
    plugin
}

/// As a test's answer carries it.
fn text(position: Option<[u64; 2]>) -> String {
    match position {
        Some([epoch, sequence]) => format!("{epoch}.{sequence}"),
        None => "none".to_owned(),
    }
}

/// The bytes of a request whose headers are the vector's.
fn http1(vector: &RequestVector) -> Vec<u8> {
    let values: Vec<(&str, String)> = vector
        .headers
        .iter()
        .map(|header| (header.name.as_str(), String::from_utf8(header.bytes()).unwrap()))
        .collect();
    let value = |name: &str| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let others: Vec<(&str, &str)> = values
        .iter()
        .filter(|(name, _)| !name.starts_with(':'))
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    request(value(":method"), value(":authority"), value(":path"), &others)
}

#[test]
fn a_real_envoy_decides_as_the_files_say() {
    let live = Live::start();
    let (mut gatepasses, mut feeds) = (0, 0);
    let mut wrong = Vec::new();
    for gated in &live.play.gates {
        let last = live.heard(gated);
        match &gated.what {
            Scenes::Gatepasses(cases) => {
                for case in cases.iter().map(|case| live.play.case(*case)) {
                    gatepasses += 1;
                    let start = now() - live.play.span(gated);
                    let scene = live.play.book.scene(case, start, &gated.audience);
                    let got = live.ask(gated, &http1(&scene.request())).verdict();
                    let expected = match &case.verdict {
                        Verdict::Allow(_) => "200".to_owned(),
                        Verdict::Deny { code, .. } => format!("{} {code}", code.status()),
                    };
                    if got != expected {
                        wrong.push(format!("{}: expected `{expected}`, got `{got}`", case.name));
                    }
                }
            }
            Scenes::Feed(book, place) => {
                feeds += 1;
                let (book, case) = live.play.feed_case(*book, *place);
                let scene = book.scene(case, NOW, &gated.audience);
                let expected = case.verdict.as_str();
                let position = text(case.verdict.after(&scene).position);
                let at = live.position(gated);
                if at != position {
                    let (folder, name) = (book.folder, &case.name);
                    let refusal = last.header("x-gatepass-refusal");
                    wrong.push(format!(
                        "{folder} {name}: expected `{expected}` at {position}, got `{refusal}` at {at}"
                    ));
                }
            }
        }
    }
    crate::report(&wrong);
    assert!(gatepasses >= 60 && feeds >= 30, "{gatepasses} gatepasses, {feeds} feed answers");
    let stats = live.envoy.stats().unwrap();
    let crashed = |(name, count): &(&String, &u64)| name.contains("vm_reload") && **count > 0;
    assert_eq!(stats.iter().find(crashed), None);
}

const PATIENCE: Duration = Duration::from_secs(60);
