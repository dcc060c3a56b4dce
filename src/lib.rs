//! `ProxyMgr` keeps one `HAProxy` in step with service registries.
//!
//! ```text
//! registries --> service_config, watcher --> supervisor --Input--> engine::Reconciler
//!                                                |  <--Effect-- (pure: no clock, no I/O)
//!                                                v
//!                              haproxy actor: sockets, config file, runtime commands, processes
//! ```
//!
//! # The layer rule
//!
//! Left may use right: `main`, `cli` -> `supervisor` -> `http` -> `admin`; `supervisor` -> `service_manager`, `haproxy`,
//! `watcher`, `service_config`; all of them -> `registry_values`, `zookeeper`, `consul`, `docker`, `tls`, `dns`, `process`,
//! `directory_watch`, `include_files`, `template`, `document`, `server_entry`, `config`, `logging`, `systemd`, `panics`,
//! `unix_listener`, `own_files`, `deadline`, `census` -> `engine` -> `std`.
//! `haproxy` and `watcher` don't know each other. `tests/suite/layers.rs` reads the `use` lines and fails on a wrong arrow.

pub mod admin;
pub mod census;
pub mod cli;
pub mod config;
pub mod consul;
pub mod deadline;
pub mod directory_watch;
pub mod dns;
pub mod docker;
pub mod document;
pub mod engine;
pub mod haproxy;
pub mod http;
pub mod include_files;
pub mod logging;
pub mod own_files;
pub mod panics;
pub mod process;
pub mod registry_values;
pub mod server_entry;
pub mod service_config;
pub mod service_manager;
pub mod supervisor;
pub mod systemd;
pub mod template;
pub mod tls;
pub mod unix_listener;
pub mod watcher;
pub mod zookeeper;
