//! What the serving process holds, as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::entrance_record::{EntranceRecord, FrontendRecord, frontend_name};
use crate::engine::cookie::CookieKey;
use crate::engine::include::{IncludedFile, Includes};
use crate::engine::listen_address::ListenAddress;
use crate::engine::option_line::{LineEnd, OptionLine};
use crate::engine::section::{Base, Program, Section};
use crate::engine::server::{ServerName, Weight};
use crate::engine::server_id::ServerId;
use crate::engine::server_options::NodeWords;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedServer, AppliedService, AppliedState, Checks, Frontend, Standing};
use crate::template::parse;

/// A value that this version can't take; the text names it.
#[derive(Debug, thiserror::Error)]
#[error("{what} '{value}' can't be understood")]
pub(in crate::supervisor) struct UnknownValue {
    what: &'static str,
    value: String,
}

pub(super) fn unknown(what: &'static str, value: &(impl ToString + ?Sized)) -> UnknownValue {
    UnknownValue { what, value: value.to_string() }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AppliedRecord {
    base: BaseRecord,
    services: BTreeMap<String, ServiceRecord>,
    #[serde(default)]
    includes: Vec<TextRecord>,
    /// Who gets what no route is found for.
    #[serde(default)]
    fallbacks: BTreeMap<String, String>,
    #[serde(default)]
    template: Option<TextRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TextRecord {
    path: String,
    text: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct BaseRecord {
    global: Vec<String>,
    defaults: Vec<String>,
    bind_address: IpAddr,
    #[serde(default)]
    operators_socket: Option<String>,
    #[serde(default)]
    program: Option<String>,
    #[serde(default)]
    frontends: BTreeMap<String, FrontendRecord>,
    #[serde(default)]
    cookie_key: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServiceRecord {
    listen: Vec<String>,
    #[serde(default)]
    bind_options: Option<String>,
    #[serde(default)]
    own_bind_options: BTreeMap<String, Option<String>>,
    listen_options: Vec<String>,
    server_options: Vec<String>,
    #[serde(default)]
    entrance: EntranceRecord,
    serves: bool,
    servers: BTreeMap<String, ServerRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ServerRecord {
    id: u32,
    address: SocketAddr,
    weight: u16,
    loaded_weight: u16,
    #[serde(default)]
    backup: bool,
    #[serde(default)]
    options: Option<String>,
    #[serde(default)]
    checks_to_enable: bool,
    standing: StandingRecord,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StandingRecord {
    InRotation,
    Maintenance,
    Pinned,
}

impl AppliedRecord {
    pub(super) fn of(applied: &AppliedState) -> Self {
        let base = BaseRecord {
            global: texts(&applied.base.global),
            defaults: texts(&applied.base.defaults),
            bind_address: applied.base.bind_address,
            operators_socket: applied
                .base
                .operators_socket
                .clone()
                .map(|path| ListenAddress::Unix(path).to_string()),
            program: applied.base.program.as_ref().map(|program| program.as_str().to_owned()),
            frontends: FrontendRecord::all(&applied.base),
            cookie_key: applied.base.cookie_key.as_ref().map(|key| key.expose().to_owned()),
        };
        let services =
            applied.services.iter().map(|(name, service)| (name.to_string(), ServiceRecord::of(service)));
        let include =
            |file: &IncludedFile| TextRecord { path: file.path().to_owned(), text: file.text().to_owned() };
        let includes = applied.includes.files().iter().map(include).collect();
        let fallbacks = applied.fallbacks.iter();
        let fallbacks = fallbacks.map(|(name, service)| (name.to_string(), service.to_string())).collect();
        let template = applied.template.as_ref();
        let template = template.map(|template| TextRecord {
            path: template.path().to_owned(),
            text: template.source().to_owned(),
        });
        Self { base, services: services.collect(), includes, fallbacks, template }
    }

    pub(super) fn state(&self) -> Result<AppliedState, UnknownValue> {
        let operators_socket = self.base.operators_socket.as_deref().map(|text| match listen_address(text) {
            Ok(ListenAddress::Unix(path)) => Ok(path),
            Ok(ListenAddress::Tcp(_)) | Err(_) => Err(unknown("the operators' socket", text)),
        });
        let base = Base {
            global: lines(&self.base.global)?,
            defaults: lines(&self.base.defaults)?,
            bind_address: self.base.bind_address,
            operators_socket: operators_socket.transpose()?,
            program: self.base.program.clone().map(Program::new),
            frontends: FrontendRecord::read_all(&self.base.frontends)?,
            cookie_key: self.base.cookie_key.as_deref().and_then(|text| CookieKey::parse(text).ok()),
        };
        let services = self.services.iter().map(|(name, service)| {
            let name = ServiceName::parse(name).map_err(|_| unknown("the service", name))?;
            Ok((name, Arc::new(service.state()?)))
        });
        let includes = self.includes.iter().map(|file| {
            let read = IncludedFile::new(Path::new(&file.path), file.text.as_bytes());
            read.map_err(|_| unknown("the included file", &file.path))
        });
        let includes = Arc::new(Includes::new(includes.collect::<Result<_, _>>()?));
        let fallbacks = self.fallbacks.iter().map(|(frontend, service)| {
            let service = ServiceName::parse(service).map_err(|_| unknown("the service", service))?;
            Ok((frontend_name(frontend)?, service))
        });
        let template = self.template.as_ref().map(|template| {
            parse(&template.path, &template.text).map_err(|_| unknown("the template", &template.path))
        });
        Ok(AppliedState {
            base: Arc::new(base),
            services: services.collect::<Result<_, _>>()?,
            includes,
            template: template.transpose()?,
            fallbacks: fallbacks.collect::<Result<_, UnknownValue>>()?,
            strays: BTreeSet::new(),
        })
    }
}

impl ServiceRecord {
    fn of(service: &AppliedService) -> Self {
        let section = &service.section;
        Self {
            listen: section.listen.iter().map(ToString::to_string).collect(),
            bind_options: section.bind_options.as_ref().map(ToString::to_string),
            own_bind_options: section
                .own_bind_options
                .iter()
                .map(|(address, options)| (address.to_string(), options.as_ref().map(ToString::to_string)))
                .collect(),
            listen_options: texts(&section.listen_options),
            server_options: section.server_options.iter().map(ToString::to_string).collect(),
            entrance: EntranceRecord::of(section),
            serves: service.frontend != Frontend::ShutDown,
            servers: service
                .servers
                .iter()
                .map(|(name, server)| (name.to_string(), ServerRecord::of(server)))
                .collect(),
        }
    }

    fn state(&self) -> Result<AppliedService, UnknownValue> {
        let own_bind_options = self.own_bind_options.iter().map(|(address, text)| {
            Ok((listen_address(address)?, text.as_deref().map(line_end).transpose()?))
        });
        let section = Section {
            kind: self.entrance.kind(),
            routes: Arc::new(self.entrance.routes()?),
            cookie: self.entrance.cookie()?,
            listen: self.listen.iter().map(|text| listen_address(text)).collect::<Result<_, _>>()?,
            bind_options: self.bind_options.as_deref().map(line_end).transpose()?,
            own_bind_options: own_bind_options.collect::<Result<_, UnknownValue>>()?,
            listen_options: lines(&self.listen_options)?,
            server_options: self
                .server_options
                .iter()
                .map(|text| line_end(text))
                .collect::<Result<_, _>>()?,
        };
        let servers =
            self.servers.iter().map(|(name, server)| Ok((ServerName::reported(name), server.state(name)?)));
        Ok(AppliedService {
            section: Arc::new(section),
            frontend: if self.serves { Frontend::Serving } else { Frontend::ShutDown },
            servers: servers.collect::<Result<_, _>>()?,
        })
    }
}

impl ServerRecord {
    fn of(server: &AppliedServer) -> Self {
        Self {
            id: server.id.get(),
            address: server.address,
            weight: server.weight.get(),
            loaded_weight: server.loaded_weight.get(),
            backup: server.backup,
            options: server.options.as_ref().map(ToString::to_string),
            checks_to_enable: server.checks == Checks::ToEnable,
            standing: match server.standing {
                Standing::InRotation => StandingRecord::InRotation,
                Standing::Maintenance => StandingRecord::Maintenance,
                Standing::Pinned => StandingRecord::Pinned,
            },
        }
    }

    fn state(&self, name: &str) -> Result<AppliedServer, UnknownValue> {
        if !ServerName::reported(name).suits(self.address) {
            return Err(unknown("the server", name));
        }
        let weight = |weight| Weight::new(weight).ok_or_else(|| unknown("the weight", &weight));
        let options = self.options.as_deref().unwrap_or_default();
        Ok(AppliedServer {
            id: ServerId::reported(self.id),
            address: self.address,
            weight: weight(self.weight)?,
            loaded_weight: weight(self.loaded_weight)?,
            backup: self.backup,
            options: NodeWords::parse(options).map_err(|_| unknown("the options", options))?.options,
            checks: if self.checks_to_enable { Checks::ToEnable } else { Checks::AsConfigured },
            standing: match self.standing {
                StandingRecord::InRotation => Standing::InRotation,
                StandingRecord::Maintenance => Standing::Maintenance,
                StandingRecord::Pinned => Standing::Pinned,
            },
        })
    }
}

pub(super) fn texts(lines: &[OptionLine]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

pub(super) fn lines(texts: &[String]) -> Result<Vec<OptionLine>, UnknownValue> {
    texts.iter().map(|text| line(text)).collect()
}

pub(super) fn line(text: &str) -> Result<OptionLine, UnknownValue> {
    OptionLine::parse(text).map_err(|_| unknown("the line", text))
}

pub(super) fn line_end(text: &str) -> Result<LineEnd, UnknownValue> {
    LineEnd::parse(text).map_err(|_| unknown("the options", text))
}

/// An address as [`ListenAddress`] is displayed.
pub(super) fn listen_address(text: &str) -> Result<ListenAddress, UnknownValue> {
    ListenAddress::parse(text).ok_or_else(|| unknown("the address", text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::cookie::CookieName;
    use crate::engine::http_frontend::{HttpFrontend, MapFile};
    use crate::engine::route::{RouteId, RouteKey, Strip};
    use crate::engine::section::SectionKind;
    use crate::engine::server::Server;
    use crate::engine::state::{DesiredService, DesiredState};

    fn frontend() -> HttpFrontend {
        HttpFrontend {
            listen: vec![listen_address("0.0.0.0:81").unwrap()],
            bind_options: line_end("accept-proxy").ok(),
            options: vec![line("option forwardfor").unwrap()],
            default_service: ServiceName::parse("web").ok(),
            map: MapFile::parse("/run/routes-http-in.map").unwrap(),
            is_out: true,
        }
    }

    fn applied() -> AppliedState {
        let base = Base {
            global: vec![line("maxconn 9").unwrap()],
            defaults: vec![line("mode http").unwrap()],
            bind_address: IpAddr::from([0, 0, 0, 0]),
            operators_socket: match listen_address("unix@/run/a.sock") {
                Ok(ListenAddress::Unix(path)) => Some(path),
                other => panic!("{other:?}"),
            },
            program: Some(Program::new("2.6.12 /usr/sbin/haproxy".to_owned())),
            frontends: [(frontend_name("http-in").unwrap(), frontend())].into(),
            cookie_key: CookieKey::parse("0123456789abcdef").ok(),
        };
        let key = RouteKey::parse("*.example/a/").unwrap();
        let route = RouteId { frontend: frontend_name("http-in").unwrap(), key };
        let section = Section {
            kind: SectionKind::Listen,
            routes: Arc::new([(route, Strip::new(1).unwrap())].into()),
            cookie: CookieName::parse("SRV").ok(),
            listen: vec![listen_address("[::]:80").unwrap(), listen_address("unix@/run/web").unwrap()],
            bind_options: line_end("accept-proxy").ok(),
            own_bind_options: [(listen_address("[::]:80").unwrap(), line_end("ssl crt /p").ok())].into(),
            listen_options: vec![line("timeout queue 9s").unwrap()],
            server_options: vec![line_end("check inter 2s").unwrap()],
        };
        let mut servers = [
            Server::at("[::1]:1".parse().unwrap()).unwrap(),
            Server::at("10.0.0.1:1".parse().unwrap()).unwrap(),
        ];
        servers[0].backup = true;
        servers[1].options = NodeWords::parse("maxconn 5").unwrap().options;
        let service = DesiredService::new(Arc::new(section), servers);
        let services = [(ServiceName::parse("web").unwrap(), Arc::new(service))].into();
        let file = IncludedFile::new(Path::new("/etc/a.cfg"), b"listen own\n  bind :81\n").unwrap();
        let includes = Arc::new(Includes::new(vec![file]));
        let template = parse("/t.j2", "global\n").unwrap();
        let mut applied = AppliedState::loaded(
            &DesiredState { base: Arc::new(base), services, includes, template: Some(template) },
            None,
        );
        let service = applied.services.values_mut().next().map(Arc::make_mut).unwrap();
        service.frontend = Frontend::ShutDown;
        let server = service.servers.values_mut().next().unwrap();
        (server.standing, server.checks) = (Standing::Pinned, Checks::ToEnable);
        applied
    }

    #[test]
    fn nothing_is_lost_on_the_way() {
        let applied = applied();
        let text = serde_json::to_string(&AppliedRecord::of(&applied)).unwrap();
        let read: AppliedRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read.state().unwrap(), applied);
    }

    #[test]
    fn fields_that_an_older_one_lacks_and_a_newer_one_adds_do_no_harm() {
        let text = serde_json::to_string(&AppliedRecord::of(&applied())).unwrap();
        let newer = text.replace("\"serves\":", "\"colour\":\"red\",\"serves\":");
        let read: AppliedRecord = serde_json::from_str(&newer).unwrap();
        assert_eq!(read.state().unwrap(), applied());
        let older =
            text.replace("\"checks_to_enable\":true,", "").replace("\"bind_options\":\"accept-proxy\",", "");
        let read: AppliedRecord = serde_json::from_str(&older).unwrap();
        assert_eq!(read.state().unwrap().services.len(), 1);
        // A value that can't be understood is told, not guessed.
        let strange = text.replace("10.0.0.1:1\":", "10.0.0.9:1\":");
        let read: AppliedRecord = serde_json::from_str(&strange).unwrap();
        assert!(read.state().unwrap_err().to_string().contains("10.0.0.9:1"));
    }
}
