//! The set-ups under `config/examples/`, each run end to end with real servers.

mod consul_rest;
mod dns_srv;
mod zookeeper_nerve;
