//! Definitions that do not go ahead, and for how long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::Backoff;
use super::mention::mentions;
use super::moment::Moment;
use super::section::Section;
use super::service::ServiceName;

/// Definitions that are refused until they change, or until a time.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    refused: BTreeMap<ServiceName, Vec<Refused>>,
    /// How long a definition stays the next time, which another try did not help.
    patience: BTreeMap<ServiceName, (Arc<Section>, Backoff)>,
}

/// A refused definition is tried again though it did not change: what it refers to may be there by then.
const TRIED_AGAIN_FIRST: Duration = Duration::from_secs(60);
const TRIED_AGAIN_LONGEST: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Debug)]
struct Refused {
    section: Arc<Section>,
    reason: String,
    until: Option<Moment>,
}

impl Quarantine {
    /// Refuses `section` of `service`: until the moment given, even if it changes to and fro, or else until it changes or is
    /// forgiven.
    pub fn refuse(
        &mut self,
        service: &ServiceName,
        section: Arc<Section>,
        reason: String,
        until: Option<Moment>,
    ) {
        let refused = self.refused.entry(service.clone()).or_default();
        refused.retain(|refused| refused.section != section);
        refused.push(Refused { section, reason, until });
    }

    /// How long `section` of `service` is refused without a change; longer each time.
    pub fn patience(&mut self, service: &ServiceName, section: &Arc<Section>) -> Duration {
        let first = || Backoff::new(TRIED_AGAIN_FIRST, TRIED_AGAIN_LONGEST);
        let known = self.patience.remove(service).filter(|(known, _)| known == section);
        let (section, mut backoff) = known.unwrap_or_else(|| (section.clone(), first()));
        let wait = backoff.next_wait();
        self.patience.insert(service.clone(), (section, backoff));
        wait
    }

    /// Lets go of what changed, of what is due for another try, and of services that are no more.
    pub fn release(&mut self, current: impl Fn(&ServiceName) -> Option<Arc<Section>>, now: Moment) {
        self.patience.retain(|service, _| current(service).is_some());
        self.refused.retain(|service, refused| {
            let Some(section) = current(service) else { return false };
            refused.retain(|refused| refused.until.map_or(refused.section == section, |until| until > now));
            !refused.is_empty()
        });
    }

    /// Whether a definition of `service` is refused for this very reason.
    pub fn waits(&self, service: &ServiceName, reason: &str) -> bool {
        self.refused
            .get(service)
            .is_some_and(|refused| refused.iter().any(|refused| refused.reason == reason))
    }

    /// Lets go of what is refused for this very reason.
    pub fn forgive(&mut self, services: &[ServiceName], reason: &str) {
        for service in services {
            if let Some(refused) = self.refused.get_mut(service) {
                refused.retain(|refused| refused.reason != reason);
            }
        }
        self.refused.retain(|_, refused| !refused.is_empty());
    }

    /// Lets go of what is refused for a reason in which one of `services` is named: they have just come.
    pub fn forgive_for(&mut self, services: &[&ServiceName]) {
        if services.is_empty() {
            return;
        }
        for refused in self.refused.values_mut() {
            refused.retain(|refused| !services.iter().any(|name| mentions(&refused.reason, name.as_str())));
        }
        self.refused.retain(|_, refused| !refused.is_empty());
    }

    /// When the next refused definition is due for another try.
    pub fn next_try(&self) -> Option<Moment> {
        self.refused.values().flatten().filter_map(|refused| refused.until).min()
    }

    /// Why `section` of `service` is refused.
    pub fn reason(&self, service: &ServiceName, section: &Section) -> Option<&str> {
        let refused = self.refused.get(service)?.iter().find(|refused| *refused.section == *section)?;
        Some(refused.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, name, spec};

    fn section(port: u16) -> Arc<Section> {
        Arc::new(Section::of(&spec(port), base().bind_address))
    }

    #[test]
    fn it_holds_a_definition_until_it_changes_or_its_time_comes() {
        let (mut quarantine, web) = (Quarantine::default(), name("web"));
        let later = Moment::after_start(Duration::from_secs(5));
        quarantine.refuse(&web, section(80), "bad".into(), Some(later));
        assert_eq!(quarantine.reason(&web, &section(80)), Some("bad"));
        assert_eq!(quarantine.reason(&web, &section(81)), None);
        quarantine.release(|_| Some(section(80)), Moment::START);
        assert_eq!(quarantine.next_try(), Some(later));
        quarantine.release(|_| Some(section(80)), later);
        assert_eq!(quarantine.next_try(), None);
    }

    #[test]
    fn patience_grows_with_each_try_of_the_same_definition() {
        let (mut quarantine, web) = (Quarantine::default(), name("web"));
        let waits: Vec<_> = (0..4).map(|_| quarantine.patience(&web, &section(80)).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 300]);
        assert_eq!(quarantine.patience(&web, &section(81)).as_secs(), 60);
    }

    #[test]
    fn a_service_that_comes_frees_those_that_lacked_it() {
        let (mut quarantine, web) = (Quarantine::default(), name("web"));
        quarantine.refuse(&web, section(80), "unable to find required use_backend: 'api'.".into(), None);
        quarantine.forgive_for(&[&name("ap")]);
        assert!(quarantine.reason(&web, &section(80)).is_some());
        quarantine.forgive_for(&[&name("api")]);
        assert!(quarantine.reason(&web, &section(80)).is_none());
    }
}
