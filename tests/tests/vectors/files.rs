//! The files of `tests/vectors`: what they must hold, and reading them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use gatepass_engine::denial::Code;
use gatepass_engine::refusal::RefusalCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::feeds;
use crate::format::{FeedVector, GatepassVector};
use crate::gatepasses::{self, NOT_REACHABLE};

/// Set it to write the files instead of comparing them; then read the diff.
const REGENERATE: &str = "GATEPASS_REGENERATE";
pub(crate) const GATEPASSES: &str = "gatepasses";
pub(crate) const FEEDS: [&str; 3] = ["roots", "envelopes", "batches"];
/// Bytes of all files.
const MOST: usize = 3 << 20;

/// Writes the files, or holds them against what would be written.
pub(crate) fn hold() {
    let wanted = wanted();
    if std::env::var_os(REGENERATE).is_some() {
        for folder in FEEDS.into_iter().chain([GATEPASSES]) {
            let folder = top().join(folder);
            // Names change with their cases.
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
        }
        for (name, text) in &wanted {
            std::fs::write(top().join(name), text).unwrap();
        }
        return;
    }
    let present: BTreeSet<String> = FEEDS
        .into_iter()
        .chain([GATEPASSES])
        .flat_map(|folder| stems(folder).into_iter().map(move |stem| format!("{folder}/{stem}")))
        .map(|stem| format!("{stem}.json"))
        .collect();
    let mut wrong: Vec<String> = present
        .iter()
        .filter(|name| !wanted.contains_key(*name))
        .map(|name| format!("{name} is of no case"))
        .collect();
    for (name, text) in &wanted {
        match std::fs::read_to_string(top().join(name)) {
            Ok(committed) if committed == *text => {}
            Ok(_) => wrong.push(format!("{name} differs")),
            Err(_) => wrong.push(format!("{name} is missing")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} files are not what the cases make. If the change is meant, run the test again \
         with {REGENERATE}=1 and commit the files:\n{}",
        wrong.len(),
        wanted.len(),
        wrong.join("\n")
    );
    assert!(wanted.values().map(String::len).sum::<usize>() < MOST);
}

/// Reads every file of a folder, in order.
pub(crate) fn read<T: DeserializeOwned>(folder: &str) -> Vec<(String, T)> {
    let all: Vec<(String, T)> = stems(folder)
        .into_iter()
        .map(|stem| {
            let path = top().join(folder).join(format!("{stem}.json"));
            let text = std::fs::read_to_string(path).unwrap();
            let vector = serde_json::from_str(&text);
            (stem.clone(), vector.unwrap_or_else(|error| panic!("{folder}/{stem}: {error}")))
        })
        .collect();
    assert!(!all.is_empty(), "no vectors in `{folder}`");
    all
}

fn stems(folder: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(top().join(folder)) else { return Vec::new() };
    let mut all: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    all.sort();
    all
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

fn wanted() -> BTreeMap<String, String> {
    let gatepasses = gatepasses::book().vectors();
    let mut files: BTreeMap<String, String> = gatepasses
        .iter()
        .map(|(stem, vector)| (format!("{GATEPASSES}/{stem}.json"), pretty(vector)))
        .collect();
    let mut page = INTRODUCTION.to_owned();
    page.push_str(&gatepass_tables(&gatepasses));
    for book in feeds::books() {
        let vectors = book.vectors();
        page.push_str(&feed_table(book.folder, book.title, &vectors));
        let named = |(stem, vector): &(String, FeedVector)| {
            (format!("{}/{stem}.json", book.folder), pretty(vector))
        };
        files.extend(vectors.iter().map(named));
    }
    files.insert("README.md".to_owned(), page);
    files
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn gatepass_tables(vectors: &[(String, GatepassVector)]) -> String {
    let mut page = "\n## gatepasses\n\n| numbers | about |\n|---|---|\n".to_owned();
    for family in gatepasses::book().families {
        let from = family.number + 1;
        let to = family.number + u32::try_from(family.cases.len()).unwrap();
        page.push_str(&format!("| {from} to {to} | {} |\n", family.title));
    }
    page.push_str("\n| expected | status | cases |\n|---|---|---|\n");
    let numbers = |expected: &str| {
        let of = vectors.iter().filter(|(_, vector)| vector.expected == expected);
        of.map(|(_, vector)| vector.number.to_string()).collect::<Vec<_>>().join(" ")
    };
    page.push_str(&format!("| `allow` | | {} |\n", numbers("allow")));
    for code in Code::ALL {
        let unreachable = NOT_REACHABLE.iter().find(|(other, _)| other == code);
        let cases = match unreachable {
            Some((_, why)) => format!("none: {why}"),
            None => numbers(code.as_str()),
        };
        page.push_str(&format!("| `{code}` | {} | {cases} |\n", code.status()));
    }
    page
}

fn feed_table(folder: &str, title: &str, vectors: &[(String, FeedVector)]) -> String {
    let mut page = format!("\n## {folder}\n\n{title}.\n\n| expected | cases |\n|---|---|\n");
    let accepted = ["moved", "renewed", "part", "known"];
    let refused = RefusalCode::ALL.iter().map(|code| code.as_str());
    for expected in accepted.into_iter().chain(refused) {
        let of = vectors.iter().filter(|(_, vector)| vector.expected == expected);
        let numbers: Vec<String> = of.map(|(_, vector)| vector.number.to_string()).collect();
        if !numbers.is_empty() {
            page.push_str(&format!("| `{expected}` | {} |\n", numbers.join(" ")));
        }
    }
    page
}

const INTRODUCTION: &str = "\
# Test vectors

<!-- Written by the cases: GATEPASS_REGENERATE=1 cargo test -p gatepass-tests --test vectors -->

The specification in data. Where a text and a vector disagree, one of them is to be mended. The
cases that write these files are in `tests/tests/vectors/`, and the same binary runs them through
the engine, through the shipped filter in a Wasm host, and some of them through a real Envoy.

| folder | a case is |
|---|---|
| `gatepasses/` | a gate, what it has heard from its feed, and a request: allowed, or denied with a code |
| `roots/`, `envelopes/`, `batches/` | a gate, what it has heard, and one feed answer more: accepted, or refused with a code |
| `ed25519/` | signatures on which implementations disagree |
| `golden/` | the bytes of each format version |

Every case that is denied or refused names its `twin`, the accepted case that it is but for the one
thing that `changed` says. `why` is the rule.

- Bytes are base64 with padding (RFC 4648 section 4), public keys base64url without padding, times
  whole seconds.
- `gate` is the part of a plugin's configuration that decides. `public_keys` are those of everybody
  who signs anything here; a key's seed is 32 equal bytes: 1 `root`, 2 `feed`, 3 `issuer`, 4
  `other_issuer`, 5 `second_root`, 6 `third_root`, 7 `new_feed`, 9 `stranger`.
- A feed answer is postcard: a list of root documents (DSSE JSON) and a list of batches (DSSE
  postcard). The documents are taken first; when they are refused, so are the batches. Each batch
  is then applied in its turn, whatever became of those before.
- A gatepass case: the gate hears `feed` at `heard_at`, the request comes at `now`, and the
  monotonic clock moves by as much as the wall clock. Headers are in order, as Envoy holds them.
  `behind` and `not_ready` may be held back for a moment before they are told.
- A feed case: the gate hears each of `heard`, then `feed` at `now`. `expected` is what becomes of
  the root documents or, when those are taken, of the batch: `moved`, `renewed` (freshness), `part`
  (of a snapshot), `known` (nothing to tell), or the refusal. `after` is the gate's state then.
";
