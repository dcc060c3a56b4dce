//! Changes of a frontend's routes at run time, and the files that routes are loaded from.
//!
//! A line of such a file is a route's key, a blank and its target, `SERVICE/SEGMENTS`: so many segments at the beginning of the
//! path are taken off.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::http_frontend::MapFile;
use super::observed::ObservedRoutes;
use super::route::{FrontendName, RouteId, RouteKey, Routes, Strip};
use super::section::Section;
use super::service::ServiceName;
use super::state::{AppliedState, DesiredState};

/// One entry of a frontend's routes changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// The entry.
    pub id: RouteId,
    /// What becomes of it.
    pub edit: RouteEdit,
    /// Whose it was; `None` when it was nobody's.
    pub from: Option<ServiceName>,
}

/// What becomes of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteEdit {
    /// It is new.
    Add(RouteTarget),
    /// It leads elsewhere, or takes off another number of segments.
    Set(RouteTarget),
    /// It goes.
    Delete,
}

/// Where an entry leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTarget {
    /// The service.
    pub service: ServiceName,
    /// What its servers don't get to see of the path.
    pub strip: Strip,
}

impl fmt::Display for RouteTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.strip.get())
    }
}

impl RouteTarget {
    fn new(service: &ServiceName, strip: Strip) -> Self {
        Self { service: service.clone(), strip }
    }

    /// Reads what it is displayed as.
    fn parse(text: &str) -> Option<Self> {
        let (service, segments) = text.split_once('/')?;
        let strip = Strip::new(segments.parse().ok()?)?;
        Some(Self { service: ServiceName::parse(service).ok()?, strip })
    }
}

impl RouteChange {
    /// The service that it is about; the frontend, where it is about none.
    pub fn service(&self) -> &ServiceName {
        match &self.edit {
            RouteEdit::Add(target) | RouteEdit::Set(target) => &target.service,
            RouteEdit::Delete => self.from.as_ref().unwrap_or_else(|| self.id.frontend.as_service()),
        }
    }

    /// The command for it (management guide, 9.3 "add map", "set map", "del map").
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, map: &MapFile) -> fmt::Result {
        let (map, key) = (map.as_str(), self.id.key.as_str());
        match &self.edit {
            RouteEdit::Add(target) => write!(f, "add map {map} {key} {target}"),
            RouteEdit::Set(target) => write!(f, "set map {map} {key} {target}"),
            RouteEdit::Delete => write!(f, "del map {map} {key}"),
        }
    }
}

/// How the routes of `applied` differ from those of `desired`, as far as the frontends of `applied` go.
pub(super) fn route_changes(applied: &AppliedState, desired: &DesiredState) -> Vec<RouteChange> {
    let none = Arc::default();
    let wanted_of =
        |name: &ServiceName| desired.services.get(name).map_or(&none, |wanted| &wanted.section.routes);
    let mut gone: HashMap<&RouteId, Option<&ServiceName>> =
        applied.strays.iter().map(|id| (id, None)).collect();
    for (name, service) in &applied.services {
        let (has, wanted) = (&service.section.routes, wanted_of(name));
        if !Arc::ptr_eq(has, wanted) {
            let lost = has.keys().filter(|id| !wanted.contains_key(*id));
            gone.extend(lost.map(|id| (id, Some(name))));
        }
    }
    let mut changes = Vec::new();
    for (name, wanted) in &desired.services {
        let has = applied.services.get(name).map_or(&none, |service| &service.section.routes);
        if Arc::ptr_eq(has, &wanted.section.routes) {
            continue;
        }
        for (id, strip) in wanted.section.routes.iter() {
            let target = RouteTarget::new(name, *strip);
            let (edit, from) = match (has.get(id), gone.remove(id)) {
                (Some(held), _) if held == strip => continue,
                (Some(_), _) => (RouteEdit::Set(target), Some(name)),
                (None, Some(from)) => (RouteEdit::Set(target), from),
                (None, None) => (RouteEdit::Add(target), None),
            };
            changes.push(RouteChange { id: id.clone(), edit, from: from.cloned() });
        }
    }
    changes.extend(fallback_changes(applied, desired, &mut gone));
    let mut gone: Vec<_> = gone.into_iter().collect();
    gone.sort_unstable();
    changes.extend(gone.into_iter().map(|(id, from)| RouteChange {
        id: id.clone(),
        edit: RouteEdit::Delete,
        from: from.cloned(),
    }));
    changes.retain(|change| applied.base.frontends.contains_key(&change.id.frontend));
    changes
}

fn fallback_changes<'a>(
    applied: &'a AppliedState,
    desired: &DesiredState,
    strays: &mut HashMap<&'a RouteId, Option<&'a ServiceName>>,
) -> Vec<RouteChange> {
    let wanted = desired.fallbacks();
    let mut changes = Vec::new();
    for (frontend, service) in &wanted {
        let id = fallback_of(frontend);
        let (from, stray) = (applied.fallbacks.get(frontend), strays.remove(&id).is_some());
        let target = RouteTarget::new(service, Strip::NOTHING);
        let edit = match from {
            Some(from) if from == service => continue,
            Some(_) => RouteEdit::Set(target),
            None if stray => RouteEdit::Set(target),
            None => RouteEdit::Add(target),
        };
        changes.push(RouteChange { id, edit, from: from.cloned() });
    }
    for (frontend, service) in
        applied.fallbacks.iter().filter(|(frontend, _)| !wanted.contains_key(*frontend))
    {
        let (id, from) = (fallback_of(frontend), Some(service.clone()));
        changes.push(RouteChange { id, edit: RouteEdit::Delete, from });
    }
    changes
}

