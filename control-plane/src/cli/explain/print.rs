//! An explanation for people at a terminal.

use std::io::Write;

use gatepass::explain::{
    CheckOutcome, CheckView, Confirms, Decided, Explanation, OpenBy, RuleEffect, RuleView,
};

use gatepass_engine::Code;

use crate::cli::Outcome;

/// The checks in their order, the rules below the one that asks them, then what it comes to.
pub(crate) fn print(of: &Explanation, out: &mut impl Write) -> Outcome<()> {
    if let (Some(position), Some(age)) = (&of.position, of.age_ms) {
        writeln!(out, "state: position {position}, {age} ms old")?;
    }
    for check in &of.checks {
        line(check, out)?;
        if check.is_of_rules() {
            rules("by", &of.rules, out)?;
            rules("in shadow mode", &of.shadow_rules, out)?;
        }
    }
    comes_to(of, out)
}

fn line(check: &CheckView, out: &mut impl Write) -> Outcome<()> {
    let name = &check.check;
    let detail = check.detail.as_deref().unwrap_or_default();
    match check.outcome {
        CheckOutcome::Passed => writeln!(out, "  ok      {name}")?,
        CheckOutcome::NotAsked => writeln!(out, "  --      {name}: {detail}")?,
        CheckOutcome::Failed => {
            let code = check.code.as_deref().unwrap_or_default();
            writeln!(out, "  FAILED  {name}: {code}: {detail}")?;
        }
    }
    Ok(())
}

fn rules(what: &str, rules: &[RuleView], out: &mut impl Write) -> Outcome<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let named = rules.iter().map(|rule| match rule.effect {
        RuleEffect::Permit => format!("permit `{}`", rule.id),
        RuleEffect::Forbid => format!("forbid `{}`", rule.id),
    });
    writeln!(out, "            {what}: {}", named.collect::<Vec<_>>().join(", "))?;
    Ok(())
}

fn comes_to(of: &Explanation, out: &mut impl Write) -> Outcome<()> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (code, detail) = (text(&of.code), text(&of.detail));
    let (action, agent) = (text(&of.action), text(&of.agent));
    match (of.decision, of.open) {
        (Decided::Allow, Some(OpenBy::Public)) => writeln!(out, "allowed: the route is public")?,
        (Decided::Allow, Some(OpenBy::PassedThrough)) => {
            writeln!(out, "allowed: the host is passed through")?;
        }
        (Decided::Allow, None) => {
            let (owner, task) = (text(&of.owner), text(&of.task));
            writeln!(out, "allowed: `{action}` by {agent}, owned by {owner}, task {task}")?;
        }
        (Decided::Shadow, _) => writeln!(out, "allowed in shadow mode: {code}: {detail}")?,
        (Decided::Redeem, _) => {
            let asked: Vec<&str> = of.confirms.iter().map(|what| confirmed(*what)).collect();
            let asked = asked.join(" and ");
            writeln!(
                out,
                "allowed once the control plane confirms that {asked}: `{action}` by {agent}"
            )?;
            if of.spent == Some(true) {
                let code = Code::Replayed;
                writeln!(out, "it would not: the use is spent, and the answer {code}")?;
            }
        }
        (Decided::Deny, _) => {
            writeln!(out, "denied: {code} ({}): {detail}", of.status.unwrap_or_default())?;
            if let Some(said) = &of.policy {
                let parts = [&said.code, &said.message].map(Option::as_deref);
                let parts: Vec<&str> = parts.into_iter().flatten().collect();
                writeln!(out, "the caller is told: {}", parts.join(": "))?;
            }
            writeln!(out, "next: {}", text(&of.next))?;
        }
        (Decided::Read, _) => {
            let most = of.body_bytes.unwrap_or_default();
            writeln!(
                out,
                "so far so good: the gate would now read the body, {most} bytes at most"
            )?;
            writeln!(out, "next: give the body too (`--body FILE`, or in the `--request` file)")?;
        }
    }
    Ok(())
}

const fn confirmed(what: Confirms) -> &'static str {
    match what {
        Confirms::Use => "its one use is spent",
        Confirms::Record => "the record is stored",
    }
}
