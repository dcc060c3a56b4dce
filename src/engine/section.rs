//! A service's section without its servers, and what every section shares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::cookie::{CookieKey, CookieName};
use super::http_frontend::HttpFrontend;
use super::listen_address::ListenAddress;
use super::option_line::{LineEnd, OptionLine};
use super::route::{FrontendName, Routes};
use super::service::{BindAddress, Entrance, ServiceName, ServiceSpec, UnixPath};

/// The installed `HAProxy`, as it is told from another: by its file and its version. Equal texts, same program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(String);

impl Program {
    /// The program that `text` tells from others.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What all services share: the program, the `global` and `defaults` sections and the operators' socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Lines of the `global` section.
    pub global: Vec<OptionLine>,
    /// Lines of the `defaults` section.
    pub defaults: Vec<OptionLine>,
    /// Where services listen that name no address.
    pub bind_address: IpAddr,
    /// The stats socket for operators' tools.
    pub operators_socket: Option<UnixPath>,
    /// What runs the sections; `None` where that plays no part.
    pub program: Option<Program>,
    /// The frontends that services share by their routes.
    pub frontends: BTreeMap<FrontendName, HttpFrontend>,
    /// What the values of sticky cookies are made with; `None` where that plays no part.
    pub cookie_key: Option<CookieKey>,
}

impl Base {
    /// Who is to get what no route is found for, of those that `is_there`.
    pub fn fallbacks(&self, is_there: impl Fn(&ServiceName) -> bool) -> BTreeMap<FrontendName, ServiceName> {
        let service =
            |frontend: &HttpFrontend| frontend.default_service.clone().filter(|name| is_there(name));
        let fallbacks = self.frontends.iter();
        fallbacks.filter_map(|(name, frontend)| Some((name.clone(), service(frontend)?))).collect()
    }
}

/// What a service's section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// `listen`: it has addresses of its own.
    Listen,
    /// `backend`: clients come through frontends of others.
    Backend,
}

/// How a section reads but for its servers, and by which routes it is reached. A change is a reload, but for the routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// Its routes.
    pub routes: Arc<Routes>,
    /// The cookie by which a client stays with its server.
    pub cookie: Option<CookieName>,
    /// Where it listens, sorted, each once.
    pub listen: Vec<ListenAddress>,
    /// What follows the address on each `bind` line.
    pub bind_options: Option<LineEnd>,
    /// The same for addresses that have options of their own, or expressly none.
    pub own_bind_options: BTreeMap<ListenAddress, Option<LineEnd>>,
    /// The section's lines.
    pub listen_options: Vec<OptionLine>,
    /// What follows the address on each `server` line.
    pub server_options: Vec<LineEnd>,
}

impl Section {
    /// The section of a service, with `bind_address` where the service names no address.
    pub fn of(spec: &ServiceSpec, bind_address: IpAddr) -> Self {
        let (kind, routes, mut listen) = match &spec.entrance {
            Entrance::Routes(routes) => (SectionKind::Backend, routes.clone(), BTreeSet::new()),
            Entrance::Port(port) => {
                let address = |bind: &BindAddress| ListenAddress::new(bind, *port);
                let listen = if spec.bind.is_empty() {
                    BTreeSet::from([address(&BindAddress::Ip(bind_address))])
                } else {
                    spec.bind.iter().map(address).collect()
                };
                (SectionKind::Listen, Arc::default(), listen)
            }
        };
        let own = spec.own_binds.iter().map(|bind| (bind.address.clone(), bind.options.clone()));
        let own_bind_options: BTreeMap<_, _> = own.collect();
        listen.extend(own_bind_options.keys().cloned());
        Self {
            kind,
            routes,
            cookie: spec.cookie.clone(),
            listen: listen.into_iter().collect(),
            bind_options: spec.bind_options.clone(),
            own_bind_options,
            listen_options: spec.listen_options.clone(),
            server_options: spec.server_options.clone(),
        }
    }

    /// Whether its lines are those of `other`; its routes are no lines.
    pub fn reads_as(&self, other: &Self) -> bool {
        let Self {
            kind,
            routes: _,
            cookie,
            listen,
            bind_options,
            own_bind_options,
            listen_options,
            server_options,
        } = self;
        *kind == other.kind
            && *cookie == other.cookie
            && *listen == other.listen
            && *bind_options == other.bind_options
            && *own_bind_options == other.own_bind_options
            && *listen_options == other.listen_options
            && *server_options == other.server_options
    }

    /// Whether it holds nothing but servers: `defaults` have the rest.
    pub fn is_plain(&self) -> bool {
        self.cookie.is_none() && self.listen_options.iter().all(|line| line.as_str() == "mode http")
    }

    /// Whether clients reach it in the same way as `other`.
    pub fn is_reached_as(&self, other: &Self) -> bool {
        self.listen == other.listen && self.routes == other.routes
    }

    /// What follows `address` on its `bind` line.
    pub fn options_of(&self, address: &ListenAddress) -> Option<&LineEnd> {
        self.own_bind_options.get(address).unwrap_or(&self.bind_options).as_ref()
    }

    /// Names of the servers that the section's own lines hold, which are no registry's.
    pub fn hand_written_servers(&self) -> impl Iterator<Item = &str> {
        self.listen_options.iter().filter_map(|line| {
            let mut words = line.words();
            (words.next() == Some("server")).then(|| words.next()).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::bind_line::own_binds;
    use crate::engine::fixtures::{line, spec};

    #[test]
    fn a_service_without_bind_takes_the_default_address() {
        let section = Section::of(&spec(8080), IpAddr::from([10, 0, 0, 1]));
        assert_eq!(section.listen, [ListenAddress::Tcp("10.0.0.1:8080".parse().unwrap())]);
    }

    #[test]
    fn a_bind_line_has_options_of_its_own() {
        let mut spec = spec(80);
        spec.bind_options = LineEnd::parse("accept-proxy").ok();
        spec.own_binds = own_binds(&line("bind :81,:82 ssl crt /p.pem")).unwrap().unwrap();
        spec.own_binds.extend(own_binds(&line("bind :83")).unwrap().unwrap());
        let section = Section::of(&spec, IpAddr::from([10, 0, 0, 1]));
        let options: Vec<_> = section
            .listen
            .iter()
            .map(|address| format!("{address} {}", section.options_of(address).map_or("", LineEnd::as_str)))
            .collect();
        assert_eq!(
            options,
            [
                "0.0.0.0:81 ssl crt /p.pem",
                "0.0.0.0:82 ssl crt /p.pem",
                "0.0.0.0:83 ",
                "10.0.0.1:80 accept-proxy"
            ]
        );
    }

    #[test]
    fn addresses_named_twice_are_bound_once() {
        let mut spec = spec(80);
        spec.bind = ["[::]", "1.2.3.4", "::"].map(|text| BindAddress::parse(text).unwrap()).into();
        assert_eq!(Section::of(&spec, IpAddr::from([0, 0, 0, 0])).listen.len(), 2);
    }

    #[test]
    fn servers_in_listen_options_are_known_by_name() {
        let mut spec = spec(80);
        spec.listen_options = vec![line("mode http"), line("server fixed 10.0.0.1:80 check")];
        let section = Section::of(&spec, IpAddr::from([0, 0, 0, 0]));
        assert_eq!(section.hand_written_servers().collect::<Vec<_>>(), ["fixed"]);
    }
}
