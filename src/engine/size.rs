//! How much a haproxy.cfg holds.

use std::ops::Add;

use super::capability::{Switches, server_words};
use super::section::Base;
use super::state::AppliedService;

/// Counts of what costs files and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// `listen`, `frontend` and `backend` sections.
    pub sections: u64,
    /// Addresses that are listened on.
    pub listen_sockets: u64,
    /// Servers.
    pub servers: u64,
    /// Those that are checked.
    pub checked: u64,
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            sections: self.sections + other.sections,
            listen_sockets: self.listen_sockets + other.listen_sockets,
            servers: self.servers + other.servers,
            checked: self.checked + other.checked,
        }
    }
}

impl Size {
    /// Of a service; servers that leave are counted until they are deleted.
    pub fn of_service(base: &Base, service: &AppliedService) -> Self {
        let section = &service.section;
        let of_all = Switches::of(base, section, None).any_check();
        let servers = service.servers.values();
        let checked = servers.filter(|server| match &server.options {
            None => of_all,
            Some(own) => Switches::of(base, section, Some(own)).any_check(),
        });
        let own = Self {
            sections: 1,
            listen_sockets: count(section.listen.len()),
            servers: count(service.servers.len()),
            checked: count(checked.count()),
        };
        let defaults_check = Switches::of_words(&server_words(base, section).collect::<Vec<_>>()).any_check();
        section
            .listen_options
            .iter()
            .fold(own, |size, line| size + Self::of_line(line.as_str(), defaults_check))
    }

    /// Of the frontends of proxymgr.yml.
    pub fn of_frontends(base: &Base) -> Self {
        let frontends = base.frontends.values();
        frontends.fold(Self::default(), |size, frontend| {
            let listen_sockets = count(frontend.binds().len());
            size + Self { sections: 1, listen_sockets, ..Self::default() }
        })
    }

    /// Of hand-written sections, as far as plain lines tell.
    pub fn of_text(text: &str) -> Self {
        text.lines().fold(Self::default(), |size, line| size + Self::of_line(line, false))
    }

    fn of_line(line: &str, checked: bool) -> Self {
        let mut words = line.split_ascii_whitespace();
        let none = Self::default();
        match words.next() {
            Some("listen" | "frontend" | "backend") => Self { sections: 1, ..none },
            Some("bind") => Self { listen_sockets: 1, ..none },
            Some("server") => {
                let checked = checked || words.any(|word| word == "check");
                Self { servers: 1, checked: u64::from(checked), ..none }
            }
            Some(_) | None => none,
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{desired, name};
    use crate::engine::server_options::NodeWords;
    use crate::engine::state::AppliedState;

    #[test]
    fn servers_are_checked_by_the_services_options_or_by_their_own() {
        let applied = AppliedState::loaded(&desired(&[("a", 1, "check", &["1.1.1.1:1", "2.2.2.2:2"])]), None);
        let mut service = (*applied.services[&name("a")]).clone();
        assert_eq!(
            Size::of_service(&applied.base, &service),
            Size { sections: 1, listen_sockets: 1, servers: 2, checked: 2 }
        );
        for server in service.servers.values_mut().take(1) {
            server.options = NodeWords::parse("no-check").unwrap().options;
        }
        assert_eq!(Size::of_service(&applied.base, &service).checked, 1);
    }

    #[test]
    fn plain_lines_of_included_files_are_counted() {
        let text =
            "listen x\n  bind :1\n  server a 1.1.1.1:1 check\n  server b 1.1.1.1:2\nbackend y\n# server z\n";
        assert_eq!(Size::of_text(text), Size { sections: 2, listen_sockets: 1, servers: 2, checked: 1 });
    }
}
