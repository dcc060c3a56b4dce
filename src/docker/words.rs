//! What a container says of one of its ports: labels `proxymgr.*`, and the words of registrator and of Cosmonaut.

use std::num::NonZeroU16;

use super::container::Container;
use crate::engine::node_rules::Labels;

const LABEL: &str = "proxymgr.";
const SERVICE: &str = "SERVICE_";

/// What is said of one port of a container; what is said of this port alone goes before what is said of all.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    container: &'a Container,
    port: Option<NonZeroU16>,
}

impl<'a> Words<'a> {
    /// Of `port`, or of none in particular.
    pub fn of(container: &'a Container, port: Option<NonZeroU16>) -> Self {
        Self { container, port }
    }

    /// The label `proxymgr.PORT.KEY`, else `proxymgr.KEY`.
    pub fn label(&self, key: &str) -> Option<&'a str> {
        self.port_label(key).or_else(|| self.get_label(&format!("{LABEL}{key}")))
    }

    /// The label `proxymgr.PORT.KEY`.
    pub fn port_label(&self, key: &str) -> Option<&'a str> {
        self.get_label(&format!("{LABEL}{}.{key}", self.port?))
    }

    /// What follows `proxymgr.` in the labels that are meant for this port, with their values.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let port = self.port.map(|port| format!("{port}."));
        let all = self.container.labels.iter();
        let ours = all.filter_map(|(key, value)| Some((key.strip_prefix(LABEL)?, value.as_str())));
        let (of_ports, of_all): (Vec<_>, Vec<_>) =
            ours.partition(|(key, _)| key.split_once('.').is_some_and(|(port, _)| is_port(port)));
        let mine =
            move |(key, value): (&'a str, &'a str)| Some((key.strip_prefix(port.as_ref()?.as_str())?, value));
        of_all.into_iter().chain(of_ports.into_iter().filter_map(mine))
    }

    /// `SERVICE_PORT_KEY`, else `SERVICE_KEY`, of the environment or, before that, of the labels, as registrator has it.
    pub fn service(&self, key: &str) -> Option<&'a str> {
        self.port_service(key).or_else(|| self.get(&format!("{SERVICE}{key}")))
    }

    /// `SERVICE_PORT_KEY`.
    pub fn port_service(&self, key: &str) -> Option<&'a str> {
        self.get(&format!("{SERVICE}{}_{key}", self.port?))
    }

    /// A variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        self.container.variables.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// What it says of itself to choose by: its labels, and `SERVICE_REGION` as `region`.
    pub fn attributes(&self) -> Labels {
        let words = self.container.variables.iter().chain(&self.container.labels);
        let services = words.filter_map(|(key, value)| {
            let key = key.strip_prefix(SERVICE)?;
            // What is said of this port alone comes after, and counts.
            let of_port = self.port.and_then(|port| key.strip_prefix(&format!("{port}_")));
            Some((of_port.is_some(), of_port.unwrap_or(key).to_ascii_lowercase(), value))
        });
        let mut services: Vec<_> = services.collect();
        services.sort_by_key(|(of_port, ..)| *of_port);
        let mut all: Labels = services.into_iter().map(|(_, key, value)| (key, value.clone())).collect();
        all.extend(self.container.labels.clone());
        all
    }

    fn get_label(&self, key: &str) -> Option<&'a str> {
        self.container.labels.get(key).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.get_label(name).or_else(|| self.variable(name))
    }
}

/// The ports that a container says something about, each alone.
pub(super) fn named_ports(container: &Container) -> impl Iterator<Item = NonZeroU16> {
    let labels = container.labels.keys();
    let by_label = labels.clone().filter_map(|key| key.strip_prefix(LABEL)?.strip_suffix(".service"));
    let words = labels.chain(container.variables.keys());
    let by_word = words.filter_map(|key| key.strip_prefix(SERVICE)?.strip_suffix("_NAME"));
    by_label.chain(by_word).filter_map(|port| port.parse().ok())
}

fn is_port(text: &str) -> bool {
    text.parse::<NonZeroU16>().is_ok()
}

/// A name of a service as `HAProxy` takes it: registrator's may hold `/`, as `hello/v1` does, which becomes `hello-v1`.
pub fn service_name(name: &str) -> String {
    name.replace('/', "-")
}
