//! What a template wrote, read: whether it holds what `ProxyMgr` needs, whose each line is, and what of it a running process
//! can't be told.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::net::SocketAddr;

use super::Model;
use crate::engine::include::IncludedFile;
use crate::engine::listen_address::ListenAddress;
use crate::engine::option_line::{OptionLine, SECTION_KEYWORDS};
use crate::engine::render::{CONTROL_VARIABLE, Part, SERVER_STATE_VARIABLE};
use crate::engine::section::SectionKind;
use crate::engine::section_text::Lines;
use crate::engine::service::ServiceName;
use crate::engine::size::Size;

/// How the environment variables of listen sockets begin; see [`ListenAddress::env_name`].
const LISTEN_VARIABLE: &str = "${PROXYMGR_FD_";

/// A text as it was read.
#[derive(Debug)]
pub(in crate::engine) struct Output {
    /// The first line of each part, ascending; lines count from 1.
    pub(in crate::engine) parts: Vec<(usize, Part)>,
    /// What of it only a new process takes.
    pub(in crate::engine) shape: Shape,
    /// How much the template's own lines hold.
    pub(in crate::engine) own_size: Size,
}

/// All of a text but comments and the `server` lines of services as they come ready, which a running process can be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    outside: u64,
    services: BTreeMap<ServiceName, SectionShape>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SectionShape {
    lines: u64,
    /// It is just as in the built-in layout, and so as one that comes at run time.
    is_built_in: bool,
}

impl Shape {
    /// Whether a process that was started with `loaded` holds this. Services may be gone from it, and have come at run time.
    pub fn is_held_by(&self, loaded: &Self) -> bool {
        let is_held = |(name, own): (&ServiceName, &SectionShape)| {
            loaded.services.get(name).map_or(own.is_built_in, |loaded| loaded == own)
        };
        self.outside == loaded.outside && self.services.iter().all(is_held)
    }
}

/// Reads `text`, which was written from `model`.
///
/// # Errors
/// What it lacks, as the end of a sentence that begins with it.
pub(in crate::engine) fn read(text: &str, model: &Model) -> Result<Output, String> {
    let mut reading = Reading::new(text, model)?;
    for (number, line) in (1..).zip(text.lines()) {
        reading.line(number, line)?;
    }
    reading.missing()?;
    let services = reading.sections.iter().filter(|(_, section)| section.is_service);
    let hash =
        |(name, section): (&&str, &Section<'_>)| Some((ServiceName::parse(name).ok()?, section.shape()));
    let shape = Shape { outside: reading.outside.finish(), services: services.filter_map(hash).collect() };
    Ok(Output { parts: reading.parts, shape, own_size: reading.own_size })
}

/// A section that is known by its name, with what it still lacks.
struct Section<'a> {
    is_service: bool,
    /// It needs to be there as a `backend`, or as a `listen`, which is both.
    lacks_backend: bool,
    lacks_frontend: bool,
    /// By the name of its variable.
    binds: BTreeMap<String, &'a ListenAddress>,
    /// Whether each of its servers was seen.
    servers: BTreeMap<Identity<'a>, bool>,
    map: Option<&'a str>,
    ready: HashSet<&'a str>,
    server_lines: HashSet<&'a str>,
    hasher: DefaultHasher,
    /// Its lines in the built-in layout.
    built_in_lines: usize,
    /// How many of these were seen, and how many others.
    ready_lines: usize,
    own_lines: usize,
}

struct Reading<'a> {
    sections: BTreeMap<&'a str, Section<'a>>,
    /// Lines that come ready, outside of the sections that are known.
    ready: HashSet<&'a str>,
    /// Where an included file begins and ends.
    includes: Vec<(usize, usize, &'a IncludedFile)>,
    current: Option<&'a str>,
    lacks_control: bool,
    lacks_state_file: bool,
    lacks_state: bool,
    operators: Option<String>,
    outside: DefaultHasher,
    parts: Vec<(usize, Part)>,
    own_size: Size,
}

fn trimmed(lines: &str) -> impl Iterator<Item = &str> + Clone {
    lines.lines().map(str::trim)
}

/// Whether `HAProxy` takes a trimmed line for more than a comment.
fn is_read(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// `server NAME ADDRESS id ID`: what tells a server from others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity<'a> {
    name: &'a str,
    address: &'a str,
    id: &'a str,
}

impl<'a> Identity<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        match (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?) {
            ("server", name, address, "id", id) => Some(Self { name, address, id }),
            _ => None,
        }
    }
}

