//! How servers are written, whoever writes them: `host:port` with words, or an object with fields.
//!
//! What is common to the nodes of registries, the lines of files and the lists in definitions.

mod error;
mod fields;
mod host;
mod line;
mod object;

pub use error::EntryError;
pub use fields::Fields;
pub use host::{host_and_port, server_at};
pub use line::read_line;
pub use object::{Entry, read_object};
