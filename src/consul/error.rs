//! What can go wrong, in words for the log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::printable::printable;
use crate::tls::TlsFileError;

/// Why Consul gave no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsulError {
    /// No connection.
    #[error("{server} takes no connection: {source}; check the address, and that the agent runs")]
    Connect {
        /// `host:port`.
        server: String,
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// A host that no certificate can name.
    #[error(
        "TLS: '{0}' can't stand in a certificate; write the agent's DNS name or address, or tls.server_name"
    )]
    TlsName(String),
    /// A file for TLS is of no use.
    #[error("TLS: {0}")]
    TlsFile(#[from] TlsFileError),
    /// A connection that could not be made private.
    #[error("TLS with {server} fails: {reason}")]
    Tls {
        /// `host:port`.
        server: String,
        /// Why, with what to do.
        reason: String,
    },
    /// The token's file is of no use; its content is never shown.
    #[error("the token in {}: {reason}", .file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The connection broke, or what came is no HTTP.
    #[error(
        "{server}: {reason}; check that the port is the agent's for HTTP, and that tls is set if it speaks TLS"
    )]
    Http {
        /// `host:port`.
        server: String,
        /// What the library says.
        reason: String,
    },
    /// Nothing came in time.
    #[error("{server} gives no answer within {} s", .within.as_secs())]
    NoAnswer {
        /// `host:port`.
        server: String,
        /// How long it had.
        within: Duration,
    },
    /// There is no leader, or the agent has no way to it.
    #[error("{server} knows no leader of the Consul servers; what it knew stays until one is elected")]
    NoLeader {
        /// `host:port`.
        server: String,
    },
    /// The agent can't answer anybody now.
    #[error("{server} can't answer now ({status}: {text})")]
    Unavailable {
        /// `host:port`.
        server: String,
        /// HTTP's number.
        status: u16,
        /// What it says, printable.
        text: String,
    },
    /// This question is refused.
    #[error("{server} refuses{} ({status}: {text})", advice(*.status))]
    Refused {
        /// `host:port`.
        server: String,
        /// HTTP's number.
        status: u16,
        /// What it says, printable.
        text: String,
    },
    /// More than is read.
    #[error("the answer is larger than {0} bytes; ask for less, by a tag or a filter")]
    TooLarge(usize),
    /// Not what the documentation promises.
    #[error("the answer can't be read: {0}")]
    Answer(String),
    /// A text that can't stand in a question.
    #[error("'{0}' can't stand in a question to Consul")]
    Question(String),
}

fn advice(status: u16) -> &'static str {
    match status {
        403 => ": check the token, and what its policies let it read",
        400 | 500 => ": check dc, near and filter",
        _ => "",
    }
}

impl ConsulError {
    /// What an answer that is none says.
    pub(super) fn of_status(server: &str, status: u16, body: &[u8]) -> Self {
        let text = printable(String::from_utf8_lossy(body).trim());
        let server = server.to_owned();
        // agent/structs/errors.go of Consul: these are told as 500.
        let lost = [
            "No cluster leader",
            "No known Consul servers",
            "leadership lost",
            "not ready for consistent reads",
        ];
        if lost.iter().any(|words| text.contains(words)) {
            return Self::NoLeader { server };
        }
        // "rpc error" is how an agent wraps any trouble on its way to the servers.
        let on_the_way =
            ["rpc error making call: EOF", "rpc error getting client", "failed to get conn", "i/o timeout"];
        if matches!(status, 429 | 502 | 503 | 504) || on_the_way.iter().any(|words| text.contains(words)) {
            return Self::Unavailable { server, status, text };
        }
        Self::Refused { server, status, text }
    }

    /// Whether any other question would have met it too, so that another agent may do better.
    pub(super) fn is_of_the_agent(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::TlsName(_)
            | Self::TlsFile(_)
            | Self::Tls { .. }
            | Self::Token { .. }
            | Self::Http { .. }
            | Self::NoAnswer { .. }
            | Self::NoLeader { .. }
            | Self::Unavailable { .. } => true,
            Self::Refused { .. } | Self::TooLarge(_) | Self::Answer(_) | Self::Question(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_question_is_told_from_an_agent_in_trouble() {
        for (status, body, is_of_the_agent) in [
            (500, "No cluster leader", true),
            (500, "rpc error making call: No cluster leader", true),
            (500, "rpc error making call: EOF", true),
            (500, "No known Consul servers", true),
            (503, "", true),
            (429, "Your IP is issuing too many concurrent connections", true),
            (500, "Failed to create boolean expression evaluator: 1:5", false),
            (500, "No path to datacenter", false),
            (403, "ACL not found", false),
            (403, "Permission denied", false),
            (400, "Invalid wait time", false),
        ] {
            let error = ConsulError::of_status("a:1", status, body.as_bytes());
            assert_eq!(error.is_of_the_agent(), is_of_the_agent, "{error}");
        }
    }
}
