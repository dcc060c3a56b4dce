//! Services that are gone though what runs refers to them: without them `HAProxy` would take no configuration any more. They
//! stay without their addresses for as long as those that refer to them don't change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::known::KnownServices;
use super::{Complaint, Reconciler};
use crate::engine::include::Includes;
use crate::engine::render::{Owner, Rendered};
use crate::engine::section::{Section, SectionKind};
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedService, DesiredService, DesiredState};
use crate::engine::template::Template;

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct Needed {
    kept: BTreeMap<ServiceName, Kept>,
    /// To keep them is of no use.
    given_up: BTreeSet<ServiceName>,
}

#[derive(Debug)]
struct Kept {
    service: Arc<DesiredService>,
    by: Owner,
    reference: Reference,
}

/// What refers to a service, as it was then.
#[derive(Debug, PartialEq, Eq)]
enum Reference {
    Section(Arc<Section>),
    Includes(Arc<Includes>),
    Template(Template),
}

impl Reference {
    fn of(owner: &Owner, state: &DesiredState) -> Option<Self> {
        match owner {
            Owner::Service(service) => {
                state.services.get(service).map(|service| Self::Section(service.section.clone()))
            }
            Owner::Include { .. } => Some(Self::Includes(state.includes.clone())),
            Owner::Template { .. } => state.template.clone().map(Self::Template),
        }
    }
}

impl Needed {
    /// Adds to `desired` what is still needed, with the servers that are `known` by now; tells each with who needs it.
    pub(super) fn add_to(
        &mut self,
        desired: &mut DesiredState,
        known: &KnownServices,
    ) -> Vec<(ServiceName, Owner)> {
        self.kept.retain(|name, kept| {
            !desired.services.contains_key(name)
                && desired.includes.with_section(name.as_str()).is_none()
                && Reference::of(&kept.by, desired).as_ref() == Some(&kept.reference)
        });
        for (name, kept) in &mut self.kept {
            // It may be defined again, in a way that does not go ahead.
            if let Some(candidate) = known.candidate(name) {
                Arc::make_mut(&mut kept.service).servers = candidate.servers;
            }
            desired.services.insert(name.clone(), kept.service.clone());
        }
        self.kept.iter().map(|(name, kept)| (name.clone(), kept.by.clone())).collect()
    }

    /// `HAProxy` refuses it even so.
    pub(super) fn give_up(&mut self, service: &ServiceName) {
        self.kept.remove(service);
        self.given_up.insert(service.clone());
    }

    /// `HAProxy` took a configuration: whatever was of no use may be of use again.
    pub(super) fn taken(&mut self) {
        self.given_up.clear();
    }
}

impl Reconciler {
    /// Keeps those that are gone, or about to go, of which `HAProxy` says that what runs refers to them; `false` when there are
    /// none.
    pub(super) fn keep_what_is_needed(
        &mut self,
        complaints: &[Complaint],
        config: &Rendered,
        desired: &DesiredState,
    ) -> bool {
        let Some(applied) = &self.applied else { return false };
        let mut found = false;
        for (name, service) in &applied.services {
            if desired.services.contains_key(name) || self.needed.given_up.contains(name) {
                continue;
            }
            let by = complaints.iter().find_map(|complaint| {
                let owner = complaint.accused(config).filter(|owner| self.runs_as_it_is(owner, desired))?;
                complaint.mentions(name.as_str()).then_some(owner)
            });
            if let Some((by, reference)) = by.and_then(|by| Some((by.clone(), Reference::of(&by, desired)?)))
            {
                let service = Arc::new(without_addresses(service));
                self.needed.kept.insert(name.clone(), Kept { service, by, reference });
                found = true;
            }
        }
        found
    }
}

fn without_addresses(service: &AppliedService) -> DesiredService {
    let kept = service.as_desired();
    let section = Section {
        kind: SectionKind::Listen,
        routes: Arc::default(),
        listen: Vec::new(),
        bind_options: None,
        own_bind_options: BTreeMap::new(),
        ..Section::clone(&kept.section)
    };
    DesiredService { section: Arc::new(section), servers: kept.servers }
}
