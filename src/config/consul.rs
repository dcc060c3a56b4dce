//! The section `consul`, and a source of type consul.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::engine::consul::{ConsulAccess, ConsulServers, ConsulTls, ConsulToken};
use crate::engine::duration_text::duration;
use crate::engine::secret::Secret;

use super::model::{ConsulListing, SourceConfig, ValuesConfig};
use super::reader::{Reader, Section, Value};
use super::service_config::read_tls_files;
use super::value;

/// Reads the section.
pub(super) fn read(reader: &mut Reader<'_>, value: Value<'_>) -> Option<ConsulAccess> {
    let mut section = open(reader, value)?;
    let access = read_access(reader, &mut section, None);
    reader.close(&section);
    access
}

/// Reads what is particular to the source; what it doesn't say of the Consul is as in `general`.
pub(super) fn read_source(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    general: Option<&ConsulAccess>,
) -> Option<SourceConfig> {
    let access = read_access(reader, section, general);
    let (path, catalog) = (section.get("path"), section.get("catalog"));
    match (&path, &catalog) {
        (None, None) => reader.missing(
            section,
            "path",
            "write the folder of the keys that hold the services, such as path: service_config, or catalog: {tag, template}",
        ),
        (Some(path), Some(_)) => reader.refuse(path, "can't stand beside catalog; write two sources"),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let path = reader.read(path, folder);
    let catalog = catalog.and_then(|value| read_catalog(reader, value));
    let keys = path.map(|path| ConsulListing::Keys { path });
    Some(SourceConfig::Consul { access: access?, listing: keys.or(catalog)? })
}

/// Reads what is particular to values.
pub(super) fn read_values(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    general: Option<&ConsulAccess>,
) -> Option<ValuesConfig> {
    let access = read_access(reader, section, general);
    let path = section.get("path");
    let path = path.map_or_else(|| Some(String::new()), |value| reader.read(Some(value), folder));
    Some(ValuesConfig::Consul { access: access?, path: path? })
}

fn open<'t>(reader: &mut Reader<'_>, value: Value<'t>) -> Option<Section<'t>> {
    let mistakes = reader.errors.len();
    let section = reader.open(Some(value));
    (reader.errors.len() == mistakes).then_some(section)
}

fn read_access(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    general: Option<&ConsulAccess>,
) -> Option<ConsulAccess> {
    let servers = section.get("servers").map(|value| match value.items() {
        None => reader.read(Some(value), ConsulServers::parse),
        Some(_) => ConsulServers::joined(reader.read_list(Some(value), ConsulServers::parse)?),
    });
    let mut access = match servers {
        Some(servers) => ConsulAccess::to(servers?),
        None => general.cloned().unwrap_or_else(|| ConsulAccess::to(ConsulServers::local())),
    };
    if let Some(value) = section.get("token") {
        access.token = read_token(reader, &value);
    }
    if let Some(value) = section.get("tls") {
        access.tls = read_tls(reader, value);
    }
    let dc = section.get("dc");
    access.dc = reader.read(dc, word).or(access.dc);
    let stale = |text: &str| {
        let most = Duration::from_secs(24 * 60 * 60);
        duration(text)
            .and_then(|time| if time > most { Err("is too long; at most 1d".to_owned()) } else { Ok(time) })
    };
    access.max_stale = reader.read(section.get("max_stale"), stale).unwrap_or(access.max_stale);
    Some(access)
}

/// Nothing of it is shown in a message.
fn read_token(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<ConsulToken> {
    let text = reader.text(value)?;
    if let Some(file) = text.strip_prefix("file:") {
        let Ok(file) = value::absolute_path(file) else {
            reader.refuse(value, "must name the file in full: file:/path");
            return None;
        };
        return Some(ConsulToken::File(file));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.refuse(value, "is empty or holds blanks; write token: ${VARIABLE} or token: file:/path");
        return None;
    }
    Some(ConsulToken::Value(Secret::new(text)))
}

fn read_tls(reader: &mut Reader<'_>, value: Value<'_>) -> Option<ConsulTls> {
    let mut section = open(reader, value)?;
    let server_name = section.get("server_name");
    let server_name = reader.read(server_name, word);
    read_tls_files(reader, &mut section).map(|files| ConsulTls { files, server_name })
}

fn read_catalog(reader: &mut Reader<'_>, value: Value<'_>) -> Option<ConsulListing> {
    let mut section = open(reader, value)?;
    let (tag, template) = (section.get("tag"), section.get("template"));
    if tag.is_none() {
        reader.missing(
            &section,
            "tag",
            "write the tag of the services that are to be ours, such as tag: rest",
        );
    }
    if template.is_none() {
        reader.missing(
            &section,
            "template",
            "write the definition that they get, such as template: {port: \"${meta.port}\"}",
        );
    }
    reader.close(&section);
    let tag = reader.read(tag, word);
    let template = template.and_then(|value| read_template(reader, &value));
    Some(ConsulListing::Catalog { tag: tag?, template: template? })
}

fn read_template(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Map<String, Json>> {
    let is_told_by_the_catalog = |name: &str| {
        matches!(name, "name" | "tags")
            || ["meta.", "tag.", "kv:"].iter().any(|begin| name.starts_with(begin))
    };
    let document = reader.document(value, is_told_by_the_catalog)?;
    if let Json::Object(map) = document {
        return Some(map);
    }
    reader.refuse(value, "must hold the keys of a definition, such as port");
    None
}

/// A folder of keys; slashes at its ends make no difference.
fn folder(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    let is_good = |part: &str| !matches!(part, "" | "." | "..") && !part.chars().any(char::is_control);
    if path.split('/').all(is_good) {
        return Ok(path.to_owned());
    }
    Err("is no folder of keys; write one such as service_config or proxy/services".to_owned())
}

fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("is empty or holds a blank; write one word".to_owned());
    }
    Ok(text.to_owned())
}
