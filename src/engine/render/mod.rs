//! The text of haproxy.cfg.
//!
//! The file works when a `HAProxy` is started from it by hand: listen sockets that `ProxyMgr` hands down are named by
//! environment variables with the plain address as default (configuration manual, 2.3 "Environment variables").

mod preamble;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use preamble::{defaults_needed, global_needed, preamble};

use super::as_root;
use super::cookie::CookieKey;
use super::http_frontend::{MapFile, ROUTED_DEFAULTS};
use super::include::IncludedFile;
use super::listen_address::ListenAddress;
use super::option_line::{LineEnd, OptionLine};
use super::route_text::RouteTexts;
use super::section::{Base, SectionKind};
use super::section_text::{Lines, SectionText};
use super::service::ServiceName;
use super::size::Size;
use super::state::{AppliedServer, AppliedService, AppliedState};
use super::template::{Model, Output, Shape, Template, TemplateError};

/// Names the generation's own runtime socket in the environment of a `HAProxy` that `ProxyMgr` starts.
pub const CONTROL_VARIABLE: &str = "PROXYMGR_CONTROL";
/// Names the file that carries the servers' state over a reload.
pub const SERVER_STATE_VARIABLE: &str = "PROXYMGR_SERVER_STATE";

/// A rendered haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text, ending in a line feed.
    pub text: Arc<str>,
    /// The first line of each part, ascending; lines count from 1.
    parts: Vec<(usize, Part)>,
    /// How much it holds, and the process with it, servers that leave among them.
    pub size: Size,
    /// The files of routes that it names, with what they hold.
    pub routes: BTreeMap<MapFile, Arc<str>>,
    /// Of one that a template wrote: what only a new process takes.
    pub shape: Option<Arc<Shape>>,
}

/// Whose lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Part {
    Service(ServiceName),
    Include(IncludedFile),
    /// Lines that no template has of itself, of no service.
    Shared,
    Template,
}

/// Whose a line or a section of a haproxy.cfg is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A service.
    Service(ServiceName),
    /// An included file.
    Include {
        /// Its path.
        file: String,
        /// The line in it, from 1, when a line is meant.
        line: Option<usize>,
    },
    /// The template.
    Template {
        /// The line of what it wrote, from 1, when a line is meant.
        line: Option<usize>,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "service {service}"),
            Self::Include { file, line: _ } => write!(f, "the included file {file}"),
            Self::Template { line: _ } => f.write_str("the template"),
        }
    }
}

impl Rendered {
    /// The text for a check, which is to pass before the files of routes are there.
    pub fn text_for_check(&self) -> Arc<str> {
        if self.routes.is_empty() {
            return self.text.clone();
        }
        let named = |file: &MapFile| format!("map_beg({})", file.as_str());
        let text = self
            .routes
            .keys()
            .fold(self.text.to_string(), |text, file| text.replace(&named(file), "map_beg(/dev/null)"));
        text.into()
    }

    /// Whose section holds `line`; `None` for `global` and `defaults`.
    pub fn owner_of_line(&self, line: usize) -> Option<Owner> {
        let after = self.parts.partition_point(|(first, _)| *first <= line);
        let (first, part) = self.parts.get(after.checked_sub(1)?)?;
        match part {
            Part::Service(service) => Some(Owner::Service(service.clone())),
            Part::Include(file) => {
                // A line of ours stands before the file's text.
                let line = line.checked_sub(*first).filter(|line| *line > 0);
                Some(Owner::Include { file: file.path().to_owned(), line })
            }
            Part::Shared => None,
            Part::Template => Some(Owner::Template { line: Some(line) }),
        }
    }

    /// Whose the `listen`, `frontend` or `backend` section called `name` is.
    pub fn owner_of_section(&self, name: &str) -> Option<Owner> {
        let owner = self.parts.iter().find_map(|(_, part)| match part {
            Part::Service(service) => (service.as_str() == name).then(|| Owner::Service(service.clone())),
            Part::Include(file) => file
                .sections()
                .any(|section| section == name)
                .then(|| Owner::Include { file: file.path().to_owned(), line: None }),
            Part::Shared | Part::Template => None,
        });
        owner.or_else(|| self.shape.as_ref().map(|_| Owner::Template { line: None }))
    }
}

