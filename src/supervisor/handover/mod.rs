//! One `ProxyMgr` takes the place of another without a gap: the listen sockets, the processes of `HAProxy` and what they
//! hold are handed over.
//!
//! - An upgrade, or proxymgr.yml read again: [`exec`] replaces the program within the same process. The record and the files
//!   travel in a memfd and in stdin ([`crate::process::file_parcel`]).
//! - After a crash: [`after_crash`]'s record and what systemd kept.
//! - [`probe`] asks the new program first whether it could go on.

pub(super) mod after_crash;
mod applied_record;
mod entrance_record;
pub mod exec;
pub(super) mod inherited;
pub mod probe;
pub(super) mod record;
