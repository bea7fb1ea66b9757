//! The table of codes in the docs is generated from the code.

mod held;

use gatepass_engine::denial::Code;
use gatepass_engine::refusal::RefusalCode;

#[test]
fn the_denial_table_in_the_docs_is_that_of_the_code() {
    held::hold("docs/denials.md", &page());
}

#[test]
fn no_text_breaks_the_table() {
    let texts = Code::ALL
        .iter()
        .flat_map(|code| [code.as_str(), code.meaning(), code.next_step()])
        .chain(RefusalCode::ALL.iter().flat_map(|code| [code.as_str(), code.meaning()]));
    for text in texts {
        assert!(!text.is_empty() && !text.contains(['|', '\n']), "{text}");
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n| code | status | what happened | what to do next |\n|---|---|---|---|\n");
    for code in Code::ALL {
        page.push_str(&format!(
            "| `{code}` | {} | {} | {} |\n",
            code.status(),
            code.meaning(),
            code.next_step()
        ));
    }
    page.push_str(REFUSALS);
    page.push_str("\n| code | what happened |\n|---|---|\n");
    for code in RefusalCode::ALL {
        page.push_str(&format!("| `{code}` | {} |\n", code.meaning()));
    }
    page
}

const INTRODUCTION: &str = "\
# Denials and refusals

<!-- Generated from the engine: GATEPASS_REGENERATE=1 cargo test -p gatepass-engine --test tables -->

A request is *denied*. The code stands in the `code` member of the problem body, in Envoy's
response code details as `gatepass_denied_<code>`, and in metrics. A 401 carries
`WWW-Authenticate`, a 503 carries `Retry-After`.
";

const REFUSALS: &str = "
A batch of the feed, or a root document, is *refused*: it is not applied, and it is no proof of
freshness. The code stands in the gate's status and in metrics.
";