impl<'a> Section<'a> {
    fn new(listen: &'a [ListenAddress]) -> Self {
        Self {
            is_service: false,
            lacks_backend: false,
            lacks_frontend: false,
            binds: listen.iter().map(|address| (address.env_name(), address)).collect(),
            servers: BTreeMap::new(),
            map: None,
            ready: HashSet::new(),
            server_lines: HashSet::new(),
            hasher: DefaultHasher::new(),
            built_in_lines: 0,
            ready_lines: 0,
            own_lines: 0,
        }
    }

    fn shape(&self) -> SectionShape {
        let is_built_in = self.own_lines == 0 && self.ready_lines == self.built_in_lines;
        SectionShape { lines: self.hasher.finish(), is_built_in }
    }
}

impl<'a> Reading<'a> {
    fn new(text: &str, model: &'a Model) -> Result<Self, String> {
        let mut sections = BTreeMap::new();
        for (name, frontend) in &model.frontends {
            let listen = model.base.frontends.get(name).map(|frontend| frontend.listen.as_slice());
            let section = Section {
                lacks_frontend: true,
                map: model.base.frontends.get(name).map(|frontend| frontend.map.as_str()),
                ready: trimmed(frontend.as_str()).collect(),
                ..Section::new(listen.unwrap_or_default())
            };
            sections.insert(name.as_str(), section);
        }
        for (name, service, section) in &model.services {
            let servers = trimmed(section.servers_text());
            let section = Section {
                is_service: true,
                lacks_backend: true,
                lacks_frontend: service.section.kind == SectionKind::Listen
                    && !service.section.listen.is_empty(),
                ready: trimmed(section.as_str()).collect(),
                built_in_lines: trimmed(section.as_str()).filter(|line| is_read(line)).count(),
                servers: servers.clone().filter_map(|line| Some((Identity::of(line)?, false))).collect(),
                server_lines: servers.collect(),
                ..Section::new(&service.section.listen)
            };
            sections.insert(name.as_str(), section);
        }
        let ready = [&model.global_needed, &model.global_last, &model.defaults_needed];
        let ready = ready.into_iter().map(Lines::as_str).flat_map(trimmed);
        let lines = model.base.global.iter().chain(&model.base.defaults).map(OptionLine::as_str);
        Ok(Self {
            sections,
            ready: ready.chain(lines).collect(),
            includes: find_includes(text, model)?,
            current: None,
            lacks_control: true,
            lacks_state_file: true,
            lacks_state: true,
            operators: model
                .base
                .operators_socket
                .clone()
                .map(|socket| ListenAddress::Unix(socket).env_name()),
            outside: DefaultHasher::new(),
            parts: Vec::new(),
            own_size: Size::default(),
        })
    }

    fn line(&mut self, number: usize, line: &'a str) -> Result<(), String> {
        let begun = self.includes.partition_point(|(start, _, _)| *start <= number);
        let include = begun.checked_sub(1).and_then(|last| self.includes.get(last));
        if let Some((start, _, file)) = include.filter(|(_, end, _)| number < *end) {
            // As in the built-in layout, a line stands before the file's text.
            let (start, part) = (start.saturating_sub(1), Part::Include((*file).clone()));
            line.trim().hash(&mut self.outside);
            self.current = None;
            self.part(start, part);
            return Ok(());
        }
        let line = line.trim();
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next().filter(|_| is_read(line)) else { return Ok(()) };
        let second = words.next().unwrap_or_default();
        if SECTION_KEYWORDS.contains(&first) {
            self.open(first, second);
        }
        let Some((name, section)) = self.current.and_then(|name| Some((name, self.sections.get_mut(name)?)))
        else {
            self.shared_line(number, line, first, second);
            return Ok(());
        };
        if first == "server" {
            let known = Identity::of(line).and_then(|server| section.servers.get_mut(&server));
            let is_known = known.map(|seen| *seen = true).is_some() || section.ready.contains(line);
            // It would be taken for a server that is on its way out.
            if section.is_service && !is_known && second.parse::<SocketAddr>().is_ok() {
                return Err(format!(
                    "has a server '{second}' in service {name} that its registry does not know; give it a name that is no address"
                ));
            }
        }
        if let Some(variable) = listen_variable(line) {
            section.binds.remove(variable);
        }
        if section.map.is_some_and(|map| line.contains(map)) {
            section.map = None;
        }
        if !section.server_lines.contains(line) {
            line.hash(&mut section.hasher);
        }
        let is_ready = section.ready.contains(line);
        *(if is_ready { &mut section.ready_lines } else { &mut section.own_lines }) += 1;
        let owner = if !is_ready {
            Part::Template
        } else if section.is_service {
            match ServiceName::parse(name) {
                Ok(name) => Part::Service(name),
                Err(_) => Part::Template,
            }
        } else {
            Part::Shared
        };
        self.own(number, line, owner);
        Ok(())
    }

