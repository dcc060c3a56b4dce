//! The pure core: events in, effects out.
//!
//! Nothing here knows tokio, files, sockets, clocks or randomness; time is an argument ([`moment::Moment`]).

pub mod haproxy_version;
pub mod listen_address;
pub mod moment;
pub mod option_line;
pub mod server;
pub mod service;
