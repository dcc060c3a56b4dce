//! JSON and YAML as plain values, without what both parsers let through: a key that is there twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// YAML 1.1 and 1.2 as far as `serde_yaml` goes.
    Yaml,
}

/// The deepest nesting read; definitions need two levels.
const MAX_DEPTH: usize = 64;

/// Why a document can't be read, for users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Beyond the bytes that are read.
    #[error("it is {found} bytes long; at most {most} are read")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// Those that are read.
        most: usize,
    },
    /// Nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// Beyond [`MAX_DEPTH`].
    #[error("it is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Its text is none of the format.
    #[error("no valid {format}: {reason}")]
    Syntax {
        /// JSON or YAML.
        format: Format,
        /// What the parser says; it may quote the document.
        reason: String,
        /// Line and column.
        place: Option<(usize, usize)>,
    },
    /// A list or a value.
    #[error("its top level must be a map of keys and values")]
    NoMap,
}

impl DocumentError {
    /// What is wrong, without a word of the document.
    pub fn without_contents(&self) -> String {
        match self {
            Self::Syntax { format, reason: _, place: Some((line, column)) } => {
                format!("no valid {format}: see line {line} column {column}")
            }
            Self::Syntax { format, reason: _, place: None } => format!("no valid {format}"),
            Self::TooLong { .. } | Self::Empty | Self::TooDeep | Self::NoMap => self.to_string(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        })
    }
}

/// Reads a document of at most `max_bytes` bytes whose top level is a map.
///
/// # Errors
/// What is wrong, with line and column where the parser tells them.
pub fn read_map(data: &[u8], format: Format, max_bytes: usize) -> Result<Map<String, Value>, DocumentError> {
    match read(data, format, max_bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(DocumentError::NoMap)
        }
    }
}

/// Reads a document of at most `max_bytes` bytes.
///
/// # Errors
/// As for [`read_map`].
pub fn read(data: &[u8], format: Format, max_bytes: usize) -> Result<Value, DocumentError> {
    if data.len() > max_bytes {
        return Err(DocumentError::TooLong { found: data.len(), most: max_bytes });
    }
    if data.trim_ascii().is_empty() {
        return Err(DocumentError::Empty);
    }
    if flow_depth(data) > MAX_DEPTH {
        return Err(DocumentError::TooDeep);
    }
    let Unique(value) = match format {
        Format::Json => serde_json::from_slice(data).map_err(|error| DocumentError::Syntax {
            format,
            reason: error.to_string(),
            place: Some((error.line(), error.column())),
        })?,
        Format::Yaml => serde_yaml::from_slice(data).map_err(|error| DocumentError::Syntax {
            format,
            reason: error.to_string(),
            place: error.location().map(|place| (place.line(), place.column())),
        })?,
    };
    Ok(value)
}

/// How deep brackets and braces are nested, at most; those inside strings count too, which harms nobody. The YAML scanner's
/// time grows with the square of it, before its own limit of depth is reached.
fn flow_depth(data: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in data {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// A value in whose maps each key stands once.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(Error::custom(format_args!("the key {key:?} is there twice")));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_BYTES: usize = 256 * 1024;

    fn read(data: &[u8], format: Format) -> Result<Map<String, Value>, DocumentError> {
        read_map(data, format, MAX_BYTES)
    }

    #[test]
    fn json_and_yaml_mean_the_same() {
        let json = read(br#"{"a":[1,-2,1.5,"x",true,null],"b":{"c":"d"}}"#, Format::Json).unwrap();
        let yaml = read(b"a: [1, -2, 1.5, x, true, ~]\nb:\n  c: d\n", Format::Yaml).unwrap();
        assert_eq!(json, yaml);
    }

    #[test]
    fn errors_tell_line_and_column() {
        for (data, format, expected) in [
            ("{\"a\": 1,\n \"a\": 2}", Format::Json, "\"a\" is there twice at line 2 column"),
            ("x:\n  a: 1\n  a: 2\n", Format::Yaml, "\"a\" is there twice"),
            ("{\"a\":\n nope}", Format::Json, "line 2 column"),
            ("a: [1\nb: 2\n", Format::Yaml, "line 2 column"),
            ("[1]", Format::Json, "top level"),
            (" \n", Format::Json, "it is empty"),
            ("a: !tag x", Format::Yaml, "no valid YAML"),
        ] {
            let error = read(data.as_bytes(), format).unwrap_err().to_string();
            assert!(error.contains(expected), "{data}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        for format in [Format::Json, Format::Yaml] {
            for deep in ["[", "{\"a\":", "a: &a [*a,"] {
                let text = deep.repeat(20_000);
                assert_eq!(read(text.as_bytes(), format), Err(DocumentError::TooDeep));
            }
        }
        assert!(
            read("- ".repeat(100_000).as_bytes(), Format::Yaml)
                .unwrap_err()
                .to_string()
                .contains("recursion limit")
        );
        assert!(
            read(&vec![b' '; MAX_BYTES + 1], Format::Json).unwrap_err().to_string().contains("262145 bytes")
        );
    }

    #[test]
    fn an_error_can_be_told_without_the_documents_words() {
        for (data, format, told) in [
            ("{\"secret\": 1,\n \"secret\": 2}", Format::Json, "no valid JSON: see line 2 column"),
            ("x:\n  secret: 1\n  secret: 2\n", Format::Yaml, "no valid YAML: see line"),
            ("secret", Format::Json, "no valid JSON: see line 1 column"),
            ("123456789012345678901234567", Format::Yaml, "no valid YAML"),
        ] {
            let error = read(data.as_bytes(), format).unwrap_err().without_contents();
            assert!(error.starts_with(told), "{error}");
            assert!(!error.contains("secret") && !error.contains("789"), "{error}");
        }
    }
}
