//! The control socket: how commands speak to the running process.
//!
//! `control.sock` in `runtime_dir` is the owner's alone. Lines of JSON go both ways, one object each; unknown keys in them are
//! left alone.
//!
//! ```text
//! ProxyMgr  {"hello": {"version": 1, "release": "0.1.0", "pid": 42, "incarnation": "9c1e..."}}
//! client    {"version": 1, "command": "upgrade"}
//! ProxyMgr  {"waiting_for": "..."}                   any number of these, then one of
//!           {"result": {...}}  or  {"error": {"code": "refused", "message": "..."}}
//! ```
//!
//! `{"command": "events", "follow": true}` is answered by a line `{"event": {...}}` for each change, until the client leaves or
//! sends another line.
//!
//! A `reload` or `upgrade` that succeeds has no answer: the connection ends with the program that took it, and its successor
//! answers at the same place, with the same pid and another incarnation.
//!
//! ```text
//! client --line--> connection --Asked--> supervisor's loop
//!                      ^-----Asker-----------'
//! ```

pub mod board;
pub mod client;
mod connection;
pub mod exposition;
pub mod history;
mod inquiry;
pub mod live;
pub mod origin;
pub mod protocol;
pub mod request;
pub mod server;
pub mod status;
pub mod why;

use std::path::{Path, PathBuf};

/// Where the socket is.
pub fn socket_in(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}
