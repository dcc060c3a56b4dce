//! Which services a container is a server of, and at which of its ports.

use std::collections::BTreeSet;
use std::num::NonZeroU16;

use super::container::Container;
use super::words::{Words, named_ports, service_name};
use crate::engine::docker_spec::ContainerAddress;
use crate::engine::printable::printable;

/// A port of a container that serves a service.
#[derive(Clone, Debug)]
pub struct Offer<'a> {
    /// The service's name, not checked yet.
    pub service: String,
    /// The container's port, or why it isn't known.
    pub port: Result<NonZeroU16, String>,
    /// All that is said of it.
    pub words: Words<'a>,
}

impl Offer<'_> {
    /// Its tags: the label `proxymgr.tags`, else registrator's `SERVICE_TAGS`; commas between them.
    pub fn tags(&self) -> BTreeSet<&str> {
        let text = self.words.label("tags").or_else(|| self.words.service("TAGS")).unwrap_or_default();
        text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect()
    }
}

/// What `container` offers where its address is found by `address`.
pub fn offers<'a>(container: &'a Container, address: &ContainerAddress) -> Vec<Offer<'a>> {
    let whole = Words::of(container, None);
    if is_ignored(&whole) {
        return Vec::new();
    }
    let mut named: BTreeSet<_> = named_ports(container).collect();
    let (said, problem) = match said_port(&whole) {
        Some(Ok(port)) => (Some(port), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let mut others: BTreeSet<NonZeroU16> = match (said, address) {
        (Some(port), _) => BTreeSet::from([port]),
        (None, ContainerAddress::Network(_)) => container.exposed.clone(),
        (None, ContainerAddress::Published) if container.on_host => container.exposed.clone(),
        (None, ContainerAddress::Published) => {
            container.published.iter().map(|published| published.port).collect()
        }
    };
    named.retain(|port| !is_ignored(&Words::of(container, Some(*port))));
    others.retain(|port| !named.contains(port) && !is_ignored(&Words::of(container, Some(*port))));

    let of_port = |port: &NonZeroU16| {
        let words = Words::of(container, Some(*port));
        let name = words.port_label("service").or_else(|| words.port_service("NAME"))?;
        Some(Offer { service: service_name(name), port: Ok(*port), words })
    };
    let mut offers: Vec<_> = named.iter().filter_map(of_port).collect();
    if let Some(name) = whole.label("service") {
        let port = match (&problem, others.iter().next()) {
            (Some(reason), _) => Err(reason.clone()),
            (None, Some(port)) if others.len() == 1 => Ok(*port),
            (None, Some(_)) => Err("it has several ports; say which by the label proxymgr.port".to_owned()),
            (None, None) => Err(no_port(address).to_owned()),
        };
        // Unless all of it is said port by port.
        if named.is_empty() || !others.is_empty() {
            let words = Words::of(container, port.as_ref().ok().copied());
            offers.push(Offer { service: service_name(name), port, words });
        }
    } else if let Some(name) = whole.service("NAME") {
        let problem = problem.or_else(|| others.is_empty().then(|| no_port(address).to_owned()));
        offers.extend(registrators(container, &service_name(name), &others, named.len(), problem));
    }
    offers
}

/// A service for each port; with several ports each has the port after its name.
fn registrators<'a>(
    container: &'a Container,
    name: &str,
    ports: &BTreeSet<NonZeroU16>,
    named: usize,
    problem: Option<String>,
) -> Vec<Offer<'a>> {
    if ports.is_empty() && named > 0 {
        return Vec::new();
    }
    let whole = |reason: String| {
        vec![Offer { service: name.to_owned(), port: Err(reason), words: Words::of(container, None) }]
    };
    if let Some(reason) = problem {
        return whole(reason);
    }
    let several = ports.len() + named > 1;
    let each = ports.iter().map(|port| Offer {
        service: if several { format!("{name}-{port}") } else { name.to_owned() },
        port: Ok(*port),
        words: Words::of(container, Some(*port)),
    });
    each.collect()
}

fn no_port(address: &ContainerAddress) -> &'static str {
    match address {
        ContainerAddress::Network(_) => "it has no port; say which by the label proxymgr.port",
        ContainerAddress::Published => {
            "it publishes no port; say which of its ports by the label proxymgr.port"
        }
    }
}

fn is_ignored(words: &Words<'_>) -> bool {
    words.service("IGNORE").is_some() || words.label("ignore").is_some_and(|text| text != "false")
}

/// The port that the label `proxymgr.port` or the variable `PORT` names.
fn said_port(whole: &Words<'_>) -> Option<Result<NonZeroU16, String>> {
    let (place, text) = match whole.label("port") {
        Some(text) => ("the label proxymgr.port", text),
        None => ("the variable PORT", whole.variable("PORT")?),
    };
    let wrong = |_| format!("{place} is '{}'; it must be 1 to 65535", printable(text));
    Some(text.parse().map_err(wrong))
}