    fn open(&mut self, keyword: &str, name: &str) {
        let known = self.sections.get_key_value(name).map(|(name, _)| *name);
        self.current = known.filter(|_| matches!(keyword, "listen" | "frontend" | "backend"));
        if let Some(section) = self.current.and_then(|name| self.sections.get_mut(name)) {
            section.lacks_backend &= keyword == "frontend";
            section.lacks_frontend &= keyword == "backend";
        }
    }

    fn shared_line(&mut self, number: usize, line: &str, first: &str, second: &str) {
        line.hash(&mut self.outside);
        if (first, second) == ("stats", "socket") {
            let names = |variable: &str| line.contains(&format!("${{{variable}"));
            self.lacks_control &= !names(CONTROL_VARIABLE);
            self.operators = self.operators.take().filter(|variable| !names(variable));
        }
        self.lacks_state_file &= !(first == "server-state-file" && line.contains(SERVER_STATE_VARIABLE));
        self.lacks_state &= first != "load-server-state-from-file";
        let part = if self.ready.contains(line) { Part::Shared } else { Part::Template };
        self.own(number, line, part);
    }

    fn own(&mut self, number: usize, line: &str, part: Part) {
        if part == Part::Template {
            self.own_size = self.own_size + Size::of_text(line);
        }
        self.part(number, part);
    }

    fn part(&mut self, first: usize, part: Part) {
        if self.parts.last().is_none_or(|(_, last)| *last != part) {
            self.parts.push((first, part));
        }
    }

    fn missing(&self) -> Result<(), String> {
        let needs = |lines: &str| format!("lacks lines that ProxyMgr needs; write {{{{ {lines} }}}}");
        if self.lacks_control || self.lacks_state_file || self.operators.is_some() {
            return Err(format!("{} in its section global", needs("global.needed_lines")));
        }
        if self.lacks_state {
            return Err(format!("{} in its section defaults", needs("defaults.needed_lines")));
        }
        for (name, section) in &self.sections {
            section.missing(name)?;
        }
        Ok(())
    }
}

impl Section<'_> {
    fn missing(&self, name: &str) -> Result<(), String> {
        let (what, var) = if self.is_service { ("service", "service") } else { ("frontend", "frontend") };
        let lacks = |lacks: String, write: &str| {
            Err(format!("lacks {lacks} of {what} {name}; write {{{{ {var}.{write} }}}} for each {what}"))
        };
        if self.lacks_backend || self.lacks_frontend {
            return lacks("the section".to_owned(), "section_line");
        }
        if let Some(address) = self.binds.values().next() {
            return lacks(format!("the line that binds {address} in the section"), "bind_lines");
        }
        if let Some((Identity { name, address, id }, _)) = self.servers.iter().find(|(_, seen)| !**seen) {
            return lacks(
                format!("the line 'server {name} {address} id {id}' in the section"),
                "server_lines",
            );
        }
        if self.map.is_some() {
            return lacks("the routes in the section".to_owned(), "route_lines");
        }
        Ok(())
    }
}

fn listen_variable(line: &str) -> Option<&str> {
    let start = line.find(LISTEN_VARIABLE)? + "${".len();
    let rest = line.get(start..)?;
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
    rest.get(..end)
}

/// The lines of each included file, from its first to the one behind its last.
fn find_includes<'a>(text: &str, model: &'a Model) -> Result<Vec<(usize, usize, &'a IncludedFile)>, String> {
    let mut found = Vec::new();
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    for file in model.includes.files().iter().filter(|file| !file.text().is_empty()) {
        // The same text may stand in two files.
        let from = numbers.get(file.text()).copied().unwrap_or_default();
        let at = text.get(from..).and_then(|rest| rest.find(file.text()));
        let Some(at) = at.map(|at| from + at) else {
            return Err(format!(
                "lacks the included file {}; write {{{{ include.lines }}}} for each of includes",
                file.path()
            ));
        };
        numbers.insert(file.text(), at + file.text().len());
        let first = text.get(..at).unwrap_or_default().lines().count() + 1;
        found.push((first, first + file.text().lines().count(), file));
    }
    found.sort_by_key(|(first, _, _)| *first);
    Ok(found)
}
