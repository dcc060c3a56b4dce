//! The containers of Docker daemons, each daemon followed once for all who ask for it.
//!
//! ```text
//! Daemons --(host)--> follow: events, listings, inspections     follow.rs, client.rs (bollard), transport.rs
//!                      |  Inventory: what is known, what to ask  inventory.rs, pure
//!                      |  whole snapshots, the latest wins
//!                      v
//!                     ContainersWatch, any number of them
//!                      |  those of several daemons               together.rs
//!                      v
//!                     TogetherWatch
//! ```
//!
//! What a container says of itself (labels, a part of its environment, ports) is read by `offers`: which services it is a server
//! of, and where. A daemon that is away publishes nothing: the last containers stay.

mod address;
mod client;
mod container;
mod daemons;
mod error;
mod event;
mod follow;
mod inventory;
mod offers;
mod signal;
mod together;
mod transport;
mod words;

pub use address::address;
#[cfg(test)]
pub(crate) use container::tests::container as container_saying;
pub use container::{Container, ContainerId, Health, Published};
pub use daemons::Daemons;
pub use error::DockerError;
pub use inventory::{Containers, Found};
pub use offers::{Offer, offers};
pub use together::{Everywhere, TogetherWatch};
pub use words::{Words, service_name};
