//! An operator believes what the rules do not.

use std::sync::Arc;

use super::{KnownServices, Recent};
use crate::engine::report::Heard;
use crate::engine::service::ServiceName;

/// Why nothing is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// No service has this name.
    #[error("there is no such service")]
    NoSuchService,
    /// Its registry's last answer is believed.
    #[error("no loss of servers is held, and no empty answer was refused")]
    NothingHeld,
}

impl KnownServices {
    /// Believes a loss that is held, or an empty answer; tells how many servers leave.
    pub(in crate::engine::reconciler) fn confirm(
        &mut self,
        service: &ServiceName,
    ) -> Result<usize, Unconfirmed> {
        let known = self.services.get_mut(service).ok_or(Unconfirmed::NoSuchService)?;
        let missing = if let Some(loss) = known.held.take() {
            known.servers = Some(loss.believed());
            loss.missing
        } else if known.heard == Heard::Emptiness {
            let kept = known.servers.replace(Arc::default());
            kept.map_or(0, |kept| kept.len())
        } else {
            return Err(Unconfirmed::NothingHeld);
        };
        known.heard = Heard::Answer;
        // What comes next is judged by what was confirmed.
        known.recent = Recent::default();
        Ok(missing)
    }
}
