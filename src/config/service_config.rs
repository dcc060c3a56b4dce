//! The section `service_config`: one source of services, or a list of them.

use crate::engine::consul::ConsulAccess;
use crate::engine::secret::Secret;
use crate::engine::tls_files::{TlsFiles, TlsIdentityFiles};

use super::consul;
use super::docker;
use super::model::{AuthConfig, SourceConfig};
use super::reader::{Reader, Section, Value};
use super::value;

const HOW_TO: &str = "write where services come from, such as service_config: {type: file, path: /etc/proxymgr/services} \
     or {type: zookeeper, servers: \"localhost:2181\", path: /service_config}";

#[derive(Clone, Copy)]
enum SourceType {
    Zookeeper,
    Consul,
    File,
    Docker,
}

/// Reads the value of `top`'s key `service_config`.
///
/// A source of type consul speaks with `consul` unless it names another.
pub(super) fn read(
    reader: &mut Reader<'_>,
    top: &mut Section<'_>,
    consul: Option<&ConsulAccess>,
) -> Vec<SourceConfig> {
    let Some(value) = top.get("service_config") else {
        // A file that is no mapping was refused as such.
        if reader.errors.is_empty() || !top.is_empty() {
            reader.missing(top, "service_config", HOW_TO);
        }
        return Vec::new();
    };
    match value.items() {
        None => read_source(reader, value, consul).into_iter().collect(),
        Some(items) if items.is_empty() => {
            reader.refuse(&value, format!("is an empty list; {HOW_TO}"));
            Vec::new()
        }
        Some(items) => items.into_iter().filter_map(|item| read_source(reader, item, consul)).collect(),
    }
}

fn read_source(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    consul: Option<&ConsulAccess>,
) -> Option<SourceConfig> {
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    let source_type = if let Some(value) = section.get("type") {
        reader.read(Some(value), source_type)
    } else {
        reader.missing(&section, "type", "write type: zookeeper, type: consul, type: file or type: docker");
        None
    };
    // Without a type no key can be judged.
    let source = match source_type? {
        SourceType::Zookeeper => read_zookeeper(reader, &mut section),
        SourceType::Consul => consul::read_source(reader, &mut section, consul),
        SourceType::File => read_file(reader, &mut section),
        SourceType::Docker => docker::read(reader, &mut section),
    };
    reader.close(&section);
    source
}

fn source_type(text: &str) -> Result<SourceType, String> {
    value::word(
        text,
        &[
            ("zookeeper", SourceType::Zookeeper),
            ("consul", SourceType::Consul),
            ("file", SourceType::File),
            ("docker", SourceType::Docker),
        ],
    )
}

fn read_zookeeper(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<SourceConfig> {
    let ensemble = read_ensemble(reader, section);
    let path = section.get("path");
    if path.is_none() {
        reader.missing(
            section,
            "path",
            "write the node that holds the services, such as path: /service_config",
        );
    }
    let path = reader.read(path, value::node_path);
    let (servers, auth, tls) = ensemble?;
    Some(SourceConfig::Zookeeper { servers, path: path?, auth, tls })
}

type Ensemble = (String, Option<AuthConfig>, Option<TlsFiles>);

/// What is read of an ensemble, whatever it is asked for.
pub(super) fn read_ensemble(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<Ensemble> {
    let servers = section.get("servers");
    if servers.is_none() {
        reader.missing(section, "servers", "write the ensemble, such as servers: \"zk1:2181,zk2:2181\"");
    }
    let (auth, tls) = (section.get("auth"), section.get("tls"));
    let servers = reader.read(servers, value::ensemble);
    let auth = auth.and_then(|value| read_auth(reader, value));
    let tls = tls.and_then(|value| read_tls(reader, value));
    Some((servers?, auth, tls))
}

fn read_file(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<SourceConfig> {
    let path = section.get("path");
    if path.is_none() {
        reader.missing(section, "path", "write a directory or a file, such as path: /etc/proxymgr/services");
    }
    Some(SourceConfig::File { path: reader.read(path, value::absolute_path)? })
}

/// Nothing that stands in here is shown in a message.
fn read_auth(reader: &mut Reader<'_>, value: Value<'_>) -> Option<AuthConfig> {
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    section.hide_keys();
    let mut text = |key, how_to: &str| {
        let Some(value) = section.get(key) else {
            reader.missing(&section, key, how_to);
            return None;
        };
        let text = reader.text(&value)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            reader.refuse(&value, format!("is empty or holds a control character; {how_to}"));
            return None;
        }
        Some(text)
    };
    let scheme = text("scheme", "write scheme: digest");
    let credentials = text("credentials", "write credentials: ${VARIABLE}, for digest a user:password");
    reader.close(&section);
    Some(AuthConfig { scheme: scheme?, credentials: Secret::new(credentials?) })
}

pub(super) fn read_tls(reader: &mut Reader<'_>, value: Value<'_>) -> Option<TlsFiles> {
    let mistakes = reader.errors.len();
    let mut section = reader.open(Some(value));
    if reader.errors.len() > mistakes {
        return None;
    }
    read_tls_files(reader, &mut section)
}

/// Reads the keys that name files, and closes the section.
pub(super) fn read_tls_files(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<TlsFiles> {
    let [ca, cert, key] = ["ca", "cert", "key"].map(|key| section.get(key));
    if ca.is_none() {
        reader.missing(
            section,
            "ca",
            "write the file with the authorities that sign the servers' certificates",
        );
    }
    match (&cert, &key) {
        (Some(_), None) => reader.missing(section, "key", "write the file with the private key of cert"),
        (None, Some(_)) => {
            reader.missing(section, "cert", "write the file with the certificate that key is for");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    reader.close(section);
    let [ca, cert, key] = [ca, cert, key].map(|value| reader.read(value, value::absolute_path));
    let identity = cert.zip(key).map(|(cert, key)| TlsIdentityFiles { cert, key });
    Some(TlsFiles { ca: ca?, identity })
}
