//! What `HAProxy` tells while somebody looks: all of it now and then, of what changes at once.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use super::super::compose::Facts;
use super::super::haproxy_view::{HaproxyView, LIMIT, LookError};
use crate::engine::error_text::with_causes;
use crate::engine::report::Stage;
use crate::haproxy::reply::{ProcessInfo, ServerState, parse_show_info, servers_state};
use crate::haproxy::runtime::RuntimeConnection;
use crate::haproxy::traffic::{self, Traffic};

/// More services are asked for as a whole.
const MOST_ALONE: usize = 32;

/// What it said, not read yet: of many servers that is megabytes.
#[derive(Debug)]
pub(super) enum Replies {
    /// Of everything; of the servers only where there are services.
    All { info: String, servers: Option<String>, traffic: String },
    /// Of some services' servers.
    Some { info: String, servers: Vec<String> },
    /// It doesn't answer; why.
    Nothing(String),
}

/// What was seen last, as little of it as shows what is another.
#[derive(Debug)]
pub(super) struct Seen {
    /// The process, or why it doesn't answer.
    info: Result<ProcessInfo, String>,
    /// The fingerprint of what was told of each service's servers.
    servers: HashMap<String, u64>,
}

/// What is new of it.
#[derive(Debug)]
pub(super) struct News {
    /// With the servers of those services that are to be shown.
    pub(super) view: Result<HaproxyView, String>,
    /// Services of which it tells something else than before.
    pub(super) other: BTreeSet<String>,
    /// By service, when it was asked.
    pub(super) traffic: HashMap<String, Traffic>,
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
    let mut running = facts.report.services.iter().filter(|(_, service)| service.runs.is_some());
    if let Some(changed) = changed.filter(|changed| changed.len() <= MOST_ALONE) {
        let mut servers = Vec::new();
        for (name, _) in running.filter(|(name, _)| changed.contains(name.as_str())) {
            servers.push(connection.execute(&format!("show servers state {name}")).await?);
        }
        return Ok(Replies::Some { info, servers });
    }
    let servers = match running.next() {
        // Without a backend there is no list to be read.
        None => None,
        Some(_) => Some(connection.execute("show servers state").await?),
    };
    Ok(Replies::All { info, servers, traffic: connection.execute(traffic::SERVICES).await? })
}

impl Default for Seen {
    fn default() -> Self {
        Self { info: Err("it has not been asked yet".to_owned()), servers: HashMap::new() }
    }
}

impl Seen {
    /// Whether nothing is known from `HAProxy`.
    pub(super) fn is_blind(&self) -> bool {
        self.info.is_err()
    }

    /// Takes in what was said; services in `shown` are to be shown in any case.
    pub(super) fn take_in(&mut self, replies: Replies, shown: &BTreeSet<String>) -> News {
        match self.try_take_in(replies, shown) {
            Ok(news) => news,
            Err(why) => {
                let other = std::mem::take(&mut self.servers).into_keys().collect();
                self.info = Err(why.clone());
                News { view: Err(why), other, traffic: HashMap::new() }
            }
        }
    }

    fn try_take_in(&mut self, replies: Replies, shown: &BTreeSet<String>) -> Result<News, String> {
        let (info, servers, services) = match replies {
            Replies::All { info, servers, traffic } => (info, Vec::from_iter(servers), Some(traffic)),
            Replies::Some { info, servers } => (info, servers, None),
            Replies::Nothing(why) => return Err(why),
        };
        self.try_read(&info, &servers, services.as_deref(), shown).map_err(|error| with_causes(&error))
    }

