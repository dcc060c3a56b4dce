//! Child processes: who starts them, who collects them, what they print.
//!
//! A program that may run as PID 1 has to collect orphans with `waitpid(-1)`, which also collects the exit codes
//! of its own children. So there is one owner of `waitpid`, the [`reaper::Reaper`], and every child is
//! started through it: [`spawn`].

pub mod adopt;
pub mod child_command;
pub mod exit;
pub mod file_parcel;
pub mod found;
pub mod output;
pub mod reaper;
pub mod resources;
pub mod root;
pub mod spawn;
