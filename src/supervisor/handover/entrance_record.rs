//! Frontends, and by which routes services are reached, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::applied_record::{UnknownValue, line_end, lines, listen_address, texts, unknown};
use crate::engine::cookie::CookieName;
use crate::engine::http_frontend::{HttpFrontend, MapFile};
use crate::engine::route::{FrontendName, RouteId, RouteKey, Routes, Strip};
use crate::engine::section::{Base, Section, SectionKind};
use crate::engine::service::ServiceName;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FrontendRecord {
    listen: Vec<String>,
    bind_options: Option<String>,
    options: Vec<String>,
    default_service: Option<String>,
    map: String,
    #[serde(default)]
    is_out: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct EntranceRecord {
    /// It is a `backend`.
    #[serde(default)]
    routed: bool,
    /// Each frontend with its keys, and what is taken off.
    #[serde(default)]
    routes: BTreeMap<String, BTreeMap<String, u8>>,
    #[serde(default)]
    cookie: Option<String>,
}

impl FrontendRecord {
    pub(super) fn all(base: &Base) -> BTreeMap<String, Self> {
        base.frontends.iter().map(|(name, frontend)| (name.to_string(), Self::of(frontend))).collect()
    }

    fn of(frontend: &HttpFrontend) -> Self {
        Self {
            listen: frontend.listen.iter().map(ToString::to_string).collect(),
            bind_options: frontend.bind_options.as_ref().map(ToString::to_string),
            options: texts(&frontend.options),
            default_service: frontend.default_service.as_ref().map(ToString::to_string),
            map: frontend.map.as_str().to_owned(),
            is_out: frontend.is_out,
        }
    }

    pub(super) fn read_all(
        records: &BTreeMap<String, Self>,
    ) -> Result<BTreeMap<FrontendName, HttpFrontend>, UnknownValue> {
        records.iter().map(|(name, record)| Ok((frontend_name(name)?, record.frontend()?))).collect()
    }

    fn frontend(&self) -> Result<HttpFrontend, UnknownValue> {
        let service = |text: &String| ServiceName::parse(text).map_err(|_| unknown("the service", text));
        Ok(HttpFrontend {
            listen: self.listen.iter().map(|text| listen_address(text)).collect::<Result<_, _>>()?,
            bind_options: self.bind_options.as_deref().map(line_end).transpose()?,
            options: lines(&self.options)?,
            default_service: self.default_service.as_ref().map(service).transpose()?,
            map: MapFile::parse(&self.map).ok_or_else(|| unknown("the file of routes", &self.map))?,
            is_out: self.is_out,
        })
    }
}

impl EntranceRecord {
    pub(super) fn of(section: &Section) -> Self {
        let mut routes: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for (id, strip) in section.routes.iter() {
            let of_frontend = routes.entry(id.frontend.to_string()).or_default();
            of_frontend.insert(id.key.as_str().to_owned(), strip.get());
        }
        let cookie = section.cookie.as_ref().map(ToString::to_string);
        Self { routed: section.kind == SectionKind::Backend, routes, cookie }
    }

    pub(super) fn kind(&self) -> SectionKind {
        if self.routed { SectionKind::Backend } else { SectionKind::Listen }
    }

    pub(super) fn cookie(&self) -> Result<Option<CookieName>, UnknownValue> {
        let cookie = |text: &String| CookieName::parse(text).map_err(|_| unknown("the cookie", text));
        self.cookie.as_ref().map(cookie).transpose()
    }

    pub(super) fn routes(&self) -> Result<Routes, UnknownValue> {
        let mut routes = Routes::new();
        for (frontend, keys) in &self.routes {
            let frontend = frontend_name(frontend)?;
            for (key, segments) in keys {
                let strip = Strip::new(*segments).ok_or_else(|| unknown("the route", key))?;
                let key = RouteKey::parse(key).map_err(|_| unknown("the route", key))?;
                routes.insert(RouteId { frontend: frontend.clone(), key }, strip);
            }
        }
        Ok(routes)
    }
}

pub(super) fn frontend_name(text: &str) -> Result<FrontendName, UnknownValue> {
    FrontendName::parse(text).map_err(|_| unknown("the frontend", text))
}
