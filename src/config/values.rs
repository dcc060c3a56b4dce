//! The section `values`: where `${kv:path:-default}` is looked up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::engine::consul::ConsulAccess;
use crate::engine::placeholders::{Hole, Pattern};
use crate::engine::route::FrontendName;
use crate::engine::value_line::ValueLine;

use super::consul;
use super::model::{ConsulListing, FrontendConfig, HaproxyConfig, SourceConfig, ValuesConfig};
use super::reader::{Reader, Section};
use super::service_config::read_ensemble;
use super::value;

#[derive(Clone, Copy)]
enum Registry {
    Zookeeper,
    Consul,
}

/// Reads the section of `top`. Without it values come from the first source that is a registry, as a whole, else from `consul`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    top: &mut Section<'_>,
    consul: Option<&ConsulAccess>,
    sources: &[SourceConfig],
) -> Option<ValuesConfig> {
    let Some(value) = top.get("values") else {
        let general = || Some(ValuesConfig::Consul { access: consul?.clone(), path: String::new() });
        return sources.iter().find_map(of_source).or_else(general);
    };
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    let registry = section.get("type");
    if registry.is_none() {
        reader.missing(&section, "type", "write type: zookeeper or type: consul");
    }
    let words = [("zookeeper", Registry::Zookeeper), ("consul", Registry::Consul)];
    let values = match reader.read(registry, |text| value::word(text, &words))? {
        Registry::Zookeeper => {
            let path = section.get("path");
            let path =
                path.map_or_else(|| Some("/".to_owned()), |path| reader.read(Some(path), value::node_path));
            let (servers, auth, tls) = read_ensemble(reader, &mut section)?;
            path.map(|path| ValuesConfig::Zookeeper { servers, path, auth, tls })
        }
        Registry::Consul => consul::read_values(reader, &mut section, consul),
    };
    reader.close(&section);
    values
}

fn of_source(source: &SourceConfig) -> Option<ValuesConfig> {
    match source {
        SourceConfig::Zookeeper { servers, path: _, auth, tls } => Some(ValuesConfig::Zookeeper {
            servers: servers.clone(),
            path: "/".to_owned(),
            auth: auth.clone(),
            tls: tls.clone(),
        }),
        SourceConfig::Consul { access, listing: _ } => {
            Some(ValuesConfig::Consul { access: access.clone(), path: String::new() })
        }
        SourceConfig::File { .. } | SourceConfig::Docker { .. } => None,
    }
}

/// All lines that may name values.
pub(super) fn lines<'a>(
    haproxy: &'a HaproxyConfig,
    frontends: &'a BTreeMap<FrontendName, FrontendConfig>,
) -> impl Iterator<Item = &'a ValueLine> {
    let of_frontends = frontends.values().flat_map(|frontend| &frontend.options);
    haproxy.global.iter().chain(&haproxy.defaults).chain(of_frontends)
}

/// The paths of all values that are named.
pub(super) fn paths<'a>(
    lines: impl Iterator<Item = &'a ValueLine>,
    sources: &[SourceConfig],
) -> BTreeSet<String> {
    let lines = lines.flat_map(ValueLine::paths).map(str::to_owned);
    let templates = sources.iter().flat_map(|source| match source {
        SourceConfig::Consul { access: _, listing: ConsulListing::Catalog { tag: _, template } } => {
            template.values().flat_map(in_template).collect()
        }
        SourceConfig::Consul { access: _, listing: ConsulListing::Keys { .. } }
        | SourceConfig::Zookeeper { .. }
        | SourceConfig::File { .. }
        | SourceConfig::Docker { .. } => Vec::new(),
    });
    lines.chain(templates).collect()
}

fn in_template(value: &Json) -> Vec<String> {
    match value {
        Json::String(text) => Pattern::parse(text).map_or_else(
            |_told_later| Vec::new(),
            |pattern| pattern.holes().filter_map(Hole::registry_path).map(str::to_owned).collect(),
        ),
        Json::Array(items) => items.iter().flat_map(in_template).collect(),
        Json::Object(map) => map.values().flat_map(in_template).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => Vec::new(),
    }
}
