//! Where a container's port is reached.

use std::net::IpAddr;
use std::num::NonZeroU16;

use super::container::Container;
use crate::engine::docker_spec::{ContainerAddress, DockerHost, NetworkName};
use crate::engine::listed_server::Host;
use crate::engine::printable::printable;

/// The host and port at which `port` of `container`, which runs on `host`, is reached by `address`.
///
/// # Errors
/// Why it can't be reached so, with what to do.
pub fn address(
    container: &Container,
    port: NonZeroU16,
    address: &ContainerAddress,
    host: &DockerHost,
) -> Result<(Host, NonZeroU16), String> {
    if container.on_host {
        return Ok((host.machine(), port));
    }
    match address {
        ContainerAddress::Published => published(container, port, host),
        ContainerAddress::Network(name) => {
            let label = container.labels.get("proxymgr.network").map(String::as_str);
            let ip = own(container, name.as_ref().map(NetworkName::as_str).or(label))?;
            let at = Host::at(ip).ok_or_else(|| format!("its address is {ip}"))?;
            Ok((at, port))
        }
    }
}

fn own(container: &Container, network: Option<&str>) -> Result<IpAddr, String> {
    let addresses = &container.addresses;
    match network {
        Some(name) => addresses.get(name).copied().ok_or_else(|| {
            format!("it has no address in the network '{}'; put it there or choose another", printable(name))
        }),
        None if addresses.len() > 1 => {
            let names: Vec<_> = addresses.keys().map(String::as_str).collect();
            Err(format!(
                "it is in several networks ({}); choose one with \"network\" or its label proxymgr.network",
                printable(&names.join(", "))
            ))
        }
        None => addresses.values().next().copied().ok_or_else(|| {
            "it has no address in any network; publish its port and choose \"published\"".to_owned()
        }),
    }
}

/// Of several the first: v4 before v6.
fn published(
    container: &Container,
    port: NonZeroU16,
    host: &DockerHost,
) -> Result<(Host, NonZeroU16), String> {
    let found = container.published.iter().find(|published| published.port == port);
    let found = found.ok_or_else(|| format!("its port {port} is not published on the host"))?;
    Ok((Host::at(found.ip).unwrap_or_else(|| host.machine()), found.host_port))
}

#[cfg(test)]
mod tests {
    use super::super::container::tests::container;
    use super::*;

    #[test]
    fn a_container_is_reached_in_the_network_that_is_chosen() {
        let mut web = container(&[], &[80]);
        let port = NonZeroU16::new(80).unwrap();
        let host = DockerHost::default();
        let at = |web: &Container, name: Option<&str>| {
            let network = name.map(|name| NetworkName::parse(name).unwrap());
            address(web, port, &ContainerAddress::Network(network), &host)
        };
        let ip = |text: &str| Ok((Host::Address(text.parse().unwrap()), port));
        assert!(at(&web, None).unwrap_err().contains("no address in any network"));
        web.addresses.insert("front".into(), "172.18.0.2".parse().unwrap());
        assert_eq!(at(&web, None), ip("172.18.0.2"));
        web.addresses.insert("back".into(), "172.19.0.2".parse().unwrap());
        assert_eq!(at(&web, Some("back")), ip("172.19.0.2"));
        assert!(at(&web, None).unwrap_err().contains("several networks (back, front)"));
        web.labels.insert("proxymgr.network".into(), "front".into());
        assert_eq!(at(&web, None), ip("172.18.0.2"));
        assert_eq!(at(&web, Some("back")), ip("172.19.0.2"), "who asks knows better");
        assert!(at(&web, Some("other")).unwrap_err().contains("no address in the network 'other'"));
        web.on_host = true;
        assert_eq!(at(&web, Some("other")), ip("127.0.0.1"));
    }

    #[test]
    fn a_published_port_is_the_hosts() {
        let mut web = container(&[], &[80]);
        let port = NonZeroU16::new(80).unwrap();
        let at = |web: &Container, host: &str| {
            address(web, port, &ContainerAddress::Published, &DockerHost::parse(host).unwrap())
                .map(|(host, port)| format!("{host:?} {port}"))
        };
        assert!(at(&web, "unix:///x").unwrap_err().contains("80 is not published"));
        web.publish(80, "[::]:8081");
        web.publish(80, "0.0.0.0:8080");
        assert_eq!(at(&web, "unix:///x"), Ok("Address(127.0.0.1) 8080".to_owned()));
        assert_eq!(at(&web, "tcp://10.0.0.1:1"), Ok("Address(10.0.0.1) 8080".to_owned()));
        web.published.clear();
        web.publish(80, "10.1.1.1:8080");
        assert_eq!(at(&web, "tcp://10.0.0.1:1"), Ok("Address(10.1.1.1) 8080".to_owned()));
    }
}
