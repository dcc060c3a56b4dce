//! The HTTP frontends of proxymgr.yml, which services share by their routes.

use std::fmt::Write as _;
use std::sync::Arc;

use super::listen_address::ListenAddress;
use super::option_line::{LineEnd, OptionLine};
use super::render::{push_bind, push_lines};
use super::route::{FrontendName, RouteKey, RoutePath};
use super::section_text::SectionText;
use super::service::{ServiceName, UnixPath};

/// The `defaults` section of frontends and of services that are reached by routes.
pub const ROUTED_DEFAULTS: &str = "proxymgr.routed";

/// One frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFrontend {
    /// Where it listens, sorted, each once.
    pub listen: Vec<ListenAddress>,
    /// What follows the address on each `bind` line.
    pub bind_options: Option<LineEnd>,
    /// The section's lines.
    pub options: Vec<OptionLine>,
    /// Who gets what no route is found for.
    pub default_service: Option<ServiceName>,
    /// The file that its routes are loaded from.
    pub map: MapFile,
    /// Whether it is there without its addresses, since they can't be had.
    pub is_out: bool,
}

/// The absolute path of a file with routes: one word in haproxy.cfg and on the runtime socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MapFile(Arc<str>);

impl MapFile {
    /// That of `frontend`, in `directory`.
    pub fn new(directory: &UnixPath, frontend: &FrontendName) -> Self {
        Self(format!("{}/routes-{frontend}.map", directory.as_path().display()).into())
    }

    /// Reads [`Self::as_str`]; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (directory, file) = text.rsplit_once('/')?;
        let frontend = file.strip_prefix("routes-")?.strip_suffix(".map")?;
        let directory = UnixPath::parse(directory).ok()?;
        Some(Self::new(&directory, &FrontendName::parse(frontend).ok()?))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl HttpFrontend {
    /// Where it listens just now.
    pub fn binds(&self) -> &[ListenAddress] {
        if self.is_out { &[] } else { &self.listen }
    }

    /// Its section.
    ///
    /// A request's path is compared as it would be read by a server: `%68ello` is `hello` (RFC 3986, 6.2.2.2), but `%2F` is no
    /// slash. One with a segment `.` or `..`, which no client sends by itself, is refused, also one with parameters (`..;x`): what
    /// it leads to is another path for each who reads it. With the `map`, `field` counts what stands between slashes from 1, and
    /// the first is empty.
    pub(super) fn section(&self, name: &FrontendName) -> SectionText {
        let binds = |text: &mut String| {
            if self.is_out {
                // Without an address it would be warned of; the routes are loaded all the same (measured with 2.6 to 3.4).
                text.push_str("  disabled\n");
            }
            for address in self.binds() {
                push_bind(text, address, self.bind_options.as_ref());
            }
        };
        let options = |text: &mut String| push_lines(text, &self.options);
        let head = format!("frontend {name} from {ROUTED_DEFAULTS}");
        SectionText::write(&head, binds, options, |text| self.push_routing(text), |_no_servers| {})
    }

    fn push_routing(&self, text: &mut String) {
        let map = self.map.as_str();
        let _ = write!(
            text,
            "  http-request set-var(txn.proxymgr_host) req.fhdr(host),regsub(:[0-9]*$,),regsub(\\.$,),lower\n\
             \x20 http-request set-var(txn.proxymgr_path) path\n\
             \x20 http-request set-var(txn.proxymgr_path) path,regsub(%2f,%252F,gi),url_dec if {{ path -m sub % }}\n\
             \x20 http-request deny deny_status 400 if {{ var(txn.proxymgr_path),concat(/) -m sub /./ /../ /.; /..; }}\n\
             \x20 http-request set-var(txn.proxymgr_path) str(),concat(,txn.proxymgr_path,/)\n\
             \x20 http-request set-var(txn.proxymgr_route) str(),concat(,txn.proxymgr_host,),concat(,txn.proxymgr_path),map_beg({map})\n\
             \x20 http-request set-var(txn.proxymgr_domain) var(txn.proxymgr_host),field(2,.,0) if !{{ var(txn.proxymgr_route) -m found }}\n\
             \x20 http-request set-var(txn.proxymgr_route) str(*.),concat(,txn.proxymgr_domain,),concat(,txn.proxymgr_path),map_beg({map}) if !{{ var(txn.proxymgr_route) -m found }}\n\
             \x20 http-request set-var(txn.proxymgr_route) var(txn.proxymgr_path),map_beg({map}) if !{{ var(txn.proxymgr_route) -m found }}\n\
             \x20 http-request set-var(txn.proxymgr_route) str({}),map_beg({map}) if !{{ var(txn.proxymgr_route) -m found }}\n\
             \x20 http-request deny deny_status {} if !{{ var(txn.proxymgr_route) -m found }}\n\
             \x20 http-request set-var(txn.proxymgr_strip) var(txn.proxymgr_route),field(2,/)\n",
            RouteKey::FALLBACK,
            if self.default_service.is_some() { 503 } else { 404 },
        );
        for segments in 1..=RoutePath::MAX_SEGMENTS {
            let rest = segments + 2;
            let _ = writeln!(
                text,
                "  http-request set-path /%[path,field({rest},/,0)] if {{ var(txn.proxymgr_strip) -m str {segments} }}"
            );
        }
        text.push_str("  use_backend %[var(txn.proxymgr_route),field(1,/)]\n");
    }
}
