//! What this `HAProxy` can do at run time, from its version and the service's options.
//!
//! Sources: management guide, 9.3 `add server`, `del server`; configuration manual, 4.2 `balance`, `hash-type`.

use std::fmt;

use super::haproxy_version::HaproxyVersion;
use super::line_limits::{MAX_COMMAND_BYTES, fit_command};
use super::section::{Base, Section};
use super::server_options::ServerOptions;

/// What the running `HAProxy` lets us change without a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The program's version.
    pub version: HaproxyVersion,
    /// `haproxy.runtime_updates` of proxymgr.yml.
    pub runtime_updates: bool,
}

/// Why a new server needs a reload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CannotAdd {
    /// The user switched runtime updates off.
    UpdatesOff,
    /// Dynamic servers came with 2.6.
    TooOld(HaproxyVersion),
    /// The load-balancing algorithm has a fixed table.
    StaticBalance(String),
    /// The word isn't taken by `add server`.
    Option(String),
    /// A word that can't be written on the runtime socket as it stands in the file.
    Quoting(String),
    /// More than a line of the runtime socket holds.
    TooLong,
    /// `HAProxy` said no before, with this configuration.
    Refused,
}

impl fmt::Display for CannotAdd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpdatesOff => f.write_str("runtime updates are off"),
            Self::TooOld(version) => write!(f, "HAProxy {version} has no dynamic servers"),
            Self::StaticBalance(algorithm) => write!(f, "'balance {algorithm}' has a static table"),
            Self::Option(word) => write!(f, "dynamic servers don't take '{word}'"),
            Self::Quoting(word) => write!(f, "'{word}' can't be sent over the runtime socket"),
            Self::TooLong => f.write_str("its options are too long for the runtime socket"),
            Self::Refused => f.write_str("HAProxy refused to add a server to this service"),
        }
    }
}

/// How a new server of a service is added at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicServer {
    /// All its options: `add server` ignores `default-server`.
    pub options: Vec<String>,
    /// What they switch on.
    pub switches: Switches,
}

impl Capability {
    /// Whether servers and frontends can be taken out of service at run time.
    pub fn updates(self) -> bool {
        self.runtime_updates
    }

    /// Whether servers can be deleted at run time.
    pub fn deletes(self) -> bool {
        self.runtime_updates && self.has_dynamic_servers()
    }

    /// Whether backends can come and go at run time.
    pub fn adds_backends(self) -> bool {
        self.runtime_updates && self.version.at_least(3, 4)
    }

    /// How a server is added to `section` at run time.
    ///
    /// # Errors
    /// The reason why only a reload can bring it in.
    pub fn dynamic_server(self, base: &Base, section: &Section) -> Result<DynamicServer, CannotAdd> {
        if !self.runtime_updates {
            return Err(CannotAdd::UpdatesOff);
        }
        if !self.has_dynamic_servers() {
            return Err(CannotAdd::TooOld(self.version));
        }
        if let Balance::Static(algorithm) = Balance::of(base, section) {
            return Err(CannotAdd::StaticBalance(algorithm));
        }
        if section.cookie.is_some() && !self.version.at_least(3, 0) {
            // 2.6 gives a server that is added no value of a cookie that is made by itself (measured).
            return Err(CannotAdd::Option("cookie".to_owned()));
        }
        let room = base.command_bytes().saturating_sub(ServerOptions::MAX_BYTES);
        self.check_words(server_words(base, section), room)
    }

    /// The same with a server's own options.
    ///
    /// # Errors
    /// The one of them that only a reload can bring in.
    pub fn with_own_options(
        self,
        service: &DynamicServer,
        own: Option<&ServerOptions>,
    ) -> Result<DynamicServer, CannotAdd> {
        let Some(own) = own else { return Ok(service.clone()) };
        // The service's own left room for the bytes.
        self.check_words(service.options.iter().map(String::as_str).chain(own.words()), MAX_COMMAND_BYTES)
    }

