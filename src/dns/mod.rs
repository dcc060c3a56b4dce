//! Names in the DNS: asked, and asked again when their answers expire.
//!
//! The only place that names `hickory_resolver`. A and AAAA are questions of their own, so that a failing half never looks
//! like servers that are gone. `NXDOMAIN` and an answer without records are good, empty answers; `SERVFAIL`, `REFUSED` and
//! silence are none: the last answer stays.

mod error;
mod follow;
mod refresh;
mod resolver;
mod system;

pub use error::DnsError;
pub use follow::{Followed, Names, Progress};
pub use refresh::RefreshRules;
pub use resolver::{Nameservers, SrvRecord};
