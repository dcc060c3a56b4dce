//! What a line of a definition could do beyond its own service, and what the operator allows (`safety.allow_options`).
//!
//! Many teams write definitions; `HAProxy` and its files belong to one. From the configuration manual, 2.6 to 3.4:
//!
//! | `allow_options` | lines | what they could do |
//! |---|---|---|
//! | external-check | `external-check`, `option external-check` (4.2) | run programs |
//! | lua | `lua.*` actions, fetches, converters, services | run what the operator loaded for others |
//! | error-file | `errorfile`, `errorfiles`, `http-error`, `return`, `deny`... with a file (4.2, 4.3) | show any file that `HAProxy` can read |
//! | certificate-list | `crt-list` (5.1) | show files: `HAProxy` quotes a line that names no certificate |
//! | acl-file | `-f FILE` in ACLs (7.1) | tell what a file holds |
//! | map | converters `map*(FILE)`, actions `set-map`, `del-map`, `add-acl`, `del-acl` (4.3, 7.3.1) | show files; change others' maps |
//! | key-file | `jwt_verify` with a path, `jwt_verify_cert`, `jwt_decrypt_cert` (7.3.1) | use keys of others |
//! | server-state | `load-server-state-from-file`, `server-state-file-name` (4.2) | override addresses and states |
//! | other-section | `table NAME` of `stick on`, `stick store-*` and `track-sc*` (4.2, 4.3), of `sc_inc_gpc0()` and the like (7.3.3), `write-to` of `stick-table`, `attach-srv` | write into the stick tables of other services, or among the connections to their servers |
//! | shared-state | variables `proc.*` that are set, `cache-use`, `cache-store`, `filter cache` (4.3, 6.2, 9.4) | write what other services read |
//! | filter | `filter spoe`, `filter trace`, `filter fcgi-app`, `filter opentracing` (9), `use-fcgi-app` | read files, open connections, flood the log |
//! | stats-admin | `stats admin` (4.2) | change the servers of all services |
//! | local-socket | `unix@`, `uxst@`, `uxdg@`, `abns@`, `fd@`, `sockpair@`, `rhttp@` and paths as addresses (11.1), `namespace` (5.1, 5.2) | reach `HAProxy`'s stats socket, other local ones, or other networks of the machine |
//! | environment | `"${NAME}"` (2.3), `env()` (7.3.2) | show what the environment holds |
//!
//! Certificates and keys of `bind` and `server` lines are taken: `HAProxy` uses them, and shows none. A line may read what is
//! another's (`stick match`, `in_table()`, `var(proc.x)`, `nbsrv()`, `use_backend`): services may refer to each other.

mod find;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::config_words::config_words;
use super::service::ServiceName;

/// One kind of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Runs programs.
    ExternalCheck,
    /// Runs Lua code.
    Lua,
    /// Answers with the text of a file.
    ErrorFile,
    /// Reads a file whose lines it quotes.
    CertificateList,
    /// Compares with the lines of a file.
    AclFile,
    /// Looks up in a file, or changes a map.
    Map,
    /// Uses a key in a file.
    KeyFile,
    /// Takes servers' states from a file.
    ServerState,
    /// Writes into another section.
    OtherSection,
    /// Writes what all services share.
    SharedState,
    /// Hands streams to a filter.
    Filter,
    /// Lets clients change servers.
    StatsAdmin,
    /// Connects to sockets of this machine.
    LocalSocket,
    /// Reads the environment.
    Environment,
}

impl Risk {
    /// The words of `safety.allow_options`.
    pub const WORDS: [(&str, Self); 14] = [
        ("external-check", Self::ExternalCheck),
        ("lua", Self::Lua),
        ("error-file", Self::ErrorFile),
        ("certificate-list", Self::CertificateList),
        ("acl-file", Self::AclFile),
        ("map", Self::Map),
        ("key-file", Self::KeyFile),
        ("server-state", Self::ServerState),
        ("other-section", Self::OtherSection),
        ("shared-state", Self::SharedState),
        ("filter", Self::Filter),
        ("stats-admin", Self::StatsAdmin),
        ("local-socket", Self::LocalSocket),
        ("environment", Self::Environment),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, risk)| *risk == self).map_or("", |(word, _)| word)
    }

    fn threat(self) -> &'static str {
        match self {
            Self::ExternalCheck => "it runs programs",
            Self::Lua => "it runs Lua code",
            Self::ErrorFile | Self::CertificateList => "it shows files",
            Self::AclFile | Self::Map => "it reads files",
            Self::KeyFile => "it uses keys in files",
            Self::ServerState => "it changes servers by a file",
            Self::OtherSection => "it writes into another section",
            Self::SharedState => "it writes what all services share",
            Self::Filter => "it hands traffic to a filter",
            Self::StatsAdmin => "it lets clients change the servers of all services",
            Self::LocalSocket => "it reaches sockets of the proxy host",
            Self::Environment => "it shows the environment",
        }
    }
}

/// What the operator allows all definitions.
pub type Allowed = BTreeSet<Risk>;

/// Why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{word}' is not allowed: {threat}; only the operator can allow it (safety.allow_options: [{allow}] in proxymgr.yml)",
    threat = risk.threat(), allow = risk.word()
)]
pub struct Forbidden {
    /// The risk.
    pub risk: Risk,
    word: String,
}

/// Checks a line of the definition of `service`, as it will stand in its section.
///
/// # Errors
/// The first risk that isn't allowed.
pub fn check_risks(line: &str, service: &ServiceName, allowed: &Allowed) -> Result<(), Forbidden> {
    let words = config_words(line);
    match find::risks(&words, service).into_iter().find(|(risk, _)| !allowed.contains(risk)) {
        Some((risk, word)) => Err(Forbidden { risk, word }),
        None => Ok(()),
    }
}
