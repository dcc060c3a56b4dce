//! Reads typed values out of the tree, and collects every mistake on the way.

use serde_json::Value as Json;

use super::environment::{Later, substitute};
use super::error::{ConfigError, Position};
use super::yaml::{Kind, Node, Pair};

/// Collects the mistakes; reading goes on after each.
pub(super) struct Reader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    pub errors: Vec<ConfigError>,
}

/// A value, with the key that leads to it.
#[derive(Clone)]
pub(super) struct Value<'t> {
    pub path: String,
    pub position: Position,
    node: &'t Node,
}

/// A mapping that is being read. The keys asked for are the known ones.
pub(super) struct Section<'t> {
    path: String,
    position: Option<Position>,
    pairs: &'t [Pair],
    known: Vec<&'static str>,
    keys_are_hidden: bool,
    /// Its keys are the user's names.
    any_key: bool,
}

impl<'t> Value<'t> {
    pub fn root(node: &'t Node) -> Self {
        Self { path: String::new(), position: node.position, node }
    }

    /// Its items, when it is a list.
    pub fn items(&self) -> Option<Vec<Self>> {
        let Kind::List(items) = &self.node.kind else { return None };
        let item = |(index, node): (usize, &'t Node)| Self {
            path: format!("{}[{index}]", self.path),
            position: node.position,
            node,
        };
        Some(items.iter().enumerate().map(item).collect())
    }
}

impl<'e> Reader<'e> {
    pub fn new(env: &'e dyn Fn(&str) -> Option<String>) -> Self {
        Self { env, errors: Vec::new() }
    }

    pub fn refuse(&mut self, value: &Value<'_>, message: impl Into<String>) {
        self.errors.push(ConfigError {
            position: Some(value.position),
            path: value.path.clone(),
            message: message.into(),
        });
    }

    pub fn refuse_at(&mut self, position: Position, path: &str, message: String) {
        self.errors.push(ConfigError { position: Some(position), path: path.to_owned(), message });
    }

