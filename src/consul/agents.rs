//! Finds what is shared with others who ask the same Consul.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::agent::Agent;
use super::follow::Follow;
use super::query::Query;
use crate::engine::consul::ConsulAccess;

/// All Consuls of this process, each with its connections while somebody follows a query there.
#[derive(Clone, Debug, Default)]
pub struct Consuls {
    agents: Arc<Mutex<HashMap<ConsulAccess, Weak<Agent>>>>,
}

impl Consuls {
    /// Follows the answers to `query`. Nothing is asked before [`Follow::next`].
    pub fn follow(&self, access: &ConsulAccess, query: Query) -> Follow {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.retain(|_, agent| agent.strong_count() > 0);
        let agent = agents.get(access).and_then(Weak::upgrade).unwrap_or_else(|| {
            let agent = Arc::new(Agent::new(access.clone()));
            agents.insert(access.clone(), Arc::downgrade(&agent));
            agent
        });
        Follow::new(agent, query)
    }
}
