//! What Consul's catalog tells, out of its JSON. Each entry is read by itself, so that a bad one harms no other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::error::ConsulError;
use crate::engine::node_rules::Labels;

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `NODE/SERVICE-ID`, as found.
    pub name: String,
    /// The service's own address, or else its node's, as found.
    pub address: String,
    /// As found; 0 where none is registered.
    pub port: i64,
    /// Its weight while all its checks pass, and while one of them warns.
    pub weights: (i64, i64),
    /// The service's tags.
    pub tags: Vec<String>,
    /// The service's own metadata.
    pub meta: Labels,
    /// The same with that of its node beneath it.
    pub labels: Labels,
    /// What the checks say, the worst of them.
    pub health: Health,
    /// When it was registered: the index of that moment.
    pub created: u64,
}

/// What the checks of an instance and its node say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// All pass.
    Passing,
    /// One warns.
    Warning,
    /// One is critical.
    Critical,
    /// Somebody has put it, or its node, into maintenance.
    Maintenance,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthEntry {
    node: NodePart,
    service: ServicePart,
    #[serde(default)]
    checks: Option<Vec<Check>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodePart {
    #[serde(default)]
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    meta: Option<Labels>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServicePart {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    port: i64,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    meta: Option<Labels>,
    #[serde(default)]
    weights: Weights,
    #[serde(default)]
    create_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CatalogEntry {
    #[serde(default)]
    node: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    node_meta: Option<Labels>,
    #[serde(rename = "ServiceID", default)]
    service_id: String,
    #[serde(default)]
    service_address: String,
    #[serde(default)]
    service_port: i64,
    #[serde(default)]
    service_tags: Option<Vec<String>>,
    #[serde(default)]
    service_meta: Option<Labels>,
    #[serde(default)]
    service_weights: Weights,
    #[serde(default)]
    create_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: i64,
    warning: i64,
}

impl Default for Weights {
    /// Consul's own (documentation, "Services Configuration", `weights`).
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID", default)]
    id: String,
    #[serde(default)]
    status: String,
}

/// Why an entry is none, and which it is.
type BadEntry = (String, String);

/// Reads the answer to [`super::Query::health`].
///
/// # Errors
/// When it is no list.
pub fn instances_of_health(body: &[u8]) -> Result<Vec<Result<Instance, BadEntry>>, ConsulError> {
    entries(body, |entry: HealthEntry| {
        let HealthEntry { node, service, checks } = entry;
        let meta = service.meta.unwrap_or_default();
        Instance {
            name: format!("{}/{}", node.node, service.id),
            address: if service.address.is_empty() { node.address } else { service.address },
            port: service.port,
            weights: (service.weights.passing, service.weights.warning),
            tags: service.tags.unwrap_or_default(),
            labels: laid_over(node.meta.unwrap_or_default(), &meta),
            meta,
            health: checks.iter().flatten().map(health).max().unwrap_or(Health::Passing),
            created: service.create_index,
        }
    })
}

/// Reads the answer to [`super::Query::instances`], which says nothing of checks.
///
/// # Errors
/// When it is no list.
pub fn instances_of_catalog(body: &[u8]) -> Result<Vec<Result<Instance, BadEntry>>, ConsulError> {
    entries(body, |entry: CatalogEntry| {
        let meta = entry.service_meta.unwrap_or_default();
        Instance {
            name: format!("{}/{}", entry.node, entry.service_id),
            address: if entry.service_address.is_empty() { entry.address } else { entry.service_address },
            port: entry.service_port,
            weights: (entry.service_weights.passing, entry.service_weights.warning),
            tags: entry.service_tags.unwrap_or_default(),
            labels: laid_over(entry.node_meta.unwrap_or_default(), &meta),
            meta,
            health: Health::Passing,
            created: entry.create_index,
        }
    })
}

/// Reads the answer to [`super::Query::services`]: names with the tags of all their instances.
///
/// # Errors
/// When it is no map of lists.
pub fn services(body: &[u8]) -> Result<BTreeMap<String, BTreeSet<String>>, ConsulError> {
    let found: BTreeMap<String, Option<BTreeSet<String>>> =
        serde_json::from_slice(body).map_err(|error| no_json(&error))?;
    Ok(found.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect())
}

fn entries<T: for<'de> Deserialize<'de>>(
    body: &[u8],
    instance: impl Fn(T) -> Instance,
) -> Result<Vec<Result<Instance, BadEntry>>, ConsulError> {
    let entries: Vec<Value> = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
    let read = |(number, entry): (usize, Value)| {
        let name = || format!("instance {}", number + 1);
        T::deserialize(entry).map(&instance).map_err(|error| (name(), error.to_string()))
    };
    Ok(entries.into_iter().enumerate().map(read).collect())
}

pub(super) fn no_json(error: &serde_json::Error) -> ConsulError {
    ConsulError::Answer(format!(
        "line {}, column {}: it is not what Consul documents",
        error.line(),
        error.column()
    ))
}

fn laid_over(beneath: Labels, above: &Labels) -> Labels {
    beneath.into_iter().chain(above.iter().map(|(key, value)| (key.clone(), value.clone()))).collect()
}

/// Consul's own names for the checks of maintenance (api documentation, "Enable Maintenance Mode").
fn health(check: &Check) -> Health {
    match check.status.as_str() {
        "passing" => Health::Passing,
        "warning" => Health::Warning,
        _ if check.id == "_node_maintenance" || check.id.starts_with("_service_maintenance:") => {
            Health::Maintenance
        }
        _ => Health::Critical,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_instance_is_where_its_service_says_or_else_its_node() {
        let entry = |address: &str| {
            json!({"Node": {"Node": "n1", "Address": "10.0.0.1", "Meta": {"az": "a", "rack": "7"}},
                "Service": {"ID": "web-1", "Address": address, "Port": 80, "Tags": null, "Meta": {"az": "b"},
                    "Weights": {"Passing": 5, "Warning": 2}, "CreateIndex": 9},
                "Checks": [{"CheckID": "serfHealth", "Status": "passing"}, {"CheckID": "x", "Status": "warning"}]})
        };
        let body = json!([entry(""), entry("10.0.0.2"), 7, {"Node": {}}]).to_string();
        let read = instances_of_health(body.as_bytes()).unwrap();
        let one = read[0].as_ref().unwrap();
        assert_eq!((one.name.as_str(), one.address.as_str(), one.port), ("n1/web-1", "10.0.0.1", 80));
        assert_eq!((one.weights, one.health, one.created), ((5, 2), Health::Warning, 9));
        let labels: Vec<_> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["az=b", "rack=7"]);
        assert_eq!(read[1].as_ref().unwrap().address, "10.0.0.2");
        assert!(read[2].is_err() && read[3].is_err(), "{read:?}");
    }

    #[test]
    fn the_worst_check_tells() {
        let of = |checks: &[(&str, &str)]| {
            let checks: Vec<_> =
                checks.iter().map(|(id, status)| json!({"CheckID": id, "Status": status})).collect();
            let body = json!([{"Node": {}, "Service": {}, "Checks": checks}]).to_string();
            instances_of_health(body.as_bytes()).unwrap().remove(0).unwrap().health
        };
        assert_eq!(of(&[]), Health::Passing);
        assert_eq!(of(&[("a", "critical"), ("b", "warning")]), Health::Critical);
        assert_eq!(of(&[("_node_maintenance", "critical"), ("b", "critical")]), Health::Maintenance);
        assert_eq!(of(&[("_service_maintenance:web", "critical")]), Health::Maintenance);
    }

    #[test]
    fn what_is_no_list_is_no_answer() {
        for body in ["", "{}", "[", "null", "[1"] {
            assert!(instances_of_health(body.as_bytes()).is_err(), "{body}");
            assert!(instances_of_catalog(body.as_bytes()).is_err(), "{body}");
        }
        assert!(services(b"[]").is_err());
        assert_eq!(services(br#"{"web": ["a"], "consul": null}"#).unwrap().len(), 2);
    }
}
