//! What the tests share: real servers, ports, deadlines, a load client that counts every error.

pub mod backend;
pub mod certificates;
pub mod control;
pub mod deadline;
pub mod disk;
pub mod dns_server;
pub mod haproxy;
pub mod http;
pub mod load;
pub mod load_report;
pub mod netns;
pub mod paths;
pub mod ports;
pub mod proc;
pub mod proxymgr;
pub mod proxymgr_setup;
pub mod requests;
pub mod running;
pub mod service_manager;
pub mod slow_proxy;
pub mod stand_in;
pub mod system_dns;
pub mod unbound;
pub mod zookeeper;
pub mod zookeeper_ensemble;
pub mod zookeeper_nodes;
