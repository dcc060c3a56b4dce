//! What a new process takes over from the old one about its servers: up or down, an operator's maintenance, drain and weight. Pure.
//!
//! `HAProxy` reads it from a `server-state-file`. Measured with 2.6:
//! - the address and the port of a line override the configuration, so those of the configuration are written;
//! - so do `srv_use_ssl`, `srv_check_port` and the addresses of checks: the last columns, which may be absent, are left out;
//! - the weight of a line counts when its `srv_iweight` is the configuration's weight, else the configuration's does;
//! - a line without the bit "disabled by configuration" loses to `disabled` in the configuration, and the other way round;
//! - a server that is down stays down until a check finds it up, for ever when the configuration has no check for it;
//! - servers are found by their names; the ids in a line play no part.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::reply::{AdminFlags, AdminState, OperationalState, ReplyError, ServerState, StateColumns};
use crate::engine::server::Weight;

/// What `ProxyMgr` makes of a server by commands and configuration. A process that reports something else was told so by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Ready, drain or maintenance.
    pub admin: AdminState,
    /// The weight in effect: the registry's, or that of the server options.
    pub weight: Weight,
}

/// A server that the old process has and the new configuration keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedServer<'a> {
    /// Its backend's name.
    pub backend: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its address in the new configuration.
    pub address: SocketAddr,
    /// Whether the new configuration has a check for it.
    pub checked: bool,
    /// Whether the new configuration has `disabled` for it.
    pub disabled: bool,
    /// What `ProxyMgr` last made of it in the old process.
    pub before: Intent,
    /// What it is to be now; a change here beats what an operator did before.
    pub after: Intent,
}

/// The last column written; those behind it override the configuration.
const LAST_COLUMN: &str = "srvrecord";

/// Makes the state file for the new process from the old one's reply to `show servers state`.
///
/// # Errors
/// When the reply is none.
pub fn carry_over<'a>(
    reply: &str,
    servers: impl IntoIterator<Item = CarriedServer<'a>>,
) -> Result<String, ReplyError> {
    let servers: HashMap<(&str, &str), CarriedServer<'_>> =
        servers.into_iter().map(|server| ((server.backend, server.name), server)).collect();
    let (columns, lines) = StateColumns::split(reply)?;
    let width = columns
        .position(LAST_COLUMN)
        .ok_or_else(|| ReplyError::Column { column: LAST_COLUMN, line: String::new() })?
        .saturating_add(1);
    let mut file = String::from("1\n#");
    for name in columns.names().take(width) {
        file.push(' ');
        file.push_str(name);
    }
    file.push('\n');
    for line in lines {
        let state = columns.read(line)?;
        if let Some(server) = servers.get(&(state.backend.as_str(), state.name.as_str())) {
            push_line(&mut file, &columns, line, &Restored::of(&state, server), width);
        }
    }
    Ok(file)
}

/// What the line of one server says.
#[derive(Debug, PartialEq, Eq)]
struct Restored {
    address: SocketAddr,
    operational: u8,
    admin: u32,
    weight: u16,
    initial_weight: u16,
    keeps_health: bool,
}

impl Restored {
    fn of(state: &ServerState, server: &CarriedServer<'_>) -> Self {
        let admin = admin_state(state, server);
        let forced = match admin {
            AdminState::Ready => 0,
            AdminState::Drain => AdminFlags::FORCED_DRAIN,
            AdminState::Maint => AdminFlags::FORCED_MAINT,
        };
        let configured = if server.disabled { AdminFlags::CONFIGURED_MAINT } else { 0 };
        let stayed = state.address == Some(server.address);
        let found_by_check = stayed && state.checked && server.checked && !state.admin.maint();
        let operational = match (admin, state.operational) {
            (AdminState::Maint, _) => 0,
            (AdminState::Ready | AdminState::Drain, OperationalState::Stopped) if found_by_check => 0,
            (AdminState::Ready | AdminState::Drain, OperationalState::Stopping) if found_by_check => 3,
            (
                AdminState::Ready | AdminState::Drain,
                OperationalState::Stopped
                | OperationalState::Starting
                | OperationalState::Running
                | OperationalState::Stopping,
            ) => 2,
        };
        let (before, after) = (server.before.weight.get(), server.after.weight.get());
        let by_operator = state.weight != before && before == after;
        Self {
            address: server.address,
            operational,
            admin: forced | configured,
            weight: if by_operator { state.weight } else { after },
            initial_weight: after,
            keeps_health: found_by_check,
        }
    }
}