/// Renders states; keeps the text of services that did not change since.
#[derive(Debug, Default)]
pub struct Renderer {
    base: Option<Arc<Base>>,
    blocks: BTreeMap<ServiceName, Block>,
    /// What a template wrote last, and of what: a plan and its order need the same.
    written: Option<(AppliedState, Result<Rendered, TemplateError>)>,
    last_written: Option<AppliedState>,
    routes: RouteTexts,
}

#[derive(Clone, Debug)]
struct Block {
    service: Arc<AppliedService>,
    text: SectionText,
    lines: usize,
    size: Size,
}

impl Renderer {
    /// The haproxy.cfg that holds what `applied` serves, by its template if it has one.
    ///
    /// # Errors
    /// When the template fails.
    pub fn by_template(&mut self, applied: &AppliedState) -> Result<Rendered, TemplateError> {
        let Some(template) = &applied.template else {
            self.written = None;
            return Ok(self.render(applied));
        };
        if let Some((known, written)) = &self.written
            && known == applied
        {
            return written.clone();
        }
        let built_in = self.render(applied);
        let written = self.write_by(template, applied, built_in);
        if written.is_ok() {
            self.last_written = Some(applied.clone());
        }
        self.written = Some((applied.clone(), written.clone()));
        written
    }

    /// What the template wrote a haproxy.cfg of last; once.
    pub(super) fn take_last_written(&mut self) -> Option<AppliedState> {
        self.last_written.take()
    }

    fn write_by(
        &self,
        template: &Template,
        applied: &AppliedState,
        built_in: Rendered,
    ) -> Result<Rendered, TemplateError> {
        let services = applied.serving().filter_map(|(name, service)| {
            Some((name.clone(), service.clone(), self.blocks.get(name)?.text.clone()))
        });
        let frontends = applied.base.frontends.iter();
        let model = Model {
            base: applied.base.clone(),
            global_needed: Lines::from(global_needed(applied)),
            global_last: Lines::from(as_root::lines(&applied.base, &applied.includes)),
            defaults_needed: Lines::from(defaults_needed()),
            frontends: frontends.map(|(name, frontend)| (name.clone(), frontend.section(name))).collect(),
            services: services.collect(),
            includes: applied.includes.clone(),
            built_in_bytes: built_in.text.len(),
        };
        let (text, Output { parts, shape, own_size }) = template.write(&model)?;
        let size = built_in.size + own_size;
        Ok(Rendered { text: text.into(), parts, shape: Some(Arc::new(shape)), size, ..built_in })
    }

    /// The same in the built-in layout: servers in rotation of services that take connections, and the included files.
    pub fn render(&mut self, applied: &AppliedState) -> Rendered {
        if self.base.as_ref() != Some(&applied.base) {
            self.blocks.clear();
            self.base = Some(applied.base.clone());
        }
        self.blocks.retain(|name, _| applied.services.contains_key(name));
        let mut text = preamble(applied);
        for (name, frontend) in &applied.base.frontends {
            text.push_str(frontend.section(name).as_str());
        }
        let mut line = text.lines().count() + 1;
        let mut parts = Vec::new();
        let mut size = Size::of_frontends(&applied.base);
        for (name, service) in applied.serving() {
            let block =
                self.blocks.entry(name.clone()).or_insert_with(|| Block::of(&applied.base, name, service));
            if !Arc::ptr_eq(&block.service, service) && block.service != *service {
                *block = Block::of(&applied.base, name, service);
            }
            text.push_str(block.text.as_str());
            parts.push((line, Part::Service(name.clone())));
            line += block.lines;
            size = size + block.size;
        }
        for file in applied.includes.files() {
            let _ = write!(
                text,
                "\n# Included from {}; changes made here are lost.\n{}",
                file.path(),
                file.text()
            );
            parts.push((line + 1, Part::Include(file.clone())));
            line += 2 + file.text().lines().count();
            size = size + Size::of_text(file.text());
        }
        Rendered { text: text.into(), parts, size, routes: self.routes.files(applied), shape: None }
    }
}

pub(in crate::engine) fn push_bind(text: &mut String, address: &ListenAddress, options: Option<&LineEnd>) {
    let _ = write!(text, "  bind \"${{{}-{address}}}\"", address.env_name());
    if let Some(options) = options {
        let _ = write!(text, " {options}");
    }
    text.push('\n');
}

