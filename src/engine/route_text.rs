//! The text of the files of routes: those that lead to services which take connections, service by service.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::http_frontend::MapFile;
use super::route::{FrontendName, RouteKey, Routes};
use super::service::ServiceName;
use super::state::AppliedState;

/// Keeps the lines of services whose routes did not change since: there may be thousands, and most stay.
#[derive(Debug, Default)]
pub(super) struct RouteTexts(BTreeMap<ServiceName, Lines>);

#[derive(Debug, Default)]
struct Lines {
    routes: Arc<Routes>,
    of_frontends: Vec<(FrontendName, String)>,
}

impl RouteTexts {
    /// What each file says.
    pub(super) fn files(&mut self, applied: &AppliedState) -> BTreeMap<MapFile, Arc<str>> {
        let frontends = &applied.base.frontends;
        let mut texts: BTreeMap<&FrontendName, String> =
            frontends.keys().map(|name| (name, String::new())).collect();
        self.0.retain(|name, _| applied.services.contains_key(name));
        let routed = applied.serving().filter(|(_, service)| !service.section.routes.is_empty());
        for (name, service) in routed {
            let lines = self.0.entry(name.clone()).or_default();
            if !Arc::ptr_eq(&lines.routes, &service.section.routes) {
                *lines = Lines::of(name, &service.section.routes);
            }
            for (frontend, lines) in &lines.of_frontends {
                if let Some(text) = texts.get_mut(frontend) {
                    text.push_str(lines);
                }
            }
        }
        for (frontend, service) in &applied.fallbacks {
            if applied.services.get(service).is_some_and(|service| service.takes_connections())
                && let Some(text) = texts.get_mut(frontend)
            {
                push_line(text, RouteKey::FALLBACK, service, 0);
            }
        }
        let text = |name| texts.get(name).map(String::as_str).unwrap_or_default().into();
        frontends.iter().map(|(name, frontend)| (frontend.map.clone(), text(name))).collect()
    }
}

impl Lines {
    fn of(service: &ServiceName, routes: &Arc<Routes>) -> Self {
        let mut of_frontends: Vec<(FrontendName, String)> = Vec::new();
        for (id, strip) in routes.iter() {
            match of_frontends.last_mut() {
                Some((frontend, text)) if *frontend == id.frontend => {
                    push_line(text, id.key.as_str(), service, strip.get());
                }
                _ => {
                    let mut text = String::new();
                    push_line(&mut text, id.key.as_str(), service, strip.get());
                    of_frontends.push((id.frontend.clone(), text));
                }
            }
        }
        Self { routes: routes.clone(), of_frontends }
    }
}

fn push_line(text: &mut String, key: &str, service: &ServiceName, strip: u8) {
    text.push_str(key);
    text.push(' ');
    text.push_str(service.as_str());
    let _infallible = writeln!(text, "/{strip}");
}
