//! HTTP for monitoring and people: what the control socket tells, but nothing that changes anything.
//!
//! | path | what |
//! |---|---|
//! | `/livez` | 200 when the loop answers |
//! | `/readyz` | 200 once it serves, as systemd is told, until its end is asked for |
//! | `/metrics` | numbers, for Prometheus |
//! | `/api/v1/status`, `/api/v1/status/SERVICE` | as `proxymgr status --json` |
//! | `/api/v1/why/SERVICE`, `/api/v1/why/SERVICE/SERVER` | as `proxymgr why --json` |
//! | `/api/v1/events?service=&last=&after=` | as `proxymgr events --json`; with `follow=true` as server-sent events |
//!
//! It has a thread of its own, so that no client takes time from the loop, which is asked at most [`questions::SPACING`] apart:
//!
//! ```text
//! client --request--> server, routes --Asked--> supervisor's loop
//!                          ^--------Answer----------'
//! ```

mod access;
mod events;
mod guests;
mod patience;
mod questions;
mod routes;
pub mod server;

pub use access::Access;