pub(in crate::engine) fn push_lines(text: &mut String, lines: &[OptionLine]) {
    for line in lines {
        text.push_str("  ");
        text.push_str(line.as_str());
        text.push('\n');
    }
}

impl Block {
    fn of(base: &Base, name: &ServiceName, service: &Arc<AppliedService>) -> Self {
        let section = &service.section;
        let head = match section.kind {
            SectionKind::Listen => format!("listen {name}"),
            SectionKind::Backend => format!("backend {name} from {ROUTED_DEFAULTS}"),
        };
        let binds = |text: &mut String| {
            for address in &section.listen {
                push_bind(text, address, section.options_of(address));
            }
        };
        let cookie = |text: &mut String| {
            if let Some(cookie) = &section.cookie {
                let _ = writeln!(text, "  cookie {cookie} insert indirect nocache httponly dynamic");
                let key = base.cookie_key.as_ref().map_or("none", CookieKey::expose);
                let _ = writeln!(text, "  dynamic-cookie-key {key}");
            }
        };
        let options =
            section.server_options.iter().fold(String::new(), |text, line| text + " " + line.as_str());
        let servers = |text: &mut String| {
            for (server, applied) in service.servers.iter().filter(|(_, server)| !server.standing.is_out()) {
                let AppliedServer { id, address, weight, .. } = applied;
                let _ = write!(text, "  server {server} {address} id {id}{options}");
                if let Some(own) = &applied.options {
                    let _ = write!(text, " {own}");
                }
                let _ = writeln!(text, " weight {weight}{}", if applied.backup { " backup" } else { "" });
            }
        };
        let listen_options = |text: &mut String| push_lines(text, &section.listen_options);
        let text = SectionText::write(&head, binds, listen_options, cookie, servers);
        let lines = text.as_str().lines().count();
        Self { service: service.clone(), text, lines, size: Size::of_service(base, service) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{desired, name};
    use crate::engine::include::Includes;

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
        let service = |text: &str| Some(Owner::Service(name(text)));
        assert_eq!(rendered.owner_of_line(line_of("defaults")), None);
        assert_eq!(rendered.owner_of_line(line_of("listen a")), service("a"));
        assert_eq!(rendered.owner_of_line(line_of("listen b") - 2), service("a"));
        assert_eq!(rendered.owner_of_line(line_of("listen b")), service("b"));
        assert_eq!(rendered.owner_of_line(9999), service("b"));
        assert_eq!((rendered.owner_of_section("b"), rendered.owner_of_section("x")), (service("b"), None));
    }

    #[test]
    fn included_files_follow_the_services_and_a_line_leads_to_its_place_in_its_file() {
        let mut desired = desired(&[("a", 1, "check", &["1.1.1.1:1"])]);
        let file =
            |path: &str, text: &str| IncludedFile::new(std::path::Path::new(path), text.as_bytes()).unwrap();
        let files = [("/c/1.cfg", "listen x\n  bind :1"), ("/c/2.cfg", ""), ("/c/3.cfg", "backend y\n")];
        desired.includes = Arc::new(Includes::new(files.map(|(path, text)| file(path, text)).into()));
        let rendered = Renderer::default().render(&AppliedState::loaded(&desired, None));
        let included = "\n# Included from /c/1.cfg; changes made here are lost.\nlisten x\n  bind :1\n\n\
                        # Included from /c/2.cfg; changes made here are lost.\n\n\
                        # Included from /c/3.cfg; changes made here are lost.\nbackend y\n";
        assert!(rendered.text.ends_with(included), "{}", rendered.text);
        let line_of =
            |needle: &str| rendered.text.lines().position(|line| line.contains(needle)).unwrap() + 1;
        let at = |file: &str, line| Some(Owner::Include { file: file.into(), line });
        assert_eq!(rendered.owner_of_line(line_of("listen x") - 2), Some(Owner::Service(name("a"))));
        assert_eq!(rendered.owner_of_line(line_of("listen x")), at("/c/1.cfg", Some(1)));
        assert_eq!(rendered.owner_of_line(line_of("  bind :1")), at("/c/1.cfg", Some(2)));
        assert_eq!(rendered.owner_of_line(line_of("/c/2.cfg")), at("/c/2.cfg", None));
        assert_eq!(rendered.owner_of_line(line_of("backend y")), at("/c/3.cfg", Some(1)));
        assert_eq!(rendered.owner_of_section("y"), at("/c/3.cfg", None));
    }
}
