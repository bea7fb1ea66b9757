//! `gatepass decisions`: page by page, and on with each new one.

use std::io::Write as _;
use std::process::ExitCode;

use gatepass::client::escaped;
use gatepass::decisions::{Format, MAX_PAGE, Page};

use super::Server;
use super::commands::DecisionsArgs;
use super::request::Asked;
use crate::cli::{Outcome, now};

impl Server {
    pub(super) async fn decisions(&self, args: &DecisionsArgs) -> Outcome {
        let filters = filters(args)?;
        let format = if self.json { Format::Jsonl } else { args.output };
        let pages = self.pages(args.limit, &filters).await?;
        let mut newest = pages.iter().map(|page| page.newest).max().unwrap_or_default();
        // The newest last, as a log has it.
        for page in pages.iter().rev() {
            for decision in page.decisions.iter().rev() {
                print(format.line(decision).as_deref())?;
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        // Until it is interrupted, or the server is gone.
        loop {
            let page =
                self.page(&format!("after={newest}&wait=20&limit={MAX_PAGE}{filters}")).await?;
            newest = page.newest;
            for decision in &page.decisions {
                print(format.line(decision).as_deref())?;
            }
        }
    }

    /// At most so many decisions, the newest first.
    pub(super) async fn pages(&self, limit: u32, filters: &str) -> Outcome<Vec<Page>> {
        let mut pages = Vec::new();
        let (mut left, mut before) = (limit, None);
        while left > 0 {
            let limit = left.min(MAX_PAGE);
            let place = before.map(|before: i64| format!("&before={before}")).unwrap_or_default();
            let page = self.page(&format!("limit={limit}{place}{filters}")).await?;
            left = left.saturating_sub(u32::try_from(page.decisions.len()).unwrap_or(u32::MAX));
            before = page.older;
            pages.push(page);
            if before.is_none() {
                break;
            }
        }
        Ok(pages)
    }

    async fn page(&self, query: &str) -> Outcome<Page> {
        let answer = self.send(&Asked::get(format!("/v1/decisions?{query}"))).await?;
        Ok(serde_json::from_value(answer)?)
    }
}

/// Flushed by line: whoever follows reads along.
fn print(line: Option<&str>) -> std::io::Result<()> {
    match line {
        Some(line) => writeln!(std::io::stdout().lock(), "{line}"),
        None => Ok(()),
    }
}

fn filters(args: &DecisionsArgs) -> Outcome<String> {
    let since = args.since.as_deref().map(moment).transpose()?;
    let until = args.until.as_deref().map(moment).transpose()?;
    let named = [
        ("agent", &args.agent),
        ("action", &args.action),
        ("code", &args.code),
        ("task", &args.task),
        ("outcome", &args.outcome),
        ("envoy", &args.envoy),
        ("since", &since),
        ("until", &until),
    ];
    let given = named
        .into_iter()
        .filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value.as_deref()?))));
    Ok(given.collect())
}

/// `15m` ago, or the time as it stands.
pub(super) fn moment(text: &str) -> Outcome<String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let ago = units.into_iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok().map(|count| count.saturating_mul(seconds))
    });
    match ago {
        Some(ago) => Ok(now().0.saturating_sub(ago).to_string()),
        None if text.parse::<jiff::Timestamp>().is_ok() => Ok(text.to_owned()),
        None => {
            Err(format!("`{text}`: expected `15m`, or RFC 3339 such as 2026-11-22T10:00:00Z")
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_ago_or_as_it_stands() {
        let ago = |text| now().0 - moment(text).unwrap().parse::<u64>().unwrap();
        for (text, seconds) in
            [("0s", 0), ("30s", 30), ("15m", 900), ("2h", 7_200), ("7d", 604_800)]
        {
            assert!((seconds..seconds + 5).contains(&ago(text)), "{text}");
        }
        assert_eq!(moment("2026-11-22T10:00:00Z").unwrap(), "2026-11-22T10:00:00Z");
        for wrong in ["", "m", "-5m", "5", "5w", "yesterday"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