    /// `most` is how long a line of the runtime socket may be.
    fn check_words<'w>(
        self,
        words: impl Iterator<Item = &'w str>,
        most: usize,
    ) -> Result<DynamicServer, CannotAdd> {
        let mut options: Vec<&str> = words.collect();
        let switches = Switches::of_words(&options);
        // `add server` knows no word that takes another one back: both go.
        options.retain(|word| match *word {
            "check" => switches.health_check,
            "agent-check" => switches.agent_check,
            "no-check" | "no-agent-check" => false,
            _other => true,
        });
        for word in &options {
            self.check_word(word)?;
        }
        if !fit_command(&options, most) {
            return Err(CannotAdd::TooLong);
        }
        Ok(DynamicServer { options: options.into_iter().map(str::to_owned).collect(), switches })
    }

    fn check_word(self, word: &str) -> Result<(), CannotAdd> {
        // By 2.6, 3.0, 3.2 and 3.4 alike, as measured; a word that is missing here costs one refused command.
        let refused = match word {
            "init-addr" | "resolvers" | "resolve-prefer" | "resolve-opts" | "resolve-net" | "tcp-ut"
            | "enabled" | "disabled" | "stick" | "non-stick" | "redir" | "no-ssl" | "ssl-reuse"
            | "max-reuse" | "namespace" | "socks4" | "log-bufsize" | "log-proto" => true,
            "cookie" => !self.version.at_least(3, 0),
            _ => false,
        };
        if refused {
            return Err(CannotAdd::Option(word.to_owned()));
        }
        // The file knows quotes, escapes, comments and variables; the socket has `;`, `\` and `<<` of its own.
        if word.contains(['"', '\'', '\\', '#', '$', ';']) || word.contains("<<") || !word.is_ascii() {
            return Err(CannotAdd::Quoting(word.to_owned()));
        }
        Ok(())
    }

    /// Whether a server of `section` may get any weight at run time; otherwise only 0 and its loaded weight.
    pub fn any_weight(base: &Base, section: &Section) -> bool {
        match Balance::of(base, section) {
            Balance::Dynamic => true,
            Balance::Static(_) => false,
        }
    }

    fn has_dynamic_servers(self) -> bool {
        self.version.at_least(2, 6)
    }
}

/// The options of a service's servers in the order in which `HAProxy` reads them: `default-server` of the defaults,
/// of the section, then the server's own.
pub fn server_words<'a>(base: &'a Base, section: &'a Section) -> impl Iterator<Item = &'a str> {
    let defaults = base.defaults.iter().chain(&section.listen_options);
    let defaults = defaults.filter(|line| line.words().next() == Some("default-server"));
    defaults
        .flat_map(|line| line.words().skip(1))
        .chain(section.server_options.iter().flat_map(super::option_line::LineEnd::words))
}

/// What a server's options switch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// `check`.
    pub health_check: bool,
    /// `agent-check`.
    pub agent_check: bool,
    /// `disabled`.
    pub disabled: bool,
}

impl Switches {
    /// Reads the options of a server of `section` that has `own` ones.
    pub fn of(base: &Base, section: &Section, own: Option<&ServerOptions>) -> Self {
        let own = own.into_iter().flat_map(ServerOptions::words);
        let words: Vec<_> = server_words(base, section).chain(own).collect();
        Self::of_words(&words)
    }

    /// Whether there is a check of any kind.
    pub fn any_check(self) -> bool {
        self.health_check || self.agent_check
    }

    /// Of a word and its opposite the last one counts.
    pub(super) fn of_words(words: &[&str]) -> Self {
        let is_on =
            |on: &str, off: &str| words.iter().rfind(|word| **word == on || **word == off) == Some(&on);
        Self {
            health_check: is_on("check", "no-check"),
            agent_check: is_on("agent-check", "no-agent-check"),
            disabled: is_on("disabled", "enabled"),
        }
    }
}

enum Balance {
    Dynamic,
    Static(String),
}

