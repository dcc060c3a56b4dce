//! `route`: how clients reach a service through a frontend of proxymgr.yml.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::engine::printable::printable;
use crate::engine::route::{
    FrontendName, MAX_ROUTES, RouteHost, RouteId, RouteKey, RoutePath, Routes, Strip,
};
use crate::engine::service::Entrance;
use crate::service_config::keys::UnknownKey;
use crate::service_config::reader::Reader;

const KEYS: &[&str] = &["frontend", "host", "path", "strip_prefix"];
/// What listens at addresses of its own.
const OF_PORTS: [&str; 3] = ["port", "bind", "bind_options"];

/// The port or the routes, of which there must be one; with what no route has a key for.
pub(super) fn read_entrance(reader: &mut Reader<'_>, unknown: &mut Vec<UnknownKey>) -> Option<Entrance> {
    let Some(value) = reader.value("route") else { return reader.port().map(Entrance::Port) };
    for key in OF_PORTS {
        if reader.value(key).is_some() {
            reader.error(format!(
                "\"{key}\" and \"route\" don't go together: a service has a port of its own, or is reached by routes"
            ));
        }
    }
    let single = std::slice::from_ref(value);
    let items = value.as_array().map_or(single, Vec::as_slice);
    if items.is_empty() || items.len() > MAX_ROUTES {
        reader.error(format!("\"route\" is a list of {}: 1 to {MAX_ROUTES} are taken", items.len()));
        return None;
    }
    let mut routes = Routes::new();
    let mut all_good = true;
    for (index, item) in items.iter().enumerate() {
        let at = if value.is_array() { format!("route[{index}]") } else { "route".to_owned() };
        match read_route(reader, &at, item, unknown) {
            Some((id, strip)) => {
                if routes.insert(id, strip).is_some_and(|other| other != strip) {
                    reader.error(format!("\"{at}\" is there twice, with and without \"strip_prefix\""));
                }
            }
            None => all_good = false,
        }
    }
    all_good.then(|| Entrance::Routes(Arc::new(routes)))
}

fn read_route(
    reader: &mut Reader<'_>,
    at: &str,
    item: &Value,
    unknown: &mut Vec<UnknownKey>,
) -> Option<(RouteId, Strip)> {
    let Value::Object(map) = item else {
        reader.error(format!(
            "\"{at}\" is {}: it must be an object, such as {{\"frontend\": \"http-in\", \"path\": \"/hello\"}}",
            printable(&item.to_string())
        ));
        return None;
    };
    let strange = map.keys().filter(|key| !KEYS.contains(&key.as_str()));
    unknown.extend(strange.map(|key| UnknownKey::within("route", key, KEYS)));
    let [frontend, host, path] =
        ["frontend", "host", "path"].map(|key| text(reader, &format!("{at}.{key}"), map, key));
    let strip = match map.get("strip_prefix") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(strip)) => *strip,
        Some(other) => {
            let found = printable(&other.to_string());
            reader.error(format!("\"{at}.strip_prefix\" is {found}: it must be true or false"));
            return None;
        }
    };
    let Some(frontend) = frontend? else {
        reader.error(format!("\"{at}.frontend\" is missing: add the name of a frontend of proxymgr.yml"));
        return None;
    };
    let frontend = reader.checked(&format!("{at}.frontend"), FrontendName::parse(frontend));
    let host = host?.map(|host| reader.checked(&format!("{at}.host"), RouteHost::parse(host)));
    let path = reader.checked(&format!("{at}.path"), RoutePath::parse(path?.unwrap_or("/")))?;
    let host = match host {
        None => None,
        Some(host) => Some(host?),
    };
    let key = RouteKey::new(host.as_ref(), &path);
    let strip = if strip { Strip::all_of(&path) } else { Strip::NOTHING };
    Some((RouteId { frontend: frontend?, key }, strip))
}

/// The string under `key`; null is the same as none. The outer `None` is a value that is no string.
#[expect(clippy::option_option, reason = "absent and wrong are different")]
fn text<'a>(
    reader: &mut Reader<'_>,
    at: &str,
    map: &'a Map<String, Value>,
    key: &str,
) -> Option<Option<&'a str>> {
    match map.get(key) {
        None | Some(Value::Null) => Some(None),
        Some(Value::String(text)) => Some(Some(text)),
        Some(other) => {
            reader.error(format!("\"{at}\" is {}: it must be a string", printable(&other.to_string())));
            None
        }
    }
}
