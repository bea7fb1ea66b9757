//! Puts a program together: texts, expressions and lists that are the same are there once.

use std::collections::HashMap;

use gatepass_engine::policy::{Applies, Net, Node, Pattern, Program, Rule};

use super::Schema;

#[derive(Default)]
pub(super) struct Builder {
    program: Program,
    texts: HashMap<String, u32>,
    nodes: HashMap<Node, u32>,
    lists: HashMap<Vec<u32>, u32>,
    nets: HashMap<Net, u32>,
    patterns: HashMap<Pattern, u32>,
    inputs: HashMap<String, u16>,
}

impl Builder {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut builder = Self::default();
        for (action, group) in schema.groups() {
            let pair = (builder.text(action), builder.text(group));
            builder.program.groups.push(pair);
        }
        builder
    }

    pub(super) fn text(&mut self, text: &str) -> u32 {
        if let Some(known) = self.texts.get(text) {
            return *known;
        }
        let at = number(self.program.texts.len());
        self.program.texts.push(text.to_owned());
        self.texts.insert(text.to_owned(), at);
        at
    }

    pub(super) fn node(&mut self, node: Node) -> u32 {
        let nodes = &mut self.program.nodes;
        *self.nodes.entry(node).or_insert_with(|| {
            nodes.push(node);
            number(nodes.len().saturating_sub(1))
        })
    }

    /// Where a list begins.
    pub(super) fn list(&mut self, list: Vec<u32>) -> u32 {
        let all = &mut self.program.lists;
        *self.lists.entry(list).or_insert_with_key(|list| {
            let at = number(all.len());
            all.extend_from_slice(list);
            at
        })
    }

    pub(super) fn net(&mut self, net: Net) -> u32 {
        let nets = &mut self.program.nets;
        *self.nets.entry(net).or_insert_with(|| {
            nets.push(net);
            number(nets.len().saturating_sub(1))
        })
    }

    pub(super) fn pattern(&mut self, pattern: Pattern) -> u32 {
        let patterns = &mut self.program.patterns;
        *self.patterns.entry(pattern).or_insert_with_key(|pattern| {
            patterns.push(pattern.clone());
            number(patterns.len().saturating_sub(1))
        })
    }

    /// The number of an input's name.
    pub(super) fn input(&mut self, name: &str) -> u16 {
        if let Some(known) = self.inputs.get(name) {
            return *known;
        }
        let text = self.text(name);
        // A program with more names of inputs than that is refused whole.
        let at = u16::try_from(self.program.inputs.len()).unwrap_or(u16::MAX);
        self.program.inputs.push(text);
        self.inputs.insert(name.to_owned(), at);
        at
    }

    pub(super) fn rule(&mut self, rule: Rule) -> u32 {
        self.program.rules.push(rule);
        number(self.program.rules.len().saturating_sub(1))
    }

    pub(super) fn finish(mut self, actions: Vec<Applies>) -> Program {
        self.program.actions = actions;
        self.program
    }
}

/// A program that is too large for it is refused whole, by the number of its rules and expressions.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
