//! A `HAProxy` in memory: it is loaded from the text of haproxy.cfg and changed by the text of runtime commands, with the
//! replies of the real one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use proxymgr::engine::http_frontend::MapFile;

/// What a process holds, or what a haproxy.cfg would make it hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub backends: BTreeMap<String, Backend>,
    /// The files of routes: each key with what it leads to, and twice what was added twice.
    pub maps: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are HAProxy's own, each apart from the others")]
pub struct Backend {
    pub open: bool,
    /// It is reached by routes alone.
    pub routed: bool,
    pub published: bool,
    pub binds: Vec<String>,
    pub static_balance: bool,
    pub servers: BTreeMap<String, Server>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are HAProxy's own, each apart from the others")]
pub struct Server {
    pub address: String,
    pub id: u32,
    pub weight: u16,
    pub backup: bool,
    /// Its options ask for checks.
    pub has_check: bool,
    /// Its checks run.
    pub checked: bool,
    pub maxconn: Option<u32>,
    pub maintenance: bool,
}

impl Server {
    fn parse<'a>(address: &str, words: impl Iterator<Item = &'a str>) -> Self {
        let words: Vec<_> = words.collect();
        let number = |keyword: &str| {
            words.windows(2).rfind(|pair| pair[0] == keyword).map(|pair| pair[1].parse().unwrap())
        };
        Self {
            address: address.to_owned(),
            id: number("id").unwrap(),
            weight: number("weight").unwrap().try_into().unwrap(),
            backup: words.contains(&"backup"),
            has_check: last_of(&words, "check", "no-check"),
            checked: last_of(&words, "check", "no-check"),
            maxconn: words.windows(2).rfind(|pair| pair[0] == "maxconn").map(|pair| pair[1].parse().unwrap()),
            maintenance: false,
        }
    }
}

/// Whether `on` is there, and `off` not after it.
fn last_of(words: &[&str], on: &str, off: &str) -> bool {
    words.iter().rfind(|word| **word == on || **word == off) == Some(&on)
}

impl Model {
    /// Loads haproxy.cfg and the files of routes.
    pub fn load_all(config: &str, routes: &BTreeMap<MapFile, Arc<str>>) -> Self {
        let mut model = Self::load(config);
        for (file, text) in routes {
            let map = model.maps.entry(file.as_str().to_owned()).or_default();
            for line in text.lines() {
                let (key, value) = line.split_once(' ').unwrap();
                assert!(map.insert(key.to_owned(), vec![value.to_owned()]).is_none(), "{key} stands twice");
                let (service, _) = value.split_once('/').unwrap();
                assert!(model.backends.contains_key(service), "{line} leads nowhere");
            }
        }
        model
    }