    /// Opens a mapping; what is absent or none is read as an empty one.
    pub fn open<'t>(&mut self, value: Option<Value<'t>>) -> Section<'t> {
        let mut section = Section {
            path: String::new(),
            position: None,
            pairs: &[],
            known: Vec::new(),
            keys_are_hidden: false,
            any_key: false,
        };
        let Some(value) = value else { return section };
        match &value.node.kind {
            Kind::Mapping(pairs) => section.pairs = pairs,
            other @ (Kind::Null | Kind::Scalar(_) | Kind::List(_)) => {
                self.refuse(&value, format!("must hold keys with values, but is {}", kind_name(other)));
            }
        }
        section.position = Some(value.position);
        section.path = value.path;
        section
    }

    /// Refuses what stands in the section and was not asked for, and what stands there twice.
    pub fn close(&mut self, section: &Section<'_>) {
        for (index, pair) in section.pairs.iter().enumerate() {
            let earlier = section.pairs.iter().take(index).find(|earlier| earlier.key == pair.key);
            let key = pair.key.as_str();
            let message = if let Some(earlier) = earlier {
                format!("stands here twice; it was first set in line {}", earlier.position.line)
            } else if key == "<<" {
                "merge keys are not read; write the keys out".to_owned()
            } else if section.any_key || section.known.contains(&key) {
                continue;
            } else {
                section.unknown_key(key)
            };
            self.errors.push(ConfigError {
                position: Some(pair.position),
                path: if section.keys_are_hidden {
                    section.path.clone()
                } else {
                    section.path_of(&shorten(key))
                },
                message,
            });
        }
    }

    pub fn missing(&mut self, section: &Section<'_>, key: &str, message: &str) {
        self.errors.push(ConfigError {
            position: section.position,
            path: section.path_of(key),
            message: format!("is missing; {message}"),
        });
    }

    /// The text with its variables replaced.
    pub fn text(&mut self, value: &Value<'_>) -> Option<String> {
        self.text_but(value, None)
    }

    /// The same, without what is replaced later.
    fn text_but(&mut self, value: &Value<'_>, later: Option<Later>) -> Option<String> {
        let Kind::Scalar(text) = &value.node.kind else {
            self.refuse(value, format!("must be a single value, but is {}", kind_name(&value.node.kind)));
            return None;
        };
        if text.contains("<%=") {
            self.refuse(value, "ERB (<%= %>) is not read; write ${VARIABLE}");
            return None;
        }
        substitute(text, self.env, later).map_err(|message| self.refuse(value, message)).ok()
    }

    /// The value that `parse` makes of the text. Its error follows the text as written: what a variable holds is
    /// never shown.
    pub fn read<T>(
        &mut self,
        value: Option<Value<'_>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read_but(value, None, parse)
    }

    fn read_but<T>(
        &mut self,
        value: Option<Value<'_>>,
        later: Option<Later>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = value?;
        let text = self.text_but(&value, later)?;
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                let Kind::Scalar(written) = &value.node.kind else { return None };
                let holds = if *written == text { "" } else { "what stands in " };
                self.refuse(&value, format!("{holds}'{}' {message}", shorten(written)));
                None
            }
        }
    }

    /// Any value, as a document would hold it: `true` and `false` are no texts, all else that is no list or map is one. Variables
    /// are replaced, without what is replaced `later`.
    pub fn document(&mut self, value: &Value<'_>, later: Later) -> Option<Json> {
        match &value.node.kind {
            Kind::Null => Some(Json::Null),
            Kind::Scalar(_) => Some(match self.text_but(value, Some(later))?.as_str() {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                text => Json::from(text),
            }),
            Kind::List(_) => {
                let items = value.items().unwrap_or_default();
                Some(items.iter().filter_map(|item| self.document(item, later)).collect())
            }
            Kind::Mapping(pairs) => {
                let mut map = serde_json::Map::new();
                for pair in pairs {
                    let path = format!("{}.{}", value.path, shorten(&pair.key));
                    let inner = Value { path, position: pair.value.position, node: &pair.value };
                    if map.contains_key(&pair.key) {
                        self.refuse(&inner, "stands here twice");
                    }
                    map.insert(pair.key.clone(), self.document(&inner, later)?);
                }
                Some(Json::Object(map))
            }
        }
    }

    /// The values that `parse` makes of each item of a list.
    pub fn read_list<T>(
        &mut self,
        value: Option<Value<'_>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.list(value, None, parse)
    }

    /// The same, with places left that are filled `later`, and `$${` for a literal `${`.
    pub fn read_list_but<T>(
        &mut self,
        value: Option<Value<'_>>,
        later: Later,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.list(value, Some(later), parse)
    }

    fn list<T>(
        &mut self,
        value: Option<Value<'_>>,
        later: Option<Later>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = value?;
        let Some(items) = value.items() else {
            let kind = kind_name(&value.node.kind);
            self.refuse(&value, format!("must be a list of lines, but is {kind}; begin each line with '- '"));
            return None;
        };
        Some(items.into_iter().filter_map(|item| self.read_but(Some(item), later, &parse)).collect())
    }
}

impl<'t> Section<'t> {
    /// The value of a key; a key without value counts as absent.
    pub fn get(&mut self, key: &'static str) -> Option<Value<'t>> {
        self.known.push(key);
        let pair = self.pairs.iter().find(|pair| pair.key == key)?;
        let present = !matches!(pair.value.kind, Kind::Null);
        present.then(|| Value { path: self.path_of(key), position: pair.value.position, node: &pair.value })
    }

    /// All its keys, each of which is a name of the user's own; those without a value have none.
    pub fn named(&mut self) -> Vec<(&'t str, Position, Option<Value<'t>>)> {
        let value = |pair: &'t Pair| {
            let present = !matches!(pair.value.kind, Kind::Null);
            present.then(|| Value {
                path: self.path_of(&shorten(&pair.key)),
                position: pair.value.position,
                node: &pair.value,
            })
        };
        let named = self.pairs.iter().map(|pair| (pair.key.as_str(), pair.position, value(pair)));
        let named = named.collect();
        self.any_key = true;
        named
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Keeps unknown keys out of the messages: they may be credentials that were written in the wrong place.
    pub fn hide_keys(&mut self) {
        self.keys_are_hidden = true;
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn unknown_key(&self, key: &str) -> String {
        let near = |known: &&str| strsim::jaro_winkler(key, known);
        match self.known.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b))) {
            Some(nearest) if near(&nearest) > 0.8 => format!("unknown key; did you mean '{nearest}'?"),
            _ => format!("unknown key; known here are {}", self.known.join(", ")),
        }
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Null => "empty",
        Kind::Scalar(_) => "a single value",
        Kind::List(_) => "a list",
        Kind::Mapping(_) => "a mapping",
    }
}

/// What a message can show of a text from outside: its start, with control characters escaped.
pub(super) fn shorten(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let dots = if text.chars().nth(80).is_some() { "..." } else { "" };
    text.chars().take(80).map(escape).chain([dots.to_owned()]).collect()
}