impl Balance {
    fn of(base: &Base, section: &Section) -> Self {
        let last = |keyword: &str| {
            let mut lines = base.defaults.iter().chain(&section.listen_options);
            lines.rfind(|line| line.words().next() == Some(keyword)).and_then(|line| line.words().nth(1))
        };
        let Some(algorithm) = last("balance") else { return Self::Dynamic };
        let name = algorithm.split('(').next().unwrap_or(algorithm);
        match name {
            "roundrobin" | "leastconn" | "first" | "random" => Self::Dynamic,
            "static-rr" => Self::Static(algorithm.to_owned()),
            _hash if last("hash-type") == Some("consistent") => Self::Dynamic,
            _hash => Self::Static(algorithm.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, line, spec};
    use crate::engine::option_line::LineEnd;
    use crate::engine::server_options::NodeWords;

    fn add(
        version: &str,
        defaults: &[&str],
        listen: &[&str],
        server: &[&str],
    ) -> Result<DynamicServer, CannotAdd> {
        let mut base = (*base()).clone();
        base.defaults = defaults.iter().map(|text| line(text)).collect();
        let mut spec = spec(80);
        spec.listen_options = listen.iter().map(|text| line(text)).collect();
        spec.server_options = server.iter().map(|text| LineEnd::parse(text).unwrap()).collect();
        let capability =
            Capability { version: HaproxyVersion::parse(version).unwrap(), runtime_updates: true };
        capability.dynamic_server(&base, &Section::of(&spec, base.bind_address))
    }

    #[test]
    fn every_option_is_expanded_since_default_server_is_ignored() {
        let server = add(
            "2.6.12",
            &["default-server inter 1s"],
            &["default-server check fall 2"],
            &["check inter 2s"],
        )
        .unwrap();
        assert_eq!(server.options.join(" "), "inter 1s check fall 2 check inter 2s");
        assert!(server.switches.health_check && !server.switches.agent_check);
        let unchecked = add("2.6.12", &["default-server check"], &[], &["no-check inter 1s"]).unwrap();
        assert!(!unchecked.switches.health_check);
        assert_eq!(unchecked.options.join(" "), "inter 1s", "HAProxy refuses no-check here");
    }

    #[test]
    fn a_servers_own_options_come_last() {
        let capability = Capability { version: HaproxyVersion::new(2, 6, 0), runtime_updates: true };
        let service = add("2.6.12", &[], &[], &["check inter 2s"]).unwrap();
        let own = |text| NodeWords::parse(text).unwrap().options.unwrap();
        let with = |text| capability.with_own_options(&service, Some(&own(text)));
        assert_eq!(with("maxconn 5").unwrap().options.join(" "), "check inter 2s maxconn 5");
        assert_eq!(with("no-check").unwrap().options.join(" "), "inter 2s");
        assert_eq!(with("cookie a"), Err(CannotAdd::Option("cookie".into())));
        assert_eq!(capability.with_own_options(&service, None), Ok(service.clone()));
    }

    #[test]
    fn what_can_not_be_added_says_why() {
        let refusal = |version, defaults: &[&str], listen: &[&str], server: &[&str]| {
            add(version, defaults, listen, server).unwrap_err().to_string()
        };
        assert_eq!(refusal("2.4.0", &[], &[], &[]), "HAProxy 2.4.0 has no dynamic servers");
        assert_eq!(
            refusal("3.0.1", &["balance static-rr"], &[], &[]),
            "'balance static-rr' has a static table"
        );
        assert_eq!(refusal("3.0.1", &[], &["balance source"], &[]), "'balance source' has a static table");
        assert_eq!(refusal("2.6.1", &[], &[], &["cookie a"]), "dynamic servers don't take 'cookie'");
        assert_eq!(
            refusal("2.6.1", &[], &[], &["sni \"a;b\""]),
            "'\"a;b\"' can't be sent over the runtime socket"
        );
        let (half, rest) = (["check"; 30].join(" "), ["check"; 26].join(" "));
        assert_eq!(
            refusal("2.6.1", &[&format!("default-server {half}")], &[], &[&rest]),
            "its options are too long for the runtime socket"
        );
    }

    #[test]
    fn the_section_overrides_the_defaults() {
        assert!(add("2.6.1", &["balance static-rr"], &["balance leastconn"], &[]).is_ok());
        assert!(add("2.6.1", &["hash-type consistent"], &["balance source"], &[]).is_ok());
        assert!(add("2.6.1", &[], &["balance random(3)"], &[]).is_ok());
        assert!(add("3.0.1", &[], &[], &["cookie a"]).is_ok());
    }
}