fn admin_state(state: &ServerState, server: &CarriedServer<'_>) -> AdminState {
    let was_disabled = state.admin.0 & AdminFlags::CONFIGURED_MAINT != 0;
    let by_operator =
        state.admin.forced() != server.before.admin && server.before.admin == server.after.admin;
    match (was_disabled, server.disabled) {
        (false, true) => AdminState::Maint,
        (true, true) | (false, false) if by_operator => state.admin.forced(),
        (true, _) | (false, false) => server.after.admin,
    }
}

fn push_line(file: &mut String, columns: &StateColumns<'_>, line: &str, restored: &Restored, width: usize) {
    let changed = [
        ("srv_addr", restored.address.ip().to_string()),
        ("srv_port", restored.address.port().to_string()),
        ("srv_op_state", restored.operational.to_string()),
        ("srv_admin_state", restored.admin.to_string()),
        ("srv_uweight", restored.weight.to_string()),
        ("srv_iweight", restored.initial_weight.to_string()),
    ];
    let mut words: Vec<&str> = line.split_ascii_whitespace().take(width).collect();
    let mut set = |column, value| {
        if let Some(word) = columns.position(column).and_then(|at| words.get_mut(at)) {
            *word = value;
        }
    };
    for (column, value) in &changed {
        set(column, value.as_str());
    }
    if !restored.keeps_health {
        // The counter of another life; HAProxy starts from the state when it doesn't fit.
        set("srv_check_health", "0");
    }
    file.push_str(&words.join(" "));
    file.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port";

    fn intent(admin: AdminState, weight: u16) -> Intent {
        Intent { admin, weight: Weight::new(weight).unwrap() }
    }

    fn server() -> CarriedServer<'static> {
        let ready = intent(AdminState::Ready, 10);
        CarriedServer {
            backend: "be",
            name: "s1",
            address: "127.0.0.1:9001".parse().unwrap(),
            checked: true,
            disabled: false,
            before: ready,
            after: ready,
        }
    }

    /// The state, admin and weight words of the line that is written for a reported one.
    fn carried(reported: &str, server: CarriedServer<'_>) -> Option<String> {
        let line = carried_line(reported, server)?;
        Some(line.split(' ').skip(5).take(4).collect::<Vec<_>>().join(" "))
    }

    fn carried_line(reported: &str, server: CarriedServer<'_>) -> Option<String> {
        let reply =
            format!("1\n{HEADER}\n2 be 1 s1 127.0.0.1 {reported} 7 6 3 4 6 0 0 1 - 9001 - 1 77 - - 0\n\n");
        let file = carry_over(&reply, [server]).unwrap();
        let line = file.lines().nth(2)?;
        assert_eq!(line.split(' ').count(), 20, "{line}");
        Some(line.to_owned())
    }

    #[test]
    fn up_and_down_are_kept() {
        assert_eq!(carried("2 0 10 10", server()).unwrap(), "2 0 10 10");
        assert_eq!(carried("0 0 10 10", server()).unwrap(), "0 0 10 10");
        assert_eq!(carried("3 0 10 10", server()).unwrap(), "3 0 10 10");
        assert_eq!(carried("1 0 10 10", server()).unwrap(), "2 0 10 10");
    }

    #[test]
    fn a_server_without_a_check_is_never_left_down() {
        assert_eq!(carried("0 0 10 10", CarriedServer { checked: false, ..server() }).unwrap(), "2 0 10 10");
    }

    #[test]
    fn an_operators_maintenance_drain_and_weight_are_kept() {
        assert_eq!(carried("0 1 10 10", server()).unwrap(), "0 1 10 10");
        assert_eq!(carried("2 8 10 10", server()).unwrap(), "2 8 10 10");
        assert_eq!(carried("2 0 5 10", server()).unwrap(), "2 0 5 10");
    }

    #[test]
    fn a_change_of_what_is_wanted_beats_what_was() {
        let back = CarriedServer { before: intent(AdminState::Maint, 10), ..server() };
        assert_eq!(carried("0 1 10 10", back.clone()).unwrap(), "2 0 10 10");
        let heavier = CarriedServer { after: intent(AdminState::Ready, 20), ..server() };
        assert_eq!(carried("2 0 5 10", heavier).unwrap(), "2 0 20 20");
        // Set to 20 by a command, now 10 again as in the configuration of the old process.
        let lighter = CarriedServer { before: intent(AdminState::Ready, 20), ..server() };
        assert_eq!(carried("2 0 20 10", lighter).unwrap(), "2 0 10 10");
        let drained = CarriedServer { after: intent(AdminState::Drain, 10), ..server() };
        assert_eq!(carried("2 0 10 10", drained).unwrap(), "2 8 10 10");
    }

    #[test]
    fn disabled_in_the_configuration_counts_when_it_is_new() {
        let disabled = CarriedServer { disabled: true, ..server() };
        assert_eq!(carried("2 0 10 10", disabled.clone()).unwrap(), "0 5 10 10");
        assert_eq!(carried("0 5 10 10", disabled.clone()).unwrap(), "0 5 10 10");
        // An operator made it ready.
        assert_eq!(carried("2 4 10 10", disabled).unwrap(), "2 4 10 10");
        assert_eq!(carried("0 5 10 10", server()).unwrap(), "2 0 10 10");
    }

    #[test]
    fn a_server_that_moved_keeps_an_operators_will_but_not_its_health() {
        let moved = CarriedServer { address: "[::1]:9002".parse().unwrap(), ..server() };
        assert_eq!(carried("0 0 10 10", moved.clone()).unwrap(), "2 0 10 10");
        assert_eq!(carried("0 1 10 10", moved.clone()).unwrap(), "0 1 10 10");
        assert_eq!(carried("2 8 5 10", moved.clone()).unwrap(), "2 8 5 10");
        let line = carried_line("2 0 10 10", moved).unwrap();
        assert!(line.starts_with("2 be 1 s1 ::1 2 ") && line.ends_with(" - 9002 -"), "{line}");
    }

    #[test]
    fn another_name_starts_afresh() {
        for other in
            [CarriedServer { name: "s2", ..server() }, CarriedServer { backend: "other", ..server() }]
        {
            assert_eq!(carried("0 1 10 10", other), None);
        }
    }

    proptest! {
        /// Whatever an old process says, the file holds the servers that were asked for, with their own addresses, and no more columns.
        #[test]
        fn any_reply_carries_over_the_servers_asked_for_alone(
            cuts in proptest::collection::vec(
                (any::<prop::sample::Index>(), 0_usize..6, "([0-9]{1,4}|[ \n]|\\PC|be|s[12]|\u{0}){0,3}"), 0..4),
        ) {
            let mut reply: Vec<char> = format!(
                "1\n{HEADER}\n2 be 1 s1 127.0.0.1 2 0 10 10 7 6 3 4 6 0 0 1 - 9001 - 1 77 - - 0\n\
                 2 be 2 s2 127.0.0.2 2 0 10 10 7 6 3 4 6 0 0 1 - 9001 - 1 77 - - 0\n\n"
            ).chars().collect();
            for (at, removed, with) in cuts {
                let at = at.index(reply.len());
                let end = (at + removed).min(reply.len());
                reply.splice(at..end, with.chars());
            }
            let reply: String = reply.into_iter().collect();
            if let Ok(file) = carry_over(&reply, [server()]) {
                let lines: Vec<_> = file.lines().collect();
                prop_assert_eq!(lines[0], "1");
                let columns: Vec<_> = lines[1].split_ascii_whitespace().skip(1).collect();
                let place = |name| columns.iter().position(|column| *column == name).unwrap();
                for line in &lines[2..] {
                    let values: Vec<_> = line.split(' ').collect();
                    prop_assert_eq!(values.len(), columns.len(), "{}", line);
                    prop_assert_eq!((values[place("be_name")], values[place("srv_name")]), ("be", "s1"), "{}", line);
                    prop_assert_eq!((values[place("srv_addr")], values[place("srv_port")]), ("127.0.0.1", "9001"), "{}", line);
                }
            }
        }
    }
}
