//! A definition with places for what Consul's catalog tells of a service.
//!
//! | place | filled with |
//! |---|---|
//! | `${name}` | its name |
//! | `${tags}` | its tags, sorted, with commas between |
//! | `${tag.KEY}` | the value of its tag `KEY=value` |
//! | `${meta.KEY}` | its metadata, those of the instance that was registered first |
//! | `${kv:PATH}` | the value at a path of the registry of values |
//!
//! `${...:-default}` says what stands there where that is unknown or empty. What the catalog tells is another's text: it can fill
//! in one word of plain characters, nothing that ends a word, a line or a path's folder.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::engine::consul::ConsulAccess;
use crate::engine::node_rules::Labels;
use crate::engine::placeholders::{Hole, Pattern, is_plain_word};
use crate::engine::printable::printable;
use crate::registry_values::Values;

/// A template whose places are known to be good.
#[derive(Clone, Debug, PartialEq)]
pub struct CatalogTemplate {
    map: Map<String, Value>,
    needs_meta: bool,
    needs_values: bool,
}

impl Eq for CatalogTemplate {}

/// What the catalog tells of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) name: &'a str,
    pub(super) tags: &'a BTreeSet<String>,
    pub(super) meta: &'a Labels,
    /// What a registry holds besides the catalog.
    pub(super) values: &'a Values,
}

impl CatalogTemplate {
    /// Reads the template of a catalog's services with `tag`. Where it names no registry the servers are the instances of the
    /// service with that tag.
    ///
    /// # Errors
    /// Which place is no good.
    pub fn new(access: &ConsulAccess, tag: &str, template: &Map<String, Value>) -> Result<Self, String> {
        let mut map = template.clone();
        let escaped = |text: &str| Value::from(text.replace("${", "$${"));
        map.entry("type").or_insert_with(|| "consul".into());
        if map.get("type").is_some_and(|kind| kind == "consul") {
            if !map.contains_key("tags") {
                map.entry("tag").or_insert_with(|| escaped(tag));
            }
            map.entry("service").or_insert_with(|| "${name}".into());
            map.entry("server").or_insert_with(|| access.servers.to_string().into());
            if let Some(dc) = &access.dc {
                map.entry("dc").or_insert_with(|| escaped(dc));
            }
        }
        let (mut needs_meta, mut needs_values) = (false, false);
        for text in map.values().flat_map(texts) {
            let pattern =
                Pattern::parse(text).map_err(|problem| format!("'{}' {problem}", printable(text)))?;
            for hole in pattern.holes() {
                let name = hole.name.as_str();
                needs_meta |= name.starts_with("meta.");
                needs_values |= Hole::is_of_a_registry(name);
                let is_known = matches!(name, "name" | "tags")
                    || Hole::is_of_a_registry(name) && hole.wrong_path().is_none()
                    || [name.strip_prefix("meta."), name.strip_prefix("tag.")]
                        .into_iter()
                        .flatten()
                        .any(|key| !key.is_empty());
                if !is_known {
                    let name = printable(name);
                    return Err(format!(
                        "'${{{name}}}' is unknown; ${{name}}, ${{tags}}, ${{tag.KEY}}, ${{meta.KEY}} and ${{kv:PATH}} are filled in"
                    ));
                }
            }
        }
        Ok(Self { map, needs_meta, needs_values })
    }

    /// Whether the catalog's list of names and tags is not enough.
    pub(super) fn needs_meta(&self) -> bool {
        self.needs_meta
    }

    /// Whether it has places for values of a registry.
    pub(super) fn needs_values(&self) -> bool {
        self.needs_values
    }

    /// The definition of one service, as JSON.
    pub(super) fn fill(&self, told: Told<'_>) -> Result<Vec<u8>, String> {
        let filled: Result<Map<_, _>, String> =
            self.map.iter().map(|(key, value)| Ok((key.clone(), filled(value, told)?))).collect();
        Ok(Value::Object(filled?).to_string().into_bytes())
    }
}

/// All texts in `value`.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

