//! JSON and YAML as plain values, without what both parsers let through: a key that is there twice.

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

/// Reads a document of at most `max_bytes` bytes whose top level is a map.
///
/// # Errors
/// For users: what is wrong, with line and column where the parser tells them.
pub fn read_map(data: &[u8], format: Format, max_bytes: usize) -> Result<Map<String, Value>, String> {
    match read(data, format, max_bytes)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err("its top level must be a map of keys and values".to_owned())
        }
    }
}

/// Reads a document of at most `max_bytes` bytes.
///
/// # Errors
/// As for [`read_map`].
pub fn read(data: &[u8], format: Format, max_bytes: usize) -> Result<Value, String> {
    if data.len() > max_bytes {
        return Err(format!("it is {} bytes long; at most {max_bytes} are read", data.len()));
    }
    if data.trim_ascii().is_empty() {
        return Err("it is empty".to_owned());
    }
    if flow_depth(data) > MAX_DEPTH {
        return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
    }
    let Unique(value) = match format {
        Format::Json => serde_json::from_slice(data).map_err(|error| format!("no valid JSON: {error}"))?,
        Format::Yaml => serde_yaml::from_slice(data).map_err(|error| format!("no valid YAML: {error}"))?,
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

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    fn read(data: &[u8], format: Format) -> Result<Map<String, Value>, String> {
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
            let error = read(data.as_bytes(), format).unwrap_err();
            assert!(error.contains(expected), "{data}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        for format in [Format::Json, Format::Yaml] {
            for deep in ["[", "{\"a\":", "a: &a [*a,"] {
                let text = deep.repeat(20_000);
                assert_eq!(
                    read(text.as_bytes(), format),
                    Err("it is nested deeper than 64 levels".to_owned())
                );
            }
        }
        assert!(read("- ".repeat(100_000).as_bytes(), Format::Yaml).unwrap_err().contains("recursion limit"));
        assert!(read(&vec![b' '; MAX_BYTES + 1], Format::Json).unwrap_err().contains("262145 bytes"));
    }
}
