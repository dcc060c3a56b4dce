//! What a template is filled with.

use std::sync::Arc;

use crate::engine::include::Includes;
use crate::engine::route::FrontendName;
use crate::engine::section::Base;
use crate::engine::section_text::{Lines, SectionText};
use crate::engine::service::ServiceName;
use crate::engine::state::AppliedService;

/// All of it. Lines come ready, as the built-in layout has them, and so do the values that they are made of.
#[derive(Clone, Debug)]
pub struct Model {
    /// What the sections share.
    pub base: Arc<Base>,
    /// Lines of `global` that `ProxyMgr` needs, for its beginning.
    pub global_needed: Lines,
    /// Lines of `global` that name as what the process runs, for its end.
    pub global_last: Lines,
    /// Lines that each `defaults` needs, for its beginning.
    pub defaults_needed: Lines,
    /// The frontends that services share, by name.
    pub frontends: Vec<(FrontendName, SectionText)>,
    /// The services that take connections, by name.
    pub services: Vec<(ServiceName, Arc<AppliedService>, SectionText)>,
    /// The included files.
    pub includes: Arc<Includes>,
    /// How long the text is in the built-in layout, in bytes.
    pub built_in_bytes: usize,
}

impl Model {
    /// How many servers the services have, those that leave among them.
    pub fn server_count(&self) -> usize {
        self.services.iter().map(|(_, service, _)| service.servers.len()).sum()
    }
}
