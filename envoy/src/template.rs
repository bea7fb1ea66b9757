//! Fills the placeholders of `bootstrap.yaml`.
//!
//! A value never becomes YAML syntax: scalars are written as JSON, which YAML reads as the same
//! scalar, with all but printable ASCII escaped; a text of several lines becomes a literal block
//! when its characters allow it. Only `#@paste` writes lines as they are, and this crate alone hands
//! it lines, which it rendered here before. A full template engine was rejected: four constructs
//! suffice, and none of the engines quotes for YAML.

use serde_json::Value;

/// Why `bootstrap.yaml` could not be filled. Each is a fault of this crate, not of the caller.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// A placeholder or directive names a value that the renderer did not supply.
    #[error("bootstrap.yaml line {line}: no value named `{name}` is supplied")]
    NoValue {
        /// Line of the template, from 1.
        line: usize,
        /// The name in the template.
        name: String,
    },
    /// A `${` without `}`, an unknown `#@` directive, or an `#@end` too many or too few.
    #[error("bootstrap.yaml line {line}: {problem}")]
    Syntax {
        /// Line of the template, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The printed configuration asks for a block that the template does not have.
    #[error("bootstrap.yaml has no block `{0}`")]
    NoBlock(String),
}

/// The template with `values` (an object) in place of its names.
pub(crate) fn render(template: &str, values: &Value) -> Result<String, TemplateError> {
    let mut out = String::new();
    write_nodes(&parse(template)?, &mut vec![values], &mut out)?;
    Ok(out)
}

/// The lines inside the first `#@each name` or `#@if name`, unindented, with `values` in place
/// of its names.
pub(crate) fn render_block(
    template: &str,
    name: &str,
    values: &Value,
) -> Result<String, TemplateError> {
    let nodes = parse(template)?;
    let body = find_block(&nodes, name).ok_or_else(|| TemplateError::NoBlock(name.to_owned()))?;
    let mut out = String::new();
    write_nodes(body, &mut vec![values], &mut out)?;
    let indent = out.lines().map(indent_of).min().unwrap_or(0);
    Ok(out
        .lines()
        .map(|line| format!("{}\n", line.chars().skip(indent).collect::<String>()))
        .collect())
}

enum Node<'t> {
    Line { number: usize, text: &'t str },
    Block { number: usize, each: bool, name: &'t str, body: Vec<Node<'t>> },
    Paste { number: usize, indent: usize, name: &'t str },
}

fn parse(template: &str) -> Result<Vec<Node<'_>>, TemplateError> {
    let mut open: Vec<(usize, bool, &str, Vec<Node<'_>>)> = Vec::new();
    let mut nodes = Vec::new();
    for (text, number) in template.lines().zip(1..) {
        let syntax = |problem| TemplateError::Syntax { line: number, problem };
        match text.trim().strip_prefix("#@") {
            None => nodes.push(Node::Line { number, text }),
            Some("end") => {
                let (number, each, name, outer) =
                    open.pop().ok_or_else(|| syntax("`#@end` closes nothing"))?;
                let body = std::mem::replace(&mut nodes, outer);
                nodes.push(Node::Block { number, each, name, body });
            }
            Some(directive) if directive.starts_with("paste ") => {
                let name = directive.trim_start_matches("paste ");
                nodes.push(Node::Paste { number, indent: indent_of(text), name });
            }
            Some(directive) => {
                let (each, name) = match directive.split_once(' ') {
                    Some(("each", name)) => (true, name),
                    Some(("if", name)) => (false, name),
                    _ => return Err(syntax("unknown directive")),
                };
                open.push((number, each, name, std::mem::take(&mut nodes)));
            }
        }
    }
    match open.first() {
        Some((line, ..)) => {
            Err(TemplateError::Syntax { line: *line, problem: "the block has no `#@end`" })
        }
        None => Ok(nodes),
    }
}

fn find_block<'n, 't>(nodes: &'n [Node<'t>], wanted: &str) -> Option<&'n [Node<'t>]> {
    nodes.iter().find_map(|node| match node {
        Node::Line { .. } | Node::Paste { .. } => None,
        Node::Block { name, body, .. } if *name == wanted => Some(body.as_slice()),
        Node::Block { body, .. } => find_block(body, wanted),
    })
}

fn write_nodes(
    nodes: &[Node<'_>],
    scopes: &mut Vec<&Value>,
    out: &mut String,
) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Line { number, text } => {
                out.push_str(&fill(text, *number, scopes)?);
                out.push('\n');
            }
            Node::Paste { number, indent, name } => {
                let margin = " ".repeat(*indent);
                for line in look_up(name, *number, scopes)?.as_str().unwrap_or_default().lines() {
                    out.push_str(&format!("{margin}{line}\n"));
                }
            }
            Node::Block { number, each: true, name, body } => {
                for item in look_up(name, *number, scopes)?.as_array().into_iter().flatten() {
                    scopes.push(item);
                    write_nodes(body, scopes, out)?;
                    scopes.pop();
                }
            }
            Node::Block { number, each: false, name, body } => {
                let value = look_up(name, *number, scopes)?;
                if !matches!(value, Value::Null | Value::Bool(false)) {
                    write_nodes(body, scopes, out)?;
                }
            }
        }
    }
    Ok(())
}

