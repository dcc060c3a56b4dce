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
//! | `/api/v1/traffic/SERVICE` | what goes through its servers, as `HAProxy` tells it now |
//! | `/api/v1/stream` | what happens, for the page: see [`stream`] |
//! | `/` | the page for browsers, for others a list of this |
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
pub mod live;
mod page;
mod patience;
mod questions;
mod routes;
pub mod server;
mod stream;

pub use access::Access;
