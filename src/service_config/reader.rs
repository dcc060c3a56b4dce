//! Reads values out of a map and collects all that is wrong with them.

use std::fmt::Display;
use std::num::NonZeroU16;

use serde_json::{Map, Value};

use crate::engine::printable::printable;

/// More are counted only: a list of 100,000 wrong entries is told as one.
const MAX_ERRORS: usize = 20;

pub(super) struct Reader<'a> {
    map: &'a Map<String, Value>,
    errors: Vec<String>,
    more: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(map: &'a Map<String, Value>) -> Self {
        Self { map, errors: Vec::new(), more: 0 }
    }

    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.errors.push(format!("and {} more", self.more));
        }
        self.errors
    }

    pub(super) fn error(&mut self, text: String) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(text);
        } else {
            self.more += 1;
        }
    }

    /// The value of `key`; null is the same as none.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn port(&mut self) -> Option<NonZeroU16> {
        if self.value("port").is_none() {
            self.error(
                "\"port\" is missing: add the port clients connect to, 1 to 65535, or a \"route\"".to_owned(),
            );
        }
        self.optional_port("port")
    }

    pub(super) fn optional_port(&mut self, key: &str) -> Option<NonZeroU16> {
        let value = self.value(key)?;
        let number = match value {
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let port = number.and_then(NonZeroU16::new);
        if port.is_none() {
            self.error(format!("\"{key}\" is {}: it must be 1 to 65535", printable(&value.to_string())));
        }
        port
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.error(format!("\"{key}\" is {}: it must be true or false", printable(&value.to_string())));
        }
        flag
    }

    pub(super) fn optional_text(&mut self, key: &str) -> Option<&'a str> {
        self.text(key, self.value(key)?)
    }

    /// A string that must be there; `what` says what it is.
    pub(super) fn required(&mut self, key: &str, what: &str) -> Option<&'a str> {
        let value = self.value(key);
        if value.is_none() {
            self.error(format!("\"{key}\" is missing: add {what}"));
        }
        self.text(key, value?)
    }

    /// A string, read by `parse`, which says what is wrong as the end of a sentence that begins with the value.
    pub(super) fn one<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key, self.value(key)?)?;
        parse(text).map_err(|error| self.error(format!("\"{key}\": '{}' {error}", printable(text)))).ok()
    }

    /// A string or a list of strings, each with its key path. None when the key is absent.
    pub(super) fn texts(&mut self, key: &str) -> Vec<(String, &'a str)> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let read = |(index, item)| {
                    let at = format!("{key}[{index}]");
                    self.text(&at, item).map(|text| (at, text))
                };
                items.iter().enumerate().filter_map(read).collect()
            }
            Some(single) => self.text(key, single).map(|text| (key.to_owned(), text)).into_iter().collect(),
        }
    }

    /// Each of [`Self::texts`], read by `parse`.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let texts = self.texts(key);
        texts.into_iter().filter_map(|(at, text)| self.checked(&at, parse(text))).collect()
    }

    /// The value, or its error under the key path `at`.
    pub(super) fn checked<T, E: Display>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.error(format!("\"{at}\": {error}"))).ok()
    }

    fn text(&mut self, at: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.error(format!("\"{at}\" is {}: it must be a string", printable(&value.to_string())));
        }
        text
    }
}
