//! What the page lives on, which this module can't know itself.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::admin::board::Board;
use crate::admin::live::ServersTraffic;
use crate::admin::protocol::Failure;

/// Something that is done later.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Asks what goes through the servers of a service.
pub type AskTraffic = Arc<dyn Fn(String) -> Later<Result<ServersTraffic, Failure>> + Send + Sync>;

/// What the page lives on.
#[derive(Clone)]
pub struct Live {
    /// What is shown.
    pub board: Arc<Board>,
    /// Asked for those servers that somebody sees.
    pub traffic: AskTraffic,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}
