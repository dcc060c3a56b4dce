//! Sessions with `ZooKeeper` ensembles, shared by all who follow nodes of the same ensemble.
//!
//! ```text
//! Ensembles --(hosts, access)--> Session: one client, kept alive by a task      session.rs
//!                                 |  Link {client, epoch}, a new one after each (re)connect
//!                                 v
//!                              Tree: one watched path, its children in memory  tree.rs, load.rs
//!                                 |  whole snapshots, the latest wins
//!                                 v
//!                              ChildrenWatch, any number of them
//! ```
//!
//! An outage, a restart or an expired session publishes nothing: the last snapshot stays until a good answer differs.
//! No other module names the `ZooKeeper` crate.

mod access;
mod children;
mod connect_string;
mod ensembles;
mod error;
mod events;
mod handshake;
mod load;
mod node_path;
mod node_stat;
mod session;
mod tree;

pub use access::{Access, Auth};
pub use children::{Children, ChildrenWatch, Node};
pub use connect_string::{ConnectString, ConnectStringError};
pub use ensembles::Ensembles;
pub use error::ZookeeperError;
pub use node_path::{NodePath, NodePathError};
pub use node_stat::NodeStat;
pub use session::NameSuffices;
