//! The parts of the `HAProxy` adapter against the real program. `PROXYMGR_TEST_HAPROXY` names another than the one on `PATH`.

mod actor;
mod check;
mod dynamic_servers;
mod runtime;
mod server_state;
mod serving;
mod world;
