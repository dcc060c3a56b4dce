//! The section `haproxy`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use crate::engine::cookie::CookieKey;
use crate::engine::include::IncludePattern;
use crate::engine::option_line::OptionLine;
use crate::engine::placeholders::Hole;
use crate::engine::value_line::ValueLine;

use super::model::HaproxyConfig;
use super::reader::{Reader, Value};
use super::value;

/// No `log`: `HAProxy`'s own messages come through stderr, and a syslog may not be there.
const GLOBAL: &[&str] = &["maxconn 4096"];
const DEFAULTS: &[&str] = &[
    "timeout connect 5s",
    "timeout client 1m",
    "timeout server 1m",
    "retries 3",
    "option redispatch",
    "balance roundrobin",
];
/// Without it a process that ends its service closes idle keep-alive connections under the clients' hands.
/// Source: `HAProxy` configuration manual 2.4, 4.2.
const IDLE_CLOSE: &str = "idle-close-on-response";

/// Reads the section. `runtime_dir` holds the stats socket unless told otherwise.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<Value<'_>>, runtime_dir: &Path) -> HaproxyConfig {
    let mut section = reader.open(value);
    let include;
    let config = HaproxyConfig {
        path: reader.read(section.get("path"), value::program).unwrap_or_else(|| PathBuf::from("haproxy")),
        config_path: reader
            .read(section.get("config_path"), value::absolute_path)
            .unwrap_or_else(|| PathBuf::from("/etc/haproxy/haproxy.cfg")),
        socket_path: reader
            .read(section.get("socket_path"), value::socket_path)
            .unwrap_or_else(|| runtime_dir.join("haproxy.sock")),
        global: read_lines(reader, section.get("global")).unwrap_or_else(|| lines(GLOBAL)),
        defaults: with_idle_close(
            read_lines(reader, section.get("defaults")).unwrap_or_else(|| lines(DEFAULTS)),
        ),
        include: {
            include = section.get("include");
            reader.read_list(include.clone(), include_pattern).unwrap_or_default()
        },
        template: reader.read(section.get("template"), value::absolute_path),
        bind_address: reader
            .read(section.get("bind_address"), value::bind_address)
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        runtime_updates: reader.read(section.get("runtime_updates"), value::boolean).unwrap_or(true),
        cookie_key: reader.read(section.get("cookie_key"), |text| {
            CookieKey::parse(text).map_err(|error| error.to_string())
        }),
    };
    if let Some(include) = include
        && config.include.iter().any(|pattern| holds(pattern, &config.config_path))
    {
        reader.refuse(
            &include,
            "takes in haproxy.config_path, which ProxyMgr writes itself; keep them in different directories",
        );
    }
    reader.close(&section);
    config
}

fn include_pattern(text: &str) -> Result<IncludePattern, String> {
    IncludePattern::parse(text).map_err(str::to_owned)
}

fn holds(pattern: &IncludePattern, path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    path.parent() == Some(pattern.directory()) && name.is_some_and(|name| pattern.matches(&name))
}

fn lines(texts: &[&str]) -> Vec<ValueLine> {
    texts.iter().filter_map(|text| OptionLine::parse(text).ok()).map(ValueLine::from).collect()
}

fn read_lines(reader: &mut Reader<'_>, value: Option<Value<'_>>) -> Option<Vec<ValueLine>> {
    reader.read_list_but(value, Hole::is_of_a_registry, value::value_line)
}

/// Adds the option unless a line names it, be it with `no` before.
fn with_idle_close(mut defaults: Vec<ValueLine>) -> Vec<ValueLine> {
    let names_it = |line: &ValueLine| {
        let words: Vec<&str> = line.by_default().words().take(3).collect();
        matches!(words.as_slice(), ["option", option, ..] | ["no", "option", option] if *option == IDLE_CLOSE)
    };
    if !defaults.iter().any(names_it) {
        defaults.extend(OptionLine::parse(&format!("option {IDLE_CLOSE}")).map(ValueLine::from));
    }
    defaults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_close_is_added_unless_a_line_names_it() {
        let texts = |given: &[&str]| -> Vec<String> {
            with_idle_close(lines(given)).iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts(&["mode http"]), ["mode http", "option idle-close-on-response"]);
        assert_eq!(texts(&["option  idle-close-on-response"]), ["option  idle-close-on-response"]);
        assert_eq!(texts(&["no option idle-close-on-response"]), ["no option idle-close-on-response"]);
        assert_eq!(texts(&[]), ["option idle-close-on-response"]);
    }

    #[test]
    fn every_built_in_line_is_a_good_one() {
        assert_eq!(lines(GLOBAL).len() + lines(DEFAULTS).len(), GLOBAL.len() + DEFAULTS.len());
    }
}