fn filled(value: &Value, told: Told<'_>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::from(filled_text(text, told)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| filled(item, told)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => {
            let inner = map.iter().map(|(key, value)| Ok((key.clone(), filled(value, told)?)));
            Value::Object(inner.collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

fn filled_text(text: &str, told: Told<'_>) -> Result<String, String> {
    let pattern = Pattern::parse(text).map_err(|problem| format!("'{}' {problem}", printable(text)))?;
    let known = |name: &str| value_of(name, told).filter(|value| is_plain(value));
    if let Some(hole) =
        pattern.holes().find(|hole| value_of(&hole.name, told).is_some_and(|value| !is_plain(&value)))
    {
        let value = printable(&value_of(&hole.name, told).unwrap_or_default());
        return Err(format!(
            "{} is '{value}': only letters, digits and -_.:/@+=,~% are filled in, at most 512, without '..'",
            hole.name
        ));
    }
    pattern.fill(known).map_err(|hole| {
        format!(
            "the service has no {}; register it so, or write ${{{}:-default}} in the template",
            hole.name, hole.name
        )
    })
}

fn value_of(name: &str, told: Told<'_>) -> Option<String> {
    match name {
        "name" => Some(told.name.to_owned()),
        "tags" => Some(told.tags.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        other => {
            if let Some(key) = other.strip_prefix("meta.") {
                return told.meta.get(key).cloned();
            }
            if let Some(path) = other.strip_prefix("kv:") {
                return told.values.get(path).cloned();
            }
            let key = other.strip_prefix("tag.")?;
            told.tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
        }
    }
}

fn is_plain(value: &str) -> bool {
    value.is_empty() || is_plain_word(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::consul::ConsulServers;

    fn template(template: &Value) -> Result<CatalogTemplate, String> {
        let access = ConsulAccess::to(ConsulServers::parse("a:1").unwrap());
        CatalogTemplate::new(&access, "rest", template.as_object().unwrap())
    }

    fn fill(of: &Value, tags: &[&str], meta: &[(&str, &str)]) -> Result<Value, String> {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let meta = meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let values = [("a/b".to_owned(), "7".to_owned())].into();
        let filled = template(of)?.fill(Told { name: "web", tags: &tags, meta: &meta, values: &values })?;
        Ok(serde_json::from_slice(&filled).unwrap())
    }

    #[test]
    fn a_service_becomes_one_of_ours() {
        let of = json!({"port": "${meta.port}", "listen_options": ["# ${name} ${tags}", "${tag.mode:-mode http}"], "passing_only": true});
        let filled = fill(&of, &["b", "a=1"], &[("port", "8080")]).unwrap();
        assert_eq!(
            filled,
            json!({"type": "consul", "server": "a:1", "service": "web", "tag": "rest", "port": "8080",
                "listen_options": ["# web a=1,b", "mode http"], "passing_only": true})
        );
        let valued = json!({"type": "dns", "port": 80, "listen_options": ["maxconn ${kv:a/b:-1}", "fullconn ${kv:c:-2}"]});
        assert_eq!(fill(&valued, &[], &[]).unwrap()["listen_options"], json!(["maxconn 7", "fullconn 2"]));
        let other = json!({"type": "dns", "port": 80, "backends": [{"srv": "${name}.example"}]});
        assert_eq!(fill(&other, &[], &[]).unwrap()["backends"][0]["srv"], "web.example");
        assert!(!template(&other).unwrap().needs_meta() && template(&of).unwrap().needs_meta());
    }

    #[test]
    fn what_others_wrote_fills_in_one_plain_word_or_nothing() {
        let of = json!({"listen_options": ["http-request set-header X ${meta.x}"]});
        for bad in ["a b", "a\nb", "\"", "a\\ b", "${name}", "#", "../x", "ä", &"x".repeat(513)] {
            let refused = fill(&of, &[], &[("x", bad)]).unwrap_err();
            assert!(refused.contains("meta.x is '") && !refused.chars().any(char::is_control), "{refused}");
        }
        assert!(fill(&of, &[], &[]).unwrap_err().contains("the service has no meta.x"));
        assert_eq!(
            fill(&of, &[], &[("x", "a/b:1")]).unwrap()["listen_options"][0],
            "http-request set-header X a/b:1"
        );
    }

    #[test]
    fn a_place_that_nothing_fills_is_refused_before_anything_is_asked() {
        for bad in ["${nam}", "${meta.}", "${tag.}", "${", "${kv:}", "${kv:a//b}", "${kv:../a}"] {
            assert!(template(&json!({"port": [{"x": bad}]})).is_err(), "{bad}");
        }
    }
}
