//! What the tests share: real servers, ports, deadlines, a load client that counts every error.

pub mod backend;
pub mod deadline;
pub mod haproxy;
pub mod http;
pub mod load;
pub mod load_report;
pub mod paths;
pub mod ports;
pub mod proc;
#[expect(dead_code, reason = "used by the tests that drive the binary")]
pub mod proxymgr;
#[expect(dead_code, reason = "used by the tests that drive the binary")]
pub mod proxymgr_setup;
pub mod requests;
pub mod zookeeper;
pub mod zookeeper_nodes;