    /// Loads haproxy.cfg.
    pub fn load(config: &str) -> Self {
        let mut model = Self::default();
        let mut current: Option<&mut Backend> = None;
        let mut default_balance = false;
        let mut default_server = Vec::new();
        for line in config.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("frontend" | "defaults" | "global") => current = None,
                Some(section @ ("listen" | "backend")) => {
                    let backend = model.backends.entry(words.next().unwrap().to_owned()).or_default();
                    assert!(!backend.open, "{line} stands twice");
                    backend.open = true;
                    backend.routed = section == "backend";
                    backend.published = true;
                    backend.static_balance = default_balance;
                    default_server.clear();
                    current = Some(backend);
                }
                Some("bind") => {
                    let address = words.next().unwrap().to_owned();
                    current.as_mut().into_iter().for_each(|backend| backend.binds.push(address.clone()));
                }
                Some("balance") => {
                    let is_static = matches!(words.next(), Some("static-rr" | "source"));
                    *current.as_mut().map_or(&mut default_balance, |backend| &mut backend.static_balance) =
                        is_static;
                }
                Some("hash-type") if current.is_none() => default_balance = false,
                Some("default-server") => default_server.extend(words),
                Some("server") => {
                    let name = words.next().unwrap().to_owned();
                    let address = words.next().unwrap();
                    let server = Server::parse(address, default_server.iter().copied().chain(words));
                    let ids_before = current.as_ref().unwrap().servers.values().map(|server| server.id);
                    assert!(ids_before.into_iter().all(|id| id != server.id), "an id stands twice: {line}");
                    assert!(
                        current.as_mut().unwrap().servers.insert(name, server).is_none(),
                        "{line} stands twice"
                    );
                }
                _ => {}
            }
        }
        model
    }

    /// What clients see: open services with their servers in rotation.
    pub fn served(&self) -> BTreeMap<String, BTreeMap<String, Server>> {
        let leads_to = |name: &str| {
            let values = self.maps.values().flat_map(BTreeMap::values).flatten();
            values.into_iter().any(|value| value.split_once('/').unwrap().0 == name)
        };
        let is_open = |name: &str, backend: &Backend| {
            backend.open && (!backend.routed || backend.published && leads_to(name))
        };
        let open = self.backends.iter().filter(|(name, backend)| is_open(name, backend));
        open.map(|(name, backend)| {
            let servers = backend.servers.iter().filter(|(_, server)| !server.maintenance);
            (name.clone(), servers.map(|(name, server)| (name.clone(), server.clone())).collect())
        })
        .collect()
    }

    /// Executes a command and gives the real `HAProxy`'s reply.
    pub fn execute(&mut self, command: &str, connections_last: bool) -> String {
        let words: Vec<_> = command.split(' ').collect();
        match words[..] {
            ["set", "server", target, "addr", ip, "port", port] => {
                self.move_server(target.split_once('/').unwrap(), ip, port)
            }
            _ => self.execute_other(command, connections_last).to_owned(),
        }
    }

    /// Replies as 2.6 does.
    fn move_server(&mut self, target: (&str, &str), ip: &str, port: &str) -> String {
        let new = SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
        let mut parts = String::new();
        let refusal = self.edit(target, |server| {
            let old: SocketAddr = server.address.parse().unwrap();
            server.address = new.to_string();
            let addr = if old.ip() == new.ip() {
                "no need to change the addr".to_owned()
            } else {
                format!("IP changed from '{}' to '{ip}'", old.ip())
            };
            let port = if old.port() == new.port() {
                "no need to change the port".to_owned()
            } else {
                format!("port changed from '{}' to '{port}'", old.port())
            };
            parts = format!("{addr}, {port} by 'stats socket command'");
        });
        if refusal.is_empty() { parts } else { refusal.to_owned() }
    }

    fn execute_other(&mut self, command: &str, connections_last: bool) -> &'static str {
        let words: Vec<_> = command.split(' ').collect();
        let target = |position: usize| words[position].split_once('/').unwrap();
        match words[..] {
            ["shutdown", "frontend", name] => {
                let backend = self.backends.get_mut(name).unwrap();
                if std::mem::replace(&mut backend.open, false) {
                    ""
                } else {
                    "Frontend was already shut down."
                }
            }
            ["add", "server", _, address, ..] => {
                let (name, server) = target(2);
                let Some(backend) = self.backends.get_mut(name) else { return "No such backend." };
                if backend.servers.contains_key(server) {
                    return "Already exists a server with the same name in backend.";
                }
                if backend.static_balance {
                    return "Backend must use a dynamic load balancing to support dynamic servers.";
                }
                let mut new = Server::parse(address, words[4..].iter().copied());
                new.checked = false;
                new.maintenance = true;
                backend.servers.insert(server.to_owned(), new);
                "New server registered."
            }
            ["del", "server", _] => {
                let (name, server) = target(2);
                let Some(backend) = self.backends.get_mut(name) else { return "No such backend." };
                match backend.servers.get(server) {
                    None => "No such server.",
                    Some(known) if !known.maintenance => "Only servers in maintenance mode can be deleted.",
                    Some(_) if connections_last => {
                        "Server still has connections attached to it, cannot remove it."
                    }
                    Some(_) => {
                        backend.servers.remove(server);
                        "Server deleted."
                    }
                }
            }
            ["add", "backend", name, "from", "proxymgr.routed"] => {
                if self.backends.contains_key(name) {
                    return "Error during backend creation : name is already used by other proxy 'backend x'.";
                }
                let new = Backend { open: true, routed: true, ..Backend::default() };
                self.backends.insert(name.to_owned(), new);
                "New backend registered."
            }
            [publish @ ("publish" | "unpublish"), "backend", name] => match self.backends.get_mut(name) {
                None => "No such backend.",
                Some(backend) => {
                    backend.published = publish == "publish";
                    if backend.published { "Backend published." } else { "Backend unpublished." }
                }
            },
            ["del", "backend", name] => match self.backends.get(name) {
                None => "No such backend.",
                Some(backend) if !backend.servers.is_empty() => {
                    "Only a backend without server can be deleted."
                }
                Some(backend) if backend.published => "Only an unpublished backend can be deleted.",
                Some(backend) => {
                    assert!(backend.routed, "{command}");
                    self.backends.remove(name);
                    "Backend deleted."
                }
            },
            ["add", "map", file, key, value] => {
                let map = self.maps.get_mut(file).unwrap();
                map.entry(key.to_owned()).or_default().push(value.to_owned());
                ""
            }
            ["set", "map", file, key, value] => match self.maps.get_mut(file).unwrap().get_mut(key) {
                Some(values) => {
                    values.fill(value.to_owned());
                    ""
                }
                None => "entry not found.",
            },
            ["del", "map", file, key] => match self.maps.get_mut(file).unwrap().remove(key) {
                Some(_) => "",
                None => "Key not found.",
            },
            ["enable", "health", _] => self.edit(target(2), |server| server.checked = true),
            ["set", "server", _, "state", "ready"] => {
                self.edit(target(2), |server| server.maintenance = false)
            }
            ["set", "server", _, "state", "maint"] => {
                self.edit(target(2), |server| server.maintenance = true)
            }
            ["set", "server", _, "weight", weight] => {
                let weight = weight.parse().unwrap();
                self.edit(target(2), |server| server.weight = weight)
            }
            _ => panic!("unknown command {command}"),
        }
    }

    fn edit(&mut self, (backend, server): (&str, &str), change: impl FnOnce(&mut Server)) -> &'static str {
        let Some(backend) = self.backends.get_mut(backend) else { return "No such backend." };
        match backend.servers.get_mut(server) {
            None => "No such server.",
            Some(_) if !backend.open => "Proxy is disabled.",
            Some(server) => {
                change(server);
                ""
            }
        }
    }
}
