//! Reading what `HAProxy` replies on its runtime socket. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::engine::haproxy_version::HaproxyVersion;

/// Why a reply can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Another format than version 1, which is that of 1.6 to 3.4.
    #[error("'show servers state' came in format '{0}', only format 1 is known; is this HAProxy too new?")]
    StateFormat(String),
    /// The header or a line lacks a column, or what stands there is no such value.
    #[error("'{column}' is missing or malformed in the reply line '{line}'")]
    Column {
        /// The column's name.
        column: &'static str,
        /// The line, shortened.
        line: String,
    },
    /// Something other than lines `Name: value`.
    #[error("'{0}' is missing in the reply to 'show info'")]
    Info(&'static str),
}

/// The bits of `srv_admin_state` (management guide, 9.3 "show servers state").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdminFlags(pub u32);

impl AdminFlags {
    /// Forced into maintenance by a command.
    pub const FORCED_MAINT: u32 = 0x01;
    /// In maintenance because the server it tracks is.
    pub const INHERITED_MAINT: u32 = 0x02;
    /// `disabled` stands in the configuration, whatever commands did later.
    pub const CONFIGURED_MAINT: u32 = 0x04;
    /// Forced into drain by a command.
    pub const FORCED_DRAIN: u32 = 0x08;
    /// In drain because the server it tracks is.
    pub const INHERITED_DRAIN: u32 = 0x10;
    /// In maintenance because its name doesn't resolve.
    pub const RESOLUTION_MAINT: u32 = 0x20;

    /// Whether it takes no traffic at all. `CONFIGURED_MAINT` alone doesn't tell: it stays when a command makes the server ready.
    pub const fn maint(self) -> bool {
        self.0 & (Self::FORCED_MAINT | Self::INHERITED_MAINT | Self::RESOLUTION_MAINT) != 0
    }

    /// Whether it takes no new traffic.
    pub const fn drain(self) -> bool {
        self.0 & (Self::FORCED_DRAIN | Self::INHERITED_DRAIN) != 0
    }

    /// What commands, or `disabled` at the start, made of it.
    pub const fn forced(self) -> AdminState {
        if self.0 & Self::FORCED_MAINT != 0 {
            AdminState::Maint
        } else if self.0 & Self::FORCED_DRAIN != 0 {
            AdminState::Drain
        } else {
            AdminState::Ready
        }
    }
}

/// What `set server .. state` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdminState {
    /// Takes traffic.
    Ready,
    /// Takes no new traffic.
    Drain,
    /// Takes none, and isn't checked.
    Maint,
}

/// `srv_op_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationalState {
    /// Down.
    Stopped,
    /// Up, warming up.
    Starting,
    /// Up.
    Running,
    /// Up, but leaving.
    Stopping,
}

/// One server as its process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// The backend's name (`be_name`).
    pub backend: String,
    /// The server's name (`srv_name`).
    pub name: String,
    /// The server's id, unique in its backend (`srv_id`).
    pub id: u32,
    /// Its address; `None` for a unix socket or an unresolved name.
    pub address: Option<SocketAddr>,
    /// Up or down.
    pub operational: OperationalState,
    /// Maintenance and drain.
    pub admin: AdminFlags,
    /// Its weight now (`srv_uweight`).
    pub weight: u16,
    /// Its weight in the configuration that the process started with, or as `add server` gave it (`srv_iweight`).
    pub initial_weight: u16,
    /// Whether it has a health check or an agent check.
    pub checked: bool,
    /// Whether a check that it has is switched off; one added at run time starts so.
    pub checks_off: bool,
    /// Whether its id was given explicitly.
    pub explicit_id: bool,
}

/// The columns' names, from the header.
pub(super) struct StateColumns<'a>(Vec<&'a str>);

impl<'a> StateColumns<'a> {
    /// Splits the reply of `show servers state` into its columns and its data lines.
    pub(super) fn split(reply: &'a str) -> Result<(Self, impl Iterator<Item = &'a str>), ReplyError> {
        let mut lines = reply.trim_start_matches('\n').lines();
        let version = lines.next().unwrap_or_default().trim();
        if version != "1" {
            return Err(ReplyError::StateFormat(shortened(version)));
        }
        let header = lines.next().and_then(|line| line.strip_prefix('#')).unwrap_or_default();
        let columns = Self(header.split_ascii_whitespace().collect());
        Ok((columns, lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'))))
    }

    /// Where `column` is, counted from 0.
    pub(super) fn position(&self, column: &'static str) -> Option<usize> {
        self.0.iter().position(|name| *name == column)
    }

    /// The columns' names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().copied()
    }

    /// Reads one data line.
    pub(super) fn read(&self, line: &str) -> Result<ServerState, ReplyError> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let malformed = |column| ReplyError::Column { column, line: shortened(line) };
        // One that was cut off may end within a number.
        if words.len() < self.0.len() {
            return Err(malformed("the last column"));
        }
        let word = |column| {
            self.position(column).and_then(|at| words.get(at)).copied().ok_or_else(|| malformed(column))
        };
        let number = |column| word(column)?.parse::<u32>().map_err(|_| malformed(column));
        let weight = |column| word(column)?.parse::<u16>().map_err(|_| malformed(column));
        let port = word("srv_port")?.parse().map_err(|_| malformed("srv_port"))?;
        let checks = [number("srv_check_state")?, number("srv_agent_state")?];
        Ok(ServerState {
            backend: word("be_name")?.to_owned(),
            name: word("srv_name")?.to_owned(),
            id: number("srv_id")?,
            address: word("srv_addr")?.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, port)),
            operational: match word("srv_op_state")? {
                "0" => OperationalState::Stopped,
                "1" => OperationalState::Starting,
                "2" => OperationalState::Running,
                "3" => OperationalState::Stopping,
                _ => return Err(malformed("srv_op_state")),
            },
            admin: AdminFlags(number("srv_admin_state")?),
            weight: weight("srv_uweight")?,
            initial_weight: weight("srv_iweight")?,
            checked: (checks[0] | checks[1]) & CHECK_CONFIGURED != 0,
            checks_off: checks
                .iter()
                .any(|state| state & (CHECK_CONFIGURED | CHECK_ENABLED) == CHECK_CONFIGURED),
            explicit_id: word("srv_f_forced_id")? == "1",
        })
    }
}

