//! The text of haproxy.cfg.
//!
//! The file works when a `HAProxy` is started from it by hand: listen sockets that `ProxyMgr` hands down are named by
//! environment variables with the plain address as default (configuration manual, 2.3 "Environment variables").

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::listen_address::ListenAddress;
use super::section::Base;
use super::service::ServiceName;
use super::state::{AppliedServer, AppliedService, AppliedState};

/// Names the generation's own runtime socket in the environment of a `HAProxy` that `ProxyMgr` starts.
pub const CONTROL_VARIABLE: &str = "PROXYMGR_CONTROL";
/// Names the file that carries the servers' state over a reload.
pub const SERVER_STATE_VARIABLE: &str = "PROXYMGR_SERVER_STATE";

/// A rendered haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text, ending in a line feed.
    pub text: Arc<str>,
    /// The first line of each service's section, ascending; lines count from 1.
    sections: Vec<(usize, ServiceName)>,
}

impl Rendered {
    /// The service whose section holds `line`; `None` for `global` and `defaults`.
    pub fn service_at(&self, line: usize) -> Option<&ServiceName> {
        let after = self.sections.partition_point(|(first, _)| *first <= line);
        self.sections.get(after.checked_sub(1)?).map(|(_, service)| service)
    }

    /// Whether `service` has a section.
    pub fn holds(&self, service: &ServiceName) -> bool {
        self.sections.iter().any(|(_, held)| held == service)
    }
}

/// Renders states; keeps the text of services that did not change since.
#[derive(Debug, Default)]
pub struct Renderer {
    blocks: BTreeMap<ServiceName, Block>,
}

#[derive(Clone, Debug)]
struct Block {
    service: Arc<AppliedService>,
    text: Arc<str>,
    lines: usize,
}

impl Renderer {
    /// The haproxy.cfg that holds what `applied` serves: servers in rotation of services that take connections.
    pub fn render(&mut self, applied: &AppliedState) -> Rendered {
        self.blocks.retain(|name, _| applied.services.contains_key(name));
        let mut text = preamble(&applied.base);
        let mut line = text.lines().count() + 1;
        let mut sections = Vec::new();
        for (name, service) in applied.serving() {
            let block = self.blocks.entry(name.clone()).or_insert_with(|| Block::of(name, service));
            if !Arc::ptr_eq(&block.service, service) && block.service != *service {
                *block = Block::of(name, service);
            }
            text.push_str(&block.text);
            sections.push((line, name.clone()));
            line += block.lines;
        }
        Rendered { text: text.into(), sections }
    }
}

fn preamble(base: &Base) -> String {
    let operators = base.operators_socket.as_ref().map_or_else(String::new, |socket| {
        let variable = ListenAddress::Unix(socket.clone()).env_name();
        format!("  stats socket \"${{{variable}-{}}}\" mode 600 level admin\n", socket.as_path().display())
    });
    let mut text = format!(
        "# Written by ProxyMgr: changes made here are lost. Edit proxymgr.yml or the registry.\n\
         global\n\
         \x20 .if defined({CONTROL_VARIABLE})\n\
         \x20 stats socket \"${{{CONTROL_VARIABLE}}}\" level admin\n\
         \x20 server-state-file \"${{{SERVER_STATE_VARIABLE}}}\"\n\
         \x20 .endif\n\
         {operators}"
    );
    push_lines(&mut text, &base.global);
    let _ = write!(
        text,
        "\ndefaults\n\
         \x20 .if defined({CONTROL_VARIABLE})\n\
         \x20 load-server-state-from-file global\n\
         \x20 .endif\n"
    );
    push_lines(&mut text, &base.defaults);
    text
}

fn push_lines(text: &mut String, lines: &[super::option_line::OptionLine]) {
    for line in lines {
        text.push_str("  ");
        text.push_str(line.as_str());
        text.push('\n');
    }
}

impl Block {
    fn of(name: &ServiceName, service: &Arc<AppliedService>) -> Self {
        let section = &service.section;
        let mut text = format!("\nlisten {name}\n");
        for address in &section.listen {
            let _ = write!(text, "  bind \"${{{}-{address}}}\"", address.env_name());
            if let Some(options) = &section.bind_options {
                let _ = write!(text, " {options}");
            }
            text.push('\n');
        }
        push_lines(&mut text, &section.listen_options);
        let options =
            section.server_options.iter().fold(String::new(), |text, line| text + " " + line.as_str());
        for (server, applied) in service.servers.iter().filter(|(_, server)| !server.standing.is_out()) {
            let AppliedServer { id, address, weight, .. } = applied;
            let _ = write!(text, "  server {server} {address} id {id}{options}");
            if let Some(own) = &applied.options {
                let _ = write!(text, " {own}");
            }
            let _ = writeln!(text, " weight {weight}{}", if applied.backup { " backup" } else { "" });
        }
        let lines = text.lines().count();
        Self { service: service.clone(), text: text.into(), lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{desired, name};

    fn render(services: &[(&str, u16, &str, &[&str])]) -> Rendered {
        Renderer::default().render(&AppliedState::loaded(&desired(services), None))
    }

    #[test]
    fn a_section_names_its_sockets_by_variable_and_its_servers_by_address() {
        let rendered = render(&[("web", 8080, "check inter 2000", &["1.2.3.4:80", "[::1]:80"])]);
        let (_, section) = rendered.text.split_once("\nlisten ").unwrap();
        let mut lines = section.lines();
        assert_eq!(lines.next(), Some("web"));
        assert_eq!(lines.next(), Some("  bind \"${PROXYMGR_FD_0__0__0__0_x3A8080-0.0.0.0:8080}\""));
        let server = lines.next().unwrap();
        assert!(server.starts_with("  server 1.2.3.4:80 1.2.3.4:80 id "), "{server}");
        assert!(server.ends_with(" check inter 2000 weight 1"), "{server}");
        assert!(lines.next().unwrap().starts_with("  server ::1:80 [::1]:80 id "));
        assert_eq!(lines.next(), None);
        assert!(rendered.text.ends_with('\n'));
    }

    #[test]
    fn a_line_leads_to_its_service() {
        let rendered = render(&[("a", 1, "check", &["1.1.1.1:1"]), ("b", 2, "check", &["1.1.1.1:1"])]);
        let line_of =
            |needle: &str| rendered.text.lines().position(|line| line.contains(needle)).unwrap() + 1;
        assert_eq!(rendered.service_at(line_of("defaults")), None);
        assert_eq!(rendered.service_at(line_of("listen a")), Some(&name("a")));
        assert_eq!(rendered.service_at(line_of("listen b") - 2), Some(&name("a")));
        assert_eq!(rendered.service_at(line_of("listen b")), Some(&name("b")));
        assert_eq!(rendered.service_at(9999), Some(&name("b")));
    }
}
