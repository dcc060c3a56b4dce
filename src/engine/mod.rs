//! The pure core: events in, effects out.
//!
//! Nothing here knows tokio, files, sockets, clocks or randomness; time is an argument ([`moment::Moment`]).

pub mod as_root;
pub mod backend_action;
pub mod backoff;
pub mod bind_line;
pub mod capability;
pub mod changeset;
pub mod command;
pub mod config_words;
pub mod consul;
pub mod cookie;
pub mod dns_spec;
pub mod docker_spec;
pub mod doubt;
pub mod duration_text;
pub mod error_text;
pub mod haproxy_version;
pub mod host_name;
pub mod http_frontend;
pub mod include;
pub mod limits;
pub mod line_limits;
pub mod listed_server;
pub mod listen_address;
pub mod mention;
pub mod moment;
pub mod node_rules;
pub mod observed;
pub mod option_line;
pub mod outage_rules;
pub mod placeholders;
pub mod plan;
pub mod policy;
pub mod printable;
pub mod quarantine;
pub mod reconciler;
pub mod reload_reason;
pub mod render;
pub mod report;
pub mod risk;
pub mod route;
pub mod route_change;
mod route_holders;
mod route_text;
pub mod secret;
pub mod section;
pub mod section_text;
pub mod server;
pub mod server_id;
pub mod server_options;
pub mod service;
mod side_by_side;
pub mod sink;
pub mod size;
pub mod state;
pub mod template;
pub mod tls_files;
pub mod utc_text;
pub mod value_line;

#[cfg(test)]
pub(crate) mod any_text;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
pub(crate) mod own_section;
