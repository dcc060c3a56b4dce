//! A small client of Consul's HTTP API that only reads, and is told of changes by blocking queries.
//!
//! ```text
//! Consuls --(access)--> Agent: one pool of connections, one choice among the servers     agents.rs, agent.rs, pool.rs
//!                         ^ asks, with the index known so far
//!                       Follow: one query, asked again and again                          follow.rs, cursor.rs
//!                         |  answers that differ from the last; failures of the agent are waited out here
//!                         v
//!                       service_config, watcher
//! ```
//!
//! # How many questions wait at once
//!
//! A blocking query takes a connection for as long as it waits, and an agent takes 200 connections from one client
//! (Consul documentation, `limits.http_max_conns_per_client`). So, per agent and by [`turns`]:
//!
//! - 80 queries for instances of services wait at once, 24 more for keys and for the list of services.
//! - All that find no place are asked when something has changed: three queries per datacenter wait on the tables of services,
//!   nodes and checks as a whole, with a filter that leaves their answers empty or small, and each change there sends one round of
//!   short questions, 24 at a time, through connections that are kept. A round costs an agent some ten milliseconds per
//!   hundred services; under endless churn one begins at most each second per 1000 services. Keys without a place are asked
//!   every 5 to 10 seconds.
//!
//! So 1000 services need 130 connections, are idle while nothing changes, and hear of a change within about a second.
//!
//! # What is believed
//!
//! Any server may answer (`stale`), so that reads go on while there is no leader elected for a moment; an answer older than
//! `max_stale` is asked for again from the leader (`consistent`). An agent that knows no leader, or fails, says nothing: the
//! last answer stays, the next server of the list is asked, with back-off and jitter. Whatever an answer holds is bounded in
//! size and checked by who reads it.

mod agent;
mod agents;
mod answer;
mod connection;
mod cursor;
mod error;
mod follow;
mod instances;
mod jitter;
mod keys;
mod pace;
mod pool;
mod query;
mod turns;

pub use agents::Consuls;
pub use error::ConsulError;
pub use follow::{Answer, Follow};
pub use instances::{Health, Instance, instances_of_catalog, instances_of_health, services};
pub use keys::{Key, keys};
pub use query::{InstanceQuery, Query};
