//! What becomes of each server: what we steer, and what `HAProxy` tells. Pure.

use super::reasons::Reasons;
use crate::admin::status::{ServerState, ServerStatus};
use crate::engine::report::{Place, ServerReport};
use crate::engine::utc_text::utc_text;
use crate::haproxy::reply::{self, AdminFlags, OperationalState};

/// What is to be told of `server`, of which `HAProxy` tells `seen`.
pub(super) fn server_status(
    server: &ServerReport,
    seen: Option<&reply::ServerState>,
    reasons: &Reasons<'_>,
) -> ServerStatus {
    let (state, why) = match server.place {
        Place::Coming => (ServerState::Coming, Some(reasons.coming())),
        Place::Leaving => (ServerState::Leaving, Some(reasons.leaving().to_owned())),
        Place::InRotation => in_rotation(server, seen),
    };
    let kept = server.missing && state.is_in_rotation();
    ServerStatus {
        name: server.name.to_string(),
        address: server.address.to_string(),
        weight: seen.map_or(server.weight.get(), |seen| seen.weight),
        backup: server.backup,
        state,
        why: if kept { Some(reasons.kept()) } else { why },
    }
}

fn in_rotation(server: &ServerReport, seen: Option<&reply::ServerState>) -> (ServerState, Option<String>) {
    if let Some(since) = server.drained_since {
        return (ServerState::Drain, Some(format!("drained by an operator since {}", utc_text(since))));
    }
    let (state, why) = as_seen(server, seen);
    (state, why.map(str::to_owned))
}

fn as_seen(server: &ServerReport, seen: Option<&reply::ServerState>) -> (ServerState, Option<&'static str>) {
    if server.drains {
        return (ServerState::Drain, Some("drained by its registry"));
    }
    let Some(seen) = seen else { return (ServerState::Unknown, None) };
    let is_inherited = seen.admin.0 & (AdminFlags::INHERITED_MAINT | AdminFlags::INHERITED_DRAIN) != 0;
    match (seen.admin.maint(), seen.admin.drain()) {
        (true, _) if is_inherited => {
            (ServerState::Maintenance, Some("the server that it tracks is in maintenance"))
        }
        (true, _) => (ServerState::Maintenance, Some("put into maintenance by an operator")),
        (false, true) if is_inherited => (ServerState::Drain, Some("the server that it tracks drains")),
        (false, true) => (ServerState::Drain, Some("drained by an operator")),
        (false, false) => match seen.operational {
            OperationalState::Stopped => (ServerState::Down, Some("its check fails")),
            OperationalState::Starting | OperationalState::Running | OperationalState::Stopping => {
                if seen.weight == 0 {
                    (ServerState::Drain, Some("its weight is 0"))
                } else {
                    (ServerState::Up, None)
                }
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::reasons::Clock;
    use super::*;
    use crate::engine::moment::Moment;
    use crate::engine::report::{ReloadAhead, ServiceReport, Stage};
    use crate::engine::server::{Server, Weight};

    fn report(place: Place, drains: bool, missing: bool) -> ServerReport {
        let address = "1.1.1.1:1".parse().unwrap();
        let (name, weight) = (Server::at(address).unwrap().name(), Weight::DEFAULT);
        ServerReport { name, address, weight, backup: false, place, drains, drained_since: None, missing }
    }

    fn seen(operational: OperationalState, admin: u32, weight: u16) -> reply::ServerState {
        reply::ServerState {
            backend: "web".into(),
            name: "1.1.1.1:1".into(),
            id: 1,
            address: None,
            operational,
            admin: AdminFlags(admin),
            weight,
            initial_weight: 1,
            checked: true,
            checks_off: false,
            explicit_id: true,
        }
    }

    fn told(
        server: &ServerReport,
        seen: Option<&reply::ServerState>,
        refusal: Option<&str>,
        reload: ReloadAhead,
    ) -> ServerStatus {
        let service = ServiceReport::default();
        let clock = Clock { began: SystemTime::UNIX_EPOCH, now: Moment::START };
        let refusal = refusal.map(str::to_owned);
        server_status(
            server,
            seen,
            &Reasons { service: &service, refusal, stage: Stage::Serving, reload, clock },
        )
    }

    #[test]
    fn an_operators_drain_tells_since_when() {
        let server = ServerReport { drained_since: Some(0), ..report(Place::InRotation, true, false) };
        let why = told(&server, None, None, ReloadAhead::None).why;
        assert_eq!(why.as_deref(), Some("drained by an operator since 1970-01-01T00:00:00Z"));
    }

    #[test]
    fn one_that_is_to_come_tells_what_it_waits_for() {
        let server = report(Place::Coming, false, false);
        let due = ReloadAhead::Waits(Moment::after_start(Duration::from_secs(7)));
        for (refusal, reload, expected) in [
            (None, ReloadAhead::None, "is being put into rotation"),
            (None, ReloadAhead::UnderWay, "waits for the reload that is under way"),
            (None, due, "waits for the next reload, at 1970-01-01T00:00:07Z (reload.min_interval)"),
            (Some("no port"), due, "its service is refused: no port"),
        ] {
            assert_eq!(told(&server, None, refusal, reload).why.as_deref(), Some(expected));
        }
    }

    #[test]
    fn there_is_one_reason_for_each_server_that_gets_no_traffic() {
        use OperationalState::{Running, Stopped};
        let plain = report(Place::InRotation, false, false);
        for (server, seen, state, why) in [
            (&plain, Some(seen(Running, 0, 5)), ServerState::Up, None),
            (&plain, None, ServerState::Unknown, None),
            (&plain, Some(seen(Stopped, 0, 5)), ServerState::Down, Some("check fails")),
            (&plain, Some(seen(Stopped, 1, 5)), ServerState::Maintenance, Some("operator")),
            (&plain, Some(seen(Running, 8, 5)), ServerState::Drain, Some("operator")),
            (&plain, Some(seen(Running, 16, 5)), ServerState::Drain, Some("tracks")),
            (&plain, Some(seen(Running, 0, 0)), ServerState::Drain, Some("weight is 0")),
            (&report(Place::InRotation, true, false), None, ServerState::Drain, Some("registry")),
            (&report(Place::InRotation, false, true), None, ServerState::Unknown, Some("kept")),
            (
                &report(Place::InRotation, false, true),
                Some(seen(Stopped, 0, 1)),
                ServerState::Down,
                Some("check fails"),
            ),
            (
                &report(Place::Leaving, false, false),
                None,
                ServerState::Leaving,
                Some("no definition any more"),
            ),
        ] {
            let status = told(server, seen.as_ref(), None, ReloadAhead::None);
            assert_eq!(status.state, state, "{status:?}");
            match (why, &status.why) {
                (None, None) => {}
                (Some(part), Some(why)) => assert!(why.contains(part), "{status:?}"),
                (_, _) => panic!("{status:?}"),
            }
        }
    }
}
