//! YAML as a tree whose every value knows its place in the file.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::environment::{mask_variables, unmask_variables};
use super::error::{ConfigError, Position};
use super::reader::shorten;

/// Deeper than any configuration; it bounds the recursion of all who walk the tree.
const MAX_DEPTH: usize = 32;
/// More values than any configuration; it bounds what aliases can blow up.
const MAX_NODES: usize = 10_000;

/// A value and where it begins. No Debug: it may hold credentials.
#[derive(Clone)]
pub(super) struct Node {
    pub position: Position,
    pub kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Mapping(Vec<Pair>),
}

/// A key and its value. Keys may repeat: the reader, which knows their path, refuses that.
#[derive(Clone)]
pub(super) struct Pair {
    pub key: String,
    pub position: Position,
    pub value: Node,
}

/// A list or a mapping whose end was not seen yet.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Mapping { pairs: Vec<Pair>, key: Option<(String, Position)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
}

/// Reads one document; `None` when it is empty.
pub(super) fn parse(text: &str) -> Result<Option<Node>, ConfigError> {
    let masked = mask_variables(text)?;
    let mut builder = Builder::default();
    for event in Parser::new_from_str(&masked) {
        let (event, span) = event.map_err(|error| {
            let position = Position { line: error.marker().line(), column: error.marker().col() + 1 };
            let erb = if text.contains("<%") { "; ERB (<% %>) is not read, write ${VARIABLE}" } else { "" };
            whole_file(position, format!("not valid YAML: {}{erb}", shorten(error.info())))
        })?;
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

fn whole_file(position: Position, message: String) -> ConfigError {
    ConfigError { position: Some(position), path: String::new(), message }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), ConfigError> {
        let position = Position { line: span.start.line(), column: span.start.col() + 1 };
        let tag = match &event {
            Event::Scalar(_, _, _, tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => {
                tag.as_ref()
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::SequenceEnd
            | Event::MappingEnd => None,
        };
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(whole_file(position, "YAML tags (!name) are not read; remove it".to_owned()));
        }
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(whole_file(
                        position,
                        "a second YAML document begins here; write only one".to_owned(),
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let null = style == ScalarStyle::Plain
                    && tag.is_none()
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null { Kind::Null } else { Kind::Scalar(unmask_variables(&text)) };
                self.complete(Node { position, kind }, anchor, 1)
            }
            Event::SequenceStart(anchor, _) => self.begin(position, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.begin(position, anchor, Content::Mapping { pairs: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                None => Ok(()),
                Some(Open { position, anchor, content }) => {
                    let kind = match content {
                        Content::List(items) => Kind::List(items),
                        Content::Mapping { pairs, .. } => Kind::Mapping(pairs),
                    };
                    self.complete(Node { position, kind }, anchor, 1)
                }
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    let (nodes, depth) = node.extent();
                    self.check_size(position, 0, depth)?;
                    self.complete(node, 0, nodes)
                }
                None => Err(whole_file(position, "this alias stands inside the value it repeats".to_owned())),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn begin(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), ConfigError> {
        self.open.push(Open { position, anchor, content });
        self.check_size(position, 0, 0)
    }

    fn check_size(&mut self, position: Position, nodes: usize, depth: usize) -> Result<(), ConfigError> {
        self.nodes += nodes;
        if self.open.len() + depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let message =
                format!("more than {MAX_DEPTH} levels or {MAX_NODES} values; this is no proxymgr.yml");
            return Err(whole_file(position, message));
        }
        Ok(())
    }

    /// Puts a whole value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), ConfigError> {
        self.check_size(node.position, nodes, 0)?;
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = (!matches!(node.kind, Kind::Null)).then_some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Mapping { pairs, key }) => match (key.take(), node.kind) {
                (Some((key, position)), kind) => {
                    pairs.push(Pair { key, position, value: Node { position: node.position, kind } });
                }
                (None, Kind::Scalar(name)) => *key = Some((name, node.position)),
                (None, Kind::Null | Kind::List(_) | Kind::Mapping(_)) => {
                    return Err(whole_file(node.position, "a key must be a word".to_owned()));
                }
            },
        }
        Ok(())
    }
}

impl Node {
    /// How many values it is, and how many levels.
    fn extent(&self) -> (usize, usize) {
        let join = |(nodes, depth): (usize, usize), child: &Self| {
            let (more, below) = child.extent();
            (nodes + more, depth.max(below + 1))
        };
        match &self.kind {
            Kind::Null | Kind::Scalar(_) => (1, 0),
            Kind::List(items) => items.iter().fold((1, 1), join),
            Kind::Mapping(pairs) => pairs.iter().map(|pair| &pair.value).fold((1, 1), join),
        }
    }
}
