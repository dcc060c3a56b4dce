//! The section `frontends`: HTTP frontends that services share by their routes.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::bind_line::bound_address;
use crate::engine::listen_address::ListenAddress;
use crate::engine::option_line::LineEnd;
use crate::engine::placeholders::Hole;
use crate::engine::route::FrontendName;
use crate::engine::service::ServiceName;
use crate::engine::value_line::ValueLine;

use super::model::FrontendConfig;
use super::reader::{Reader, Value};
use super::value;

/// More words than this can't follow the address on a line of haproxy.cfg.
const MAX_BIND_OPTIONS: usize = crate::engine::line_limits::MAX_BIND_OPTIONS;
const HOW_TO_BIND: &str = "write an address and a port, such as bind: \"*:80\", or a list of them";

/// Reads the section; without it there are none.
pub(super) fn read(
    reader: &mut Reader<'_>,
    value: Option<Value<'_>>,
) -> BTreeMap<FrontendName, FrontendConfig> {
    let mut section = reader.open(value);
    let mut frontends = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (key, position, value) in section.named() {
        match FrontendName::parse(key) {
            Err(error) => {
                reader.refuse_at(position, "frontends", format!("has a name that can't be taken: {error}"));
            }
            Ok(name) => {
                if let Some(frontend) = read_frontend(reader, value, position, key, &mut taken) {
                    frontends.insert(name, frontend);
                }
            }
        }
    }
    reader.close(&section);
    frontends
}

fn read_frontend(
    reader: &mut Reader<'_>,
    value: Option<Value<'_>>,
    position: super::Position,
    key: &str,
    taken: &mut BTreeSet<ListenAddress>,
) -> Option<FrontendConfig> {
    let Some(value) = value else {
        reader.refuse_at(position, &format!("frontends.{key}"), format!("has no bind; {HOW_TO_BIND}"));
        return None;
    };
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    let bind = section.get("bind");
    if bind.is_none() {
        reader.missing(&section, "bind", HOW_TO_BIND);
    }
    let binds = bind.map(|value| value.items().unwrap_or_else(|| vec![value])).unwrap_or_default();
    let mut listen = BTreeSet::new();
    for value in binds {
        if let Some(address) = reader.read(Some(value.clone()), address) {
            if taken.insert(address.clone()) {
                listen.insert(address);
            } else {
                reader.refuse(&value, "is bound twice; each address belongs to one frontend");
            }
        }
    }
    let frontend = FrontendConfig {
        listen: listen.into_iter().collect(),
        bind_options: reader.read(section.get("bind_options"), bind_options),
        options: reader
            .read_list_but(section.get("options"), Hole::is_of_a_registry, option)
            .unwrap_or_default(),
        default_service: reader.read(section.get("default_service"), service),
    };
    reader.close(&section);
    Some(frontend)
}

fn address(text: &str) -> Result<ListenAddress, String> {
    bound_address(text).ok_or_else(|| {
        "can't be bound; write ADDRESS:PORT with an IP address or '*', or unix@/path".to_owned()
    })
}

fn bind_options(text: &str) -> Result<LineEnd, String> {
    let end = LineEnd::parse(text).map_err(|error| format!("can't stand here: {error}"))?;
    match end.count_words() {
        count if count > MAX_BIND_OPTIONS => {
            Err(format!("has {count} words; at most {MAX_BIND_OPTIONS} are taken"))
        }
        _fits => Ok(end),
    }
}

fn option(text: &str) -> Result<ValueLine, String> {
    let line = value::value_line(text)?;
    match line.by_default().keyword().as_str() {
        "bind" => Err("can't stand here; write the address under bind".to_owned()),
        "use_backend" | "default_backend" => {
            Err("can't stand here; a service names its route itself, and default_service gets the rest"
                .to_owned())
        }
        "mode" => Err("can't stand here; a frontend is in HTTP mode".to_owned()),
        _other => Ok(line),
    }
}

fn service(text: &str) -> Result<ServiceName, String> {
    ServiceName::parse(text).map_err(|error| format!("is no service's name: {error}"))
}
