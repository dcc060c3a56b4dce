//! For tests: whatever a service says and whatever servers it has, its lines are its own section's, and nobody else's change.

use std::net::IpAddr;
use std::sync::Arc;

use super::fixtures::{base, name, server, spec};
use super::http_frontend::ROUTED_DEFAULTS;
use super::option_line::SECTION_KEYWORDS;
use super::render::{Owner, Rendered, Renderer};
use super::section::{Section, SectionKind};
use super::server::Server;
use super::service::{ServiceName, ServiceSpec};
use super::state::{AppliedState, DesiredService, DesiredState};

/// Stand before and behind any other.
const NEIGHBOURS: [&str; 2] = ["-", "zzzz"];

/// How the lines for the preprocessor begin that `ProxyMgr` writes itself.
const PREPROCESSOR: [&str; 3] = ["  .if defined(PROXYMGR_", "  .if version_atleast(", "  .endif"];

/// Renders the service `own` between two others and alone.
pub(crate) fn assert_touches_its_own_section_only(
    own: &ServiceName,
    definition: &ServiceSpec,
    servers: Vec<Server>,
) {
    if NEIGHBOURS.contains(&own.as_str()) {
        return;
    }
    let mut desired =
        DesiredState { base: base(), services: [].into(), includes: Arc::default(), template: None };
    for (port, neighbour) in (1..).zip(NEIGHBOURS) {
        let section = Section::of(&spec(port), desired.base.bind_address);
        let service = DesiredService::new(Arc::new(section), [server("10.9.9.9:9")]);
        desired.services.insert(name(neighbour), Arc::new(service));
    }
    let without = render(&desired);
    let section = Arc::new(Section::of(definition, IpAddr::from([127, 0, 0, 1])));
    let service = DesiredService::new(section.clone(), servers);
    let servers = service.servers.len();
    desired.services.insert(own.clone(), Arc::new(service));
    let rendered = render(&desired);

    let mut sections = sections(&rendered.text);
    let headers: Vec<_> = sections.iter().map(|(header, _)| header.as_str()).collect();
    let mut names: Vec<_> = [NEIGHBOURS[0], own.as_str(), NEIGHBOURS[1]].into();
    names.sort_unstable();
    let expected = ["global", "defaults"].into_iter().map(str::to_owned);
    let header = |name: &str| match section.kind {
        SectionKind::Backend if name == own.as_str() => format!("backend {name} from {ROUTED_DEFAULTS}"),
        SectionKind::Backend | SectionKind::Listen => format!("listen {name}"),
    };
    let expected: Vec<_> = expected.chain(names.iter().map(|name| header(name))).collect();
    assert_eq!(headers, expected);
    let at = sections.iter().position(|(opened, _)| *opened == header(own.as_str())).unwrap();
    let (_, lines) = sections.remove(at);
    assert_eq!(
        texts(sections),
        texts(self::sections(&without.text)),
        "the others are what they are without it"
    );

    // The empty line between two sections is the second one's.
    for (number, _) in lines.iter().filter(|(_, line)| !line.is_empty()) {
        assert_eq!(rendered.owner_of_line(*number), Some(Owner::Service(own.clone())), "line {number}");
    }
    // Behind its own options.
    let cookie_lines = if section.cookie.is_some() { 2 } else { 0 };
    let (binds, options) = (section.listen.len(), section.listen_options.len() + cookie_lines);
    let lines: Vec<_> = lines.iter().map(|(_, line)| line.as_str()).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), binds + options + servers, "{lines:?}");
    for (at, line) in lines.iter().enumerate() {
        assert!(line.starts_with("  ") && !line.contains(char::is_control), "{line:?}");
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        // What it says itself never begins a line of the two kinds that ProxyMgr writes.
        if at < binds {
            assert!(words[0] == "bind" && words[1].starts_with("\"${PROXYMGR_FD_"), "{line:?}");
        } else if at >= binds + options {
            assert!(words[0] == "server" && words[3] == "id" && words.len() >= 7, "{line:?}");
            let address = words[2].parse::<std::net::SocketAddr>().unwrap();
            assert!(words[1].ends_with(&format!(":{}", address.port())), "{line:?}");
        }
    }
}

/// The same for servers of any registry.
pub(crate) fn assert_servers_touch_their_own_section_only(servers: Vec<Server>) {
    assert_touches_its_own_section_only(&name("web"), &spec(80), servers);
}

/// Asserts that a file without services holds the two sections of proxymgr.yml, however its lines read.
pub(crate) fn assert_two_sections(base: &Arc<super::section::Base>) {
    let desired =
        DesiredState { base: base.clone(), services: [].into(), includes: Arc::default(), template: None };
    let rendered = render(&desired);
    let headers: Vec<_> = sections(&rendered.text).into_iter().map(|(header, _)| header).collect();
    assert_eq!(headers, ["global", "defaults"]);
    assert_eq!((1..99).find_map(|line| rendered.owner_of_line(line)), None);
}

fn render(desired: &DesiredState) -> Rendered {
    Renderer::default().render(&AppliedState::loaded(desired, None))
}

/// The sections as `HAProxy` would open them: each with its first words, and its lines with their numbers.
fn sections(text: &str) -> Vec<(String, Vec<(usize, String)>)> {
    let mut sections: Vec<(String, Vec<_>)> = Vec::new();
    for (number, line) in (1..).zip(text.split_terminator('\n')) {
        let first = first_word(line);
        assert!(
            !first.starts_with('.') || PREPROCESSOR.iter().any(|ours| line.starts_with(ours)),
            "{line:?}"
        );
        if SECTION_KEYWORDS.contains(&first.as_str()) {
            sections.push((line.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.push((number, line.to_owned()));
        }
    }
    sections
}

/// Without the numbers, which differ with what stands before.
fn texts(sections: Vec<(String, Vec<(usize, String)>)>) -> Vec<(String, Vec<String>)> {
    let text = |(header, lines): (String, Vec<(usize, String)>)| {
        (header, lines.into_iter().map(|(_, line)| line).collect())
    };
    sections.into_iter().map(text).collect()
}

/// The first word as the parser of `HAProxy` has it: a word ends at a NUL, and an escape that means nothing stays.
fn first_word(line: &str) -> String {
    let (mut word, mut begun, mut quote) = (String::new(), false, None);
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (None, '#') => break,
            (None, ' ') if begun => break,
            (None, ' ') => continue,
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            (None | Some('"'), '\\') => match rest.next() {
                Some('x') => {
                    let digits: String = rest.by_ref().take(2).collect();
                    word.push(u8::from_str_radix(&digits, 16).map_or('?', char::from));
                }
                Some(escaped @ (' ' | '\\' | '#' | '"' | '\'')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => word.push('\\'),
            },
            _ => word.push(c),
        }
        begun = true;
    }
    word.split('\0').next().unwrap_or_default().to_owned()
}

#[test]
fn a_line_that_leaves_its_section_is_seen() {
    for line in ["listen x", "  'lis't\"en\" x", " \\x6cisten", "listen#", "listen\\x00x"] {
        assert_eq!(first_word(line), "listen", "{line}");
    }
    assert_eq!(first_word("l\\isten x"), "l\\isten");
    let text = "global\n  maxconn 1\nlisten a\n  \"listen\\x00\" b\n  mode http\n";
    assert_eq!(sections(text).len(), 3);
}