    fn try_read(
        &mut self,
        info: &str,
        servers: &[String],
        traffic: Option<&str>,
        shown: &BTreeSet<String>,
    ) -> Result<News, LookError> {
        let info = parse_show_info(info)?;
        let (mut other, mut states) = (BTreeSet::new(), Vec::new());
        for reply in servers {
            let mut of_one: Vec<ServerState> = Vec::new();
            for state in servers_state(reply)? {
                let state = state?;
                if of_one.first().is_some_and(|first| first.backend != state.backend) {
                    self.look_at(&mut of_one, shown, &mut other, &mut states);
                }
                of_one.push(state);
            }
            self.look_at(&mut of_one, shown, &mut other, &mut states);
        }
        let traffic = traffic.map_or_else(|| Ok(HashMap::new()), traffic::parse_services)?;
        self.info = Ok(info);
        Ok(News { view: Ok(HaproxyView::new(info, states)), other, traffic })
    }

    /// Keeps the states of one service where they are to be shown.
    fn look_at(
        &mut self,
        of_one: &mut Vec<ServerState>,
        shown: &BTreeSet<String>,
        other: &mut BTreeSet<String>,
        states: &mut Vec<ServerState>,
    ) {
        let Some(name) = of_one.first().map(|first| first.backend.clone()) else { return };
        let fingerprint = fingerprint(of_one);
        let is_other = self.servers.get(&name) != Some(&fingerprint);
        if is_other || shown.contains(&name) {
            states.append(of_one);
        }
        of_one.clear();
        if is_other {
            self.servers.insert(name.clone(), fingerprint);
            other.insert(name);
        }
    }

    /// A service is gone.
    pub(super) fn forget(&mut self, service: &str) {
        self.servers.remove(service);
    }
}

/// Of what is shown of them.
fn fingerprint(servers: &[ServerState]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for server in servers {
        let operational = server.operational as u8;
        (&server.name, operational, server.admin.0, server.weight).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "Version: 2.6.12\nPid: 7\nUptime_sec: 1\nCurrConns: 0\nStopping: 0\n";
    const HEADER: &str = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_state srv_agent_state srv_f_forced_id srv_port";
    const TRAFFIC: &str = "# pxname,svname,scur,stot,bin,bout,econ,eresp,rate,check_status,hrsp_5xx,req_rate,last_chk,act,bck,\n";

    /// Servers with the seconds since their last change and their operational state.
    fn all(servers: &[(&str, u32, u32)]) -> Replies {
        let line = |(service, seconds, state): &(&str, u32, u32)| {
            format!("2 {service} 1 s1 127.0.0.1 {state} 0 1 1 {seconds} 6 0 0 80\n")
        };
        let lines: String = servers.iter().map(line).collect();
        Replies::All {
            info: INFO.to_owned(),
            servers: Some(format!("1\n# {HEADER}\n{lines}")),
            traffic: TRAFFIC.to_owned(),
        }
    }

    #[test]
    fn only_what_is_told_otherwise_is_other_and_only_what_is_shown_is_kept() {
        let (mut seen, none) = (Seen::default(), BTreeSet::new());
        let names = |news: &News| news.other.iter().cloned().collect::<Vec<_>>();
        let kept = |news: &News, service| news.view.as_ref().unwrap().server(service, "s1").is_some();
        let first = seen.take_in(all(&[("a", 1, 2), ("b", 1, 2)]), &none);
        assert_eq!(names(&first), ["a", "b"]);
        let later = seen.take_in(all(&[("a", 2, 2), ("b", 0, 0)]), &none);
        assert_eq!(
            (names(&later), kept(&later, "a"), kept(&later, "b")),
            (vec!["b".to_owned()], false, true)
        );
        let shown = BTreeSet::from(["a".to_owned()]);
        let asked = seen.take_in(all(&[("a", 3, 2), ("b", 1, 0)]), &shown);
        assert_eq!((names(&asked), kept(&asked, "a"), kept(&asked, "b")), (vec![], true, false));
        let blind = seen.take_in(Replies::Nothing("gone".to_owned()), &none);
        assert_eq!((names(&blind), seen.is_blind()), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(names(&seen.take_in(all(&[("a", 4, 2)]), &none)), ["a"]);
    }
}