#[cfg(test)]
mod tests {
    use super::super::container::tests::container;
    use super::*;
    use crate::engine::docker_spec::NetworkName;

    fn told(words: &[(&str, &str)], ports: &[u16], address: &ContainerAddress) -> Vec<String> {
        let container = container(words, ports);
        let tell = |offer: Offer<'_>| {
            let port = offer.port.map_or_else(|reason| format!("({reason})"), |port| port.to_string());
            format!("{} {port}", offer.service)
        };
        offers(&container, address).into_iter().map(tell).collect()
    }

    fn inside(words: &[(&str, &str)], ports: &[u16]) -> Vec<String> {
        told(words, ports, &ContainerAddress::Network(None))
    }

    #[test]
    fn labels_name_a_service_and_its_port() {
        assert_eq!(inside(&[("proxymgr.service", "web")], &[80]), ["web 80"]);
        assert_eq!(
            inside(&[("proxymgr.service", "web"), ("proxymgr.port", "8080")], &[80, 81]),
            ["web 8080"]
        );
        let several = "web (it has several ports; say which by the label proxymgr.port)";
        assert_eq!(inside(&[("proxymgr.service", "web")], &[80, 81]), [several]);
        let none = "web (it has no port; say which by the label proxymgr.port)";
        assert_eq!(inside(&[("proxymgr.service", "web")], &[]), [none]);
        let wrong = "web (the label proxymgr.port is '0'; it must be 1 to 65535)";
        assert_eq!(inside(&[("proxymgr.service", "web"), ("proxymgr.port", "0")], &[80]), [wrong]);
        let per_port = [("proxymgr.80.service", "web"), ("proxymgr.81.service", "admin")];
        assert_eq!(inside(&per_port, &[80, 81, 82]), ["web 80", "admin 81"]);
    }

    #[test]
    fn registrators_variables_mean_what_they_mean_to_it() {
        assert_eq!(inside(&[("SERVICE_NAME", "web")], &[80]), ["web 80"]);
        assert_eq!(inside(&[("SERVICE_NAME", "web")], &[80, 443]), ["web-80 80", "web-443 443"]);
        let mixed = [("SERVICE_NAME", "web"), ("SERVICE_443_NAME", "tls")];
        assert_eq!(inside(&mixed, &[80, 443]), ["tls 443", "web-80 80"]);
        assert_eq!(inside(&[("SERVICE_80_NAME", "web")], &[80, 443]), ["web 80"]);
        assert_eq!(inside(&[("SERVICE_NAME", "web"), ("SERVICE_IGNORE", "yes")], &[80]), [""; 0]);
        let one = [("SERVICE_NAME", "web"), ("SERVICE_443_IGNORE", "1")];
        assert_eq!(inside(&one, &[80, 443]), ["web 80"]);
        assert_eq!(inside(&[("SERVICE_NAME", "hello/v1")], &[80]), ["hello-v1 80"]);
        assert_eq!(inside(&[("SERVICE_NAME", "web"), ("PORT", "8000")], &[80, 443]), ["web 8000"]);
        assert_eq!(inside(&[], &[80]), [""; 0], "a container that names no service is nobody's");
    }

    #[test]
    fn with_published_ports_only_those_count() {
        let mut web = container(&[("SERVICE_NAME", "web")], &[80, 443]);
        web.publish(80, "0.0.0.0:8080");
        let names = |container: &Container, address: &ContainerAddress| -> Vec<String> {
            offers(container, address).into_iter().map(|offer| offer.service).collect()
        };
        assert_eq!(names(&web, &ContainerAddress::Published), ["web"]);
        let front = ContainerAddress::Network(NetworkName::parse("front").ok());
        assert_eq!(names(&web, &front), ["web-80", "web-443"]);
        web.on_host = true;
        assert_eq!(names(&web, &ContainerAddress::Published), ["web-80", "web-443"]);
    }

    #[test]
    fn tags_stand_in_a_list() {
        let web = container(&[("SERVICE_NAME", "web"), ("SERVICE_TAGS", "rest, v1,,")], &[80]);
        let offer = offers(&web, &ContainerAddress::Published);
        assert_eq!(offer.len(), 1, "it has no published port, which is told");
        assert_eq!(offer[0].tags(), ["rest", "v1"].into());
        let both = [("SERVICE_NAME", "web"), ("SERVICE_TAGS", "a"), ("proxymgr.tags", "b")];
        let web = container(&both, &[80]);
        assert_eq!(offers(&web, &ContainerAddress::Network(None))[0].tags(), ["b"].into());
    }
}
