//! Which processes of `HAProxy` there are, for who looks on.

use std::path::PathBuf;
use std::time::Instant;

use super::actor::Actor;

/// Names of the pipes that `HAProxy`'s output comes through begin with this.
pub const OUTPUT_OF: &str = "output=";

/// The name under which systemd keeps the pipe that the output of the process `pid` comes through.
pub fn output_name(pid: u32) -> String {
    format!("{OUTPUT_OF}{pid}")
}

/// The processes of `HAProxy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// How many have been started.
    pub generations: u64,
    /// The one that accepts connections.
    pub serving: Option<ServingProcess>,
    /// Those that end with their last connection, oldest first.
    pub draining: Vec<DrainingProcess>,
}

/// The process that accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServingProcess {
    /// Its generation.
    pub number: u64,
    /// Its process id.
    pub pid: u32,
    /// Its runtime socket.
    pub control: PathBuf,
}

/// A process that accepts no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainingProcess {
    /// Its generation.
    pub number: u64,
    /// Its process id.
    pub pid: u32,
    /// When that began.
    pub since: Instant,
}

impl Actor {
    /// Shows who looks on what has changed.
    pub(super) fn show(&self) {
        let running = Running {
            generations: self.generations,
            serving: self.serving.as_ref().map(|serving| ServingProcess {
                number: serving.number(),
                pid: serving.pid(),
                control: serving.control_path().to_owned(),
            }),
            draining: self.draining.shown().collect(),
        };
        self.shown.send_if_modified(|shown| {
            let differs = *shown != running;
            *shown = running;
            differs
        });
    }
}
