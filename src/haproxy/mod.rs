//! The adapter to `HAProxy`: its listen sockets, its configuration file, its runtime socket, its output.

pub mod actor;
mod apply;
pub mod check;
pub mod check_message;
pub mod check_text;
pub mod config_file;
pub mod control_socket;
mod draining;
mod generation;
pub mod generations;
pub mod handover;
mod last_state;
pub mod left_alone;
pub mod listen_sockets;
mod log_allowance;
pub mod log_line;
mod meanwhile;
mod memory_file;
mod output_log;
mod reload;
pub mod reply;
mod route_files;
pub mod runtime;
pub mod server_state;
pub mod traffic;
mod turn_away;
