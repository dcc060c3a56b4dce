//! Typed access to the fields of an object, with errors that name them by their path.

use std::num::NonZeroU16;

use serde_json::{Map, Value};

use super::error::EntryError;
use super::host::server_at;
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::Labels;
use crate::engine::printable::printable;
use crate::engine::server::Weight;
use crate::engine::server_options::NodeWords;

/// An object. A field that is null is the same as one that is not there.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    /// Where the object stands, with a dot at its end; empty for the outermost.
    path: String,
}

impl<'a> Fields<'a> {
    /// The outermost object.
    pub fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, path: String::new() }
    }

    /// Whether there is a field `key`, be it null.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The names of all fields.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.map.keys().map(String::as_str)
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn path(&self, key: &str) -> String {
        format!("{}{}", self.path, printable(key))
    }

    fn missing(&self, key: &str) -> EntryError {
        EntryError::Missing(self.path(key))
    }

    fn wrong(&self, key: &str, found: &Value, expected: &'static str) -> EntryError {
        EntryError::value(self.path(key), found, expected)
    }

    /// A string.
    ///
    /// # Errors
    /// When it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, EntryError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, value, "it must be a string"))
    }

    /// An object.
    ///
    /// # Errors
    /// When it is something else.
    pub fn object(&self, key: &str) -> Result<Option<Self>, EntryError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self { map, path: format!("{}.", self.path(key)) })),
            Some(other) => Err(self.wrong(key, other, "it must be an object")),
        }
    }

    /// A port, as a number or a string.
    ///
    /// # Errors
    /// When it is none.
    pub fn port(&self, key: &str) -> Result<Option<NonZeroU16>, EntryError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let port = whole(value).and_then(NonZeroU16::new);
        port.map(Some).ok_or_else(|| self.wrong(key, value, "it must be 1 to 65535"))
    }

    /// A weight, as a number or a string.
    ///
    /// # Errors
    /// When it is none.
    pub fn weight(&self, key: &str) -> Result<Option<Weight>, EntryError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let weight = whole(value).and_then(Weight::new);
        weight.map(Some).ok_or_else(|| self.wrong(key, value, "it must be a whole number, 0 to 256"))
    }

    /// True or false; `absent` when it isn't there.
    ///
    /// # Errors
    /// When it is something else.
    pub fn flag(&self, key: &str, absent: bool) -> Result<bool, EntryError> {
        match self.get(key) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, other, "it must be true or false")),
        }
    }

    /// A map of labels; what is neither text, number nor truth value in it is no label.
    ///
    /// # Errors
    /// When it is no map.
    pub fn labels(&self, key: &str) -> Result<Labels, EntryError> {
        let Some(labels) = self.object(key)? else { return Ok(Labels::new()) };
        let label = |(name, value): (&String, &Value)| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            };
            Some((name.clone(), text))
        };
        Ok(labels.map.iter().filter_map(label).collect())
    }

    /// `HAProxy` words.
    ///
    /// # Errors
    /// When they are no string, or an entry may not set one of them.
    pub fn words(&self, key: &str) -> Result<NodeWords, EntryError> {
        let text = self.text(key)?.unwrap_or_default();
        NodeWords::parse(text).map_err(|source| EntryError::Options { key: self.path(key), source })
    }

    /// The plain server at the host in `host` and the port in `port`.
    ///
    /// # Errors
    /// When one of them is missing or wrong.
    pub fn server(&self, host: &str, port: &str) -> Result<ListedServer, EntryError> {
        self.text(host)?.ok_or_else(|| self.missing(host))?;
        let number = self.port(port)?.ok_or_else(|| self.missing(port))?;
        self.server_at(host, number)
    }

    /// The plain server at the host in `host` and `port`.
    ///
    /// # Errors
    /// When the host is missing or wrong.
    pub fn server_at(&self, host: &str, port: NonZeroU16) -> Result<ListedServer, EntryError> {
        let text = self.text(host)?.ok_or_else(|| self.missing(host))?;
        server_at(text, port).map_err(|reason| self.wrong(host, &Value::from(text), reason))
    }
}

fn whole(value: &Value) -> Option<u16> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