fn fallback_of(frontend: &FrontendName) -> RouteId {
    RouteId { frontend: frontend.clone(), key: RouteKey::fallback() }
}

impl AppliedState {
    /// Notes that `change` was done.
    pub(super) fn note_route(&mut self, change: &RouteChange) {
        let RouteChange { id, edit, from } = change;
        self.strays.remove(id);
        let is_fallback = id.key == RouteKey::fallback();
        if let Some(from) = from.as_ref().filter(|_| !is_fallback) {
            self.edit_routes(from, |routes| {
                routes.remove(id);
            });
        }
        match edit {
            RouteEdit::Add(target) | RouteEdit::Set(target) if is_fallback => {
                self.fallbacks.insert(id.frontend.clone(), target.service.clone());
            }
            RouteEdit::Add(target) | RouteEdit::Set(target) => {
                self.edit_routes(&target.service, |routes| {
                    routes.insert(id.clone(), target.strip);
                });
            }
            RouteEdit::Delete if is_fallback => drop(self.fallbacks.remove(&id.frontend)),
            RouteEdit::Delete => {}
        }
    }

    fn edit_routes(&mut self, service: &ServiceName, change: impl FnOnce(&mut Routes)) {
        self.edit(service, |service| {
            let section: &mut Section = Arc::make_mut(&mut service.section);
            change(Arc::make_mut(&mut section.routes));
        });
    }

    /// The entries of each frontend: each key with its service and what is taken off.
    fn entries(&self) -> BTreeMap<&FrontendName, BTreeMap<&str, (&ServiceName, Strip)>> {
        let mut entries: BTreeMap<_, BTreeMap<_, _>> =
            self.base.frontends.keys().map(|name| (name, BTreeMap::new())).collect();
        for (name, service) in &self.services {
            for (id, strip) in service.section.routes.iter() {
                if let Some(entries) = entries.get_mut(&id.frontend) {
                    entries.insert(id.key.as_str(), (name, *strip));
                }
            }
        }
        for (frontend, service) in &self.fallbacks {
            if let Some(entries) = entries.get_mut(frontend) {
                entries.insert(RouteKey::FALLBACK, (service, Strip::NOTHING));
            }
        }
        entries
    }

    /// Takes over those of the routes that were observed which `concern` the caller; tells what differed.
    pub(super) fn learn_routes(
        &mut self,
        observed: &ObservedRoutes,
        concern: impl Fn(&RouteId) -> bool,
    ) -> Vec<String> {
        let (mut changes, mut strays, mut differences) = (Vec::new(), Vec::new(), Vec::new());
        let expected = self.entries();
        for (name, frontend) in &self.base.frontends {
            let Some(seen) = observed.get(&frontend.map) else { continue };
            let mut expected = expected.get(name).cloned().unwrap_or_default();
            for (text, values) in seen {
                let held = expected.remove(text.as_str());
                let is_held = |value: &String| {
                    held.is_some_and(|(service, strip)| {
                        *value == RouteTarget::new(service, strip).to_string()
                    })
                };
                if values.iter().all(is_held) {
                    continue;
                }
                let Ok(key) = RouteKey::parse(text) else { continue };
                let id = RouteId { frontend: name.clone(), key };
                if !concern(&id) {
                    continue;
                }
                differences.push(format!("{name}: {text} leads to {}", values.join(" and ")));
                let from = held.map(|(service, _)| service.clone());
                let mut different = values.clone();
                different.dedup();
                let target = match different.as_slice() {
                    [value] => {
                        RouteTarget::parse(value).filter(|target| self.services.contains_key(&target.service))
                    }
                    _ => None,
                };
                let edit = target.map_or(RouteEdit::Delete, RouteEdit::Set);
                if edit == RouteEdit::Delete {
                    strays.push(id.clone());
                }
                changes.push(RouteChange { id, edit, from });
            }
            for (text, (service, _)) in expected {
                let Ok(key) = RouteKey::parse(text) else { continue };
                let id = RouteId { frontend: name.clone(), key };
                if !concern(&id) {
                    continue;
                }
                differences.push(format!("{name}: {text} is missing"));
                changes.push(RouteChange { id, edit: RouteEdit::Delete, from: Some(service.clone()) });
            }
        }
        let is_there = |id: &RouteId| {
            let seen = self.base.frontends.get(&id.frontend).and_then(|frontend| observed.get(&frontend.map));
            seen.is_none_or(|seen| seen.contains_key(id.key.as_str()))
        };
        let gone: Vec<_> = self.strays.iter().filter(|id| !is_there(id)).cloned().collect();
        for id in &gone {
            self.strays.remove(id);
        }
        for change in &changes {
            self.note_route(change);
        }
        self.strays.extend(strays);
        differences
    }
}
