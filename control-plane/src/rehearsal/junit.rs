//! What the tests have shown, as JUnit XML, the form that CI systems read.

use core::fmt::Write as _;

use super::{Decided, Ran, Report};

/// The whole document.
#[must_use]
pub fn xml(report: &Report) -> String {
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\"",
        report.results.len(),
        report.failures()
    );
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n  <testsuite name=\"gatepass policy\" {counts}>\n"
    );
    for ran in &report.results {
        case(&mut out, ran);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn case(out: &mut String, Ran { name, file, line, failure, .. }: &Ran) {
    let (name, file) = (escaped(name), escaped(file));
    let _ = write!(
        out,
        "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\""
    );
    let Some(failure) = failure else {
        out.push_str("/>\n");
        return;
    };
    let message = format!("expected {}, came {}", failure.expected, failure.came);
    let check = failure.check.map(|check| format!("denied by: {check}"));
    let Decided { rules, shadow_rules } = &failure.decided;
    let by = |what: &str, ids: &[String]| {
        (!ids.is_empty()).then(|| format!("{what}: {}", ids.join(", ")))
    };
    let all = [check, by("rules", rules), by("shadow rules", shadow_rules)];
    let text: Vec<String> = all.into_iter().flatten().collect();
    let (message, text) = (escaped(&message), escaped(&text.join("; ")));
    let _ = write!(
        out,
        ">\n      <failure message=\"{message}\" type=\"decision\">{text}</failure>\n    </testcase>\n"
    );
}

/// For text and attributes. What XML 1.0 has no character for is shown as `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Failure, Fate};
    use super::*;

    #[test]
    fn what_came_is_written_as_ci_systems_read_it() {
        let ran = |name: &str, failure| Ran {
            name: name.to_owned(),
            file: "tests/a.yaml".to_owned(),
            line: 3,
            fate: Fate::Allowed(Vec::new()),
            failure,
        };
        let failure = Failure {
            expected: "allow".to_owned(),
            came: "deny, `no_route` (403): a \"b\"\u{1b}".to_owned(),
            check: Some("route is matched"),
            decided: Decided { rules: vec!["a".to_owned(), "b".to_owned()], ..Decided::default() },
        };
        let results = vec![ran("one & <two>", None), ran("three", Some(failure))];
        let report = Report { results, ..Report::default() };
        assert_eq!(
            xml(&report),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="2" failures="1" errors="0" skipped="0">
  <testsuite name="gatepass policy" tests="2" failures="1" errors="0" skipped="0">
    <testcase classname="tests/a.yaml" name="one &amp; &lt;two&gt;" file="tests/a.yaml" line="3"/>
    <testcase classname="tests/a.yaml" name="three" file="tests/a.yaml" line="3">
      <failure message="expected allow, came deny, `no_route` (403): a &quot;b&quot;?" type="decision">denied by: route is matched; rules: a, b</failure>
    </testcase>
  </testsuite>
</testsuites>
"#
        );
    }
}