/// The innermost scope that has the name wins.
fn look_up<'v>(name: &str, line: usize, scopes: &[&'v Value]) -> Result<&'v Value, TemplateError> {
    scopes
        .iter()
        .rev()
        .find_map(|scope| scope.get(name))
        .ok_or_else(|| TemplateError::NoValue { line, name: name.to_owned() })
}

fn fill(text: &str, line: usize, scopes: &[&Value]) -> Result<String, TemplateError> {
    if text.trim_start().starts_with('#') {
        return Ok(text.to_owned());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .ok_or(TemplateError::Syntax { line, problem: "`${` has no `}`" })?;
        let value = look_up(name, line, scopes)?;
        out.push_str(before);
        match value.as_str().filter(|text| after.is_empty() && fits_literal_block(text)) {
            Some(block) => out.push_str(&literal_block(block, indent_of(text))),
            None => out.push_str(&scalar(value)),
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// JSON, with what YAML could fold or refuse inside double quotes written as an escape.
fn scalar(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match u32::from(c) {
            0x20..=0x7e => out.push(c),
            code @ 0..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}

/// A literal block keeps its text byte for byte only under these conditions.
fn fits_literal_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with('\n')
        && text.chars().all(|c| matches!(c, ' '..='~' | '\n'))
}

fn literal_block(text: &str, indent: usize) -> String {
    let margin = " ".repeat(indent.saturating_add(2));
    let mut out = String::from("|-");
    for line in text.lines() {
        out.push('\n');
        out.push_str(&margin);
        out.push_str(line);
    }
    out
}

fn indent_of(line: &str) -> usize {
    line.chars().take_while(|c| *c == ' ').count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{TemplateError, render, render_block};

    fn check(template: &str, values: serde_json::Value, expected: &str) {
        assert_eq!(render(template, &values).unwrap(), expected);
    }

    #[test]
    fn a_value_cannot_become_yaml_syntax() {
        check("a: ${v}", json!({"v": "x\"\n- evil: 1"}), "a: |-\n  x\"\n  - evil: 1\n");
        check("a: ${v}", json!({"v": "\n- evil: 1"}), "a: \"\\n- evil: 1\"\n");
        check("{ a: ${v} }", json!({"v": "b }\n- c"}), "{ a: \"b }\\n- c\" }\n");
        check(
            "a: ${v}",
            json!({"v": "\u{2028}\u{1f600}\u{7f}"}),
            "a: \"\\u2028\\U0001f600\\u007f\"\n",
        );
        check("a: ${v}", json!({"v": 0}), "a: 0\n");
    }

    #[test]
    fn a_text_of_several_lines_becomes_a_literal_block() {
        check(
            "  a: ${v}",
            json!({"v": "{\n  \"b\": 1\n}"}),
            "  a: |-\n    {\n      \"b\": 1\n    }\n",
        );
    }

    #[test]
    fn blocks_repeat_and_vanish() {
        let template = "#@each l\n- ${n}${m}\n#@if x\n  x: 1\n#@end\n#@end\n# ${comment}";
        let values = json!({"m": 0, "x": false, "l": [{"n": 1}, {"n": 2, "x": true}]});
        check(template, values, "- 10\n- 20\n  x: 1\n# ${comment}\n");
    }

    #[test]
    fn a_block_is_found_at_any_depth_and_unindented() {
        let template = "#@if a\n  #@each b\n    - k: ${v}\n      l: 2\n  #@end\n#@end";
        let block = render_block(template, "b", &json!({"v": true})).unwrap();
        assert_eq!(block, "- k: true\n  l: 2\n");
    }

    #[test]
    fn pasted_lines_are_moved_in() {
        let values = json!({"part": "a: 1\nb:\n  c: 2\n"});
        check("top:\n  #@paste part", values, "top:\n  a: 1\n  b:\n    c: 2\n");
    }

    #[test]
    fn faults_name_their_line() {
        let syntax = |line, problem| TemplateError::Syntax { line, problem };
        for (template, expected) in [
            ("a\nb: ${v}", TemplateError::NoValue { line: 2, name: "v".to_owned() }),
            ("a: ${v", syntax(1, "`${` has no `}`")),
            ("#@if x", syntax(1, "the block has no `#@end`")),
            ("a\n#@end", syntax(2, "`#@end` closes nothing")),
            ("#@for x", syntax(1, "unknown directive")),
        ] {
            assert_eq!(render(template, &json!({})), Err(expected), "{template}");
        }
    }
}
