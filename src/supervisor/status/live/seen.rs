//! What `HAProxy` tells while somebody looks: all of it each two seconds, of what changes at once.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::super::compose::Facts;
use super::super::haproxy_view::{HaproxyView, LIMIT, LookError};
use crate::engine::error_text::with_causes;
use crate::engine::report::Stage;
use crate::haproxy::reply::{ProcessInfo, ServerState, parse_servers_state, parse_show_info};
use crate::haproxy::runtime::RuntimeConnection;
use crate::haproxy::traffic::{self, Traffic};

/// More services are asked for as a whole.
const MOST_ALONE: usize = 32;

/// What it told.
pub(super) enum Seen {
    /// Of everything.
    All {
        view: HaproxyView,
        /// By service.
        traffic: HashMap<String, Traffic>,
    },
    /// Of some services.
    Some {
        info: ProcessInfo,
        /// By service.
        servers: Vec<(String, Vec<ServerState>)>,
    },
    /// It doesn't answer; why.
    Nothing(String),
}

/// Replies that are not read yet: those of many servers are megabytes.
pub(super) enum Replies {
    All { info: String, servers: Option<String>, traffic: String },
    Some { info: String, servers: Vec<(String, String)> },
    Nothing(String),
}

/// Asks for everything, or for the `changed` services alone.
pub(super) async fn ask(socket: &Path, facts: &Facts, changed: Option<&BTreeSet<String>>) -> Replies {
    match facts.report.stage {
        Stage::Serving => match try_ask(socket, facts, changed).await {
            Ok(replies) => replies,
            Err(error) => Replies::Nothing(with_causes(&error)),
        },
        Stage::Collecting | Stage::Starting | Stage::Down => Replies::Nothing("no process serves".to_owned()),
    }
}

async fn try_ask(
    socket: &Path,
    facts: &Facts,
    changed: Option<&BTreeSet<String>>,
) -> Result<Replies, LookError> {
    let mut connection = RuntimeConnection::connect(socket, LIMIT).await?;
    let info = connection.execute("show info").await?;
    let running = facts.report.services.iter().filter(|(_, service)| service.runs.is_some());
    if let Some(changed) = changed.filter(|changed| changed.len() <= MOST_ALONE) {
        let mut servers = Vec::new();
        for (name, _) in running.filter(|(name, _)| changed.contains(name.as_str())) {
            let reply = connection.execute(&format!("show servers state {name}")).await?;
            servers.push((name.to_string(), reply));
        }
        return Ok(Replies::Some { info, servers });
    }
    // Without a backend there is no list to be read.
    let servers = match running.count() {
        0 => None,
        _ => Some(connection.execute("show servers state").await?),
    };
    Ok(Replies::All { info, servers, traffic: connection.execute(traffic::SERVICES).await? })
}

impl Seen {
    /// Reads the replies.
    pub(super) fn of(replies: Replies) -> Self {
        Self::try_of(replies).unwrap_or_else(|error| Self::Nothing(with_causes(&error)))
    }

    fn try_of(replies: Replies) -> Result<Self, LookError> {
        Ok(match replies {
            Replies::All { info, servers, traffic } => {
                let states = servers.map_or_else(|| Ok(Vec::new()), |reply| parse_servers_state(&reply))?;
                let traffic = traffic::parse_services(&traffic)?;
                Self::All { view: HaproxyView::new(parse_show_info(&info)?, states), traffic }
            }
            Replies::Some { info, servers } => {
                let read = |(name, reply): (String, String)| Ok((name, parse_servers_state(&reply)?));
                let servers = servers.into_iter().map(read).collect::<Result<_, LookError>>()?;
                Self::Some { info: parse_show_info(&info)?, servers }
            }
            Replies::Nothing(why) => Self::Nothing(why),
        })
    }
}
