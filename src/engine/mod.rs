//! The pure core: events in, effects out.
//!
//! Nothing here knows tokio, files, sockets, clocks or randomness; time is an argument ([`moment::Moment`]).

pub mod backoff;
pub mod moment;
pub mod option_line;
pub mod printable;
pub mod secret;
pub mod server;
pub mod service;