/// `CHK_ST_CONFIGURED` of `srv_check_state` and `srv_agent_state`.
const CHECK_CONFIGURED: u32 = 0x02;
/// `CHK_ST_ENABLED`, likewise.
const CHECK_ENABLED: u32 = 0x04;

/// Reads the reply of `show servers state`.
///
/// # Errors
/// When it is no such reply.
pub fn parse_servers_state(reply: &str) -> Result<Vec<ServerState>, ReplyError> {
    servers_state(reply)?.collect()
}

/// The same, one server after the other; those of a backend stand together.
///
/// # Errors
/// When it is no such reply.
pub fn servers_state(
    reply: &str,
) -> Result<impl Iterator<Item = Result<ServerState, ReplyError>>, ReplyError> {
    let (columns, lines) = StateColumns::split(reply)?;
    Ok(lines.map(move |line| columns.read(line)))
}

/// What `ProxyMgr` needs of `show info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// The version of the process.
    pub version: HaproxyVersion,
    /// Its process id.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// Clients connected now; the runtime socket's own are not counted.
    pub current_connections: u64,
    /// Whether it is in soft stop.
    pub stopping: bool,
}

/// Reads the reply of `show info`.
///
/// # Errors
/// When one of the values isn't there.
pub fn parse_show_info(reply: &str) -> Result<ProcessInfo, ReplyError> {
    let values: HashMap<&str, &str> = reply
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let value = |name| values.get(name).copied().ok_or(ReplyError::Info(name));
    let number = |name| value(name)?.parse::<u64>().map_err(|_| ReplyError::Info(name));
    Ok(ProcessInfo {
        version: HaproxyVersion::parse(value("Version")?).ok_or(ReplyError::Info("Version"))?,
        pid: value("Pid")?.parse().map_err(|_| ReplyError::Info("Pid"))?,
        uptime_seconds: number("Uptime_sec")?,
        current_connections: number("CurrConns")?,
        stopping: number("Stopping")? != 0,
    })
}

fn shortened(line: &str) -> String {
    line.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REPLY: &str = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port\n2 be 1 s1 127.0.0.1 0 1 5 10 0 8 2 0 6 22 0 1 - 9001 - 1 77 127.0.0.9 127.0.0.9 99\n2 be 2 s2 ::1 2 4 1 1 1 1 0 4 0 0 0 0 - 9002 - 0 0 - - 0\n2 be 3 s3 - 3 8 1 1 1 1 0 4 6 0 0 1 x.example 9002 - 0 0 - - 0\n\n";

    #[test]
    fn servers_are_read_by_the_headers_names() {
        let servers = parse_servers_state(REPLY).unwrap();
        let [first, second, third] = servers.as_slice() else { panic!("{servers:?}") };
        assert_eq!(first.address, Some("127.0.0.1:9001".parse().unwrap()));
        assert_eq!((first.id, first.weight, first.initial_weight), (1, 5, 10));
        assert_eq!((first.admin.forced(), first.admin.maint()), (AdminState::Maint, true));
        assert!(first.checked && first.explicit_id);
        assert_eq!(second.address, Some("[::1]:9002".parse().unwrap()));
        assert_eq!((second.admin.forced(), second.admin.maint()), (AdminState::Ready, false));
        assert!(!second.checked && !second.explicit_id);
        assert_eq!((third.address, third.operational), (None, OperationalState::Stopping));
        assert_eq!((third.admin.forced(), third.admin.drain()), (AdminState::Drain, true));
    }

    #[test]
    fn another_format_or_a_short_line_is_an_error() {
        assert_eq!(parse_servers_state("2\n# x\n"), Err(ReplyError::StateFormat("2".into())));
        assert!(matches!(parse_servers_state("Unknown command"), Err(ReplyError::StateFormat(_))));
        let short = REPLY.replace(" 9001 - 1 77 127.0.0.9 127.0.0.9 99", "");
        assert!(matches!(
            parse_servers_state(&short),
            Err(ReplyError::Column { column: "the last column", .. })
        ));
    }

    #[test]
    fn show_info_gives_what_the_drain_needs() {
        let reply = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 20535\nUptime: 0d 0h00m00s\nUptime_sec: 7\nCurrConns: 3\nStopping: 1\n";
        let info = parse_show_info(reply).unwrap();
        assert_eq!(
            (info.pid, info.uptime_seconds, info.current_connections, info.stopping),
            (20535, 7, 3, true)
        );
        assert_eq!(info.version, HaproxyVersion::new(2, 6, 12));
        assert_eq!(parse_show_info("Pid: 1\n"), Err(ReplyError::Info("Version")));
    }

    proptest! {
        #[test]
        fn any_reply_is_read_or_refused(text in any::<String>(), cut in 0..REPLY.len()) {
            let _ = parse_servers_state(&text);
            let _ = parse_show_info(&text);
            let _ = parse_servers_state(&format!("{}{text}", REPLY.get(..cut).unwrap_or_default()));
        }
    }
}
