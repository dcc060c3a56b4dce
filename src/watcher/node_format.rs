//! What a server node holds: `{"address": "1.2.3.4", "port": 8080}`, and optionally `weight`, `backup` and `drain`.
//!
//! Other keys are the registry's own business and ignored.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Map, Value};

use crate::engine::printable::printable;
use crate::engine::server::{Server, Weight};

/// More than a server node can need.
const MAX_BYTES: usize = 64 * 1024;

/// Why a node names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No data.
    #[error("the node is empty; write {{\"address\": \"1.2.3.4\", \"port\": 8080}} into it")]
    Empty,
    /// Beyond [`MAX_BYTES`].
    #[error("the node holds {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// No JSON, or nested beyond 128 levels.
    #[error("no valid JSON: {0}")]
    Json(String),
    /// JSON, but no object.
    #[error("the node must hold a JSON object such as {{\"address\": \"1.2.3.4\", \"port\": 8080}}")]
    NoObject,
    /// A key that must be there.
    #[error("\"{0}\" is missing")]
    Missing(&'static str),
    /// A key with a value that it can't have.
    #[error("\"{key}\" is {found}; {expected}")]
    Value {
        /// Which.
        key: &'static str,
        /// What the node holds.
        found: String,
        /// What it may hold.
        expected: &'static str,
    },
}

/// Reads a node's data.
///
/// # Errors
/// When it names no server; the reason is fit for users.
pub fn read(data: &[u8]) -> Result<Server, NodeError> {
    if data.len() > MAX_BYTES {
        return Err(NodeError::TooLarge(data.len()));
    }
    if data.trim_ascii().is_empty() {
        return Err(NodeError::Empty);
    }
    let value: Value = serde_json::from_slice(data).map_err(|error| NodeError::Json(error.to_string()))?;
    let Value::Object(node) = value else { return Err(NodeError::NoObject) };
    let address = SocketAddr::new(address(&node)?, port(&node)?);
    let mut server = Server::at(address).ok_or_else(|| wrong_port(&Value::from(0)))?;
    server.weight = weight(&node)?;
    server.backup = flag(&node, "backup")?;
    server.drain = flag(&node, "drain")?;
    Ok(server)
}

/// Reads an address that a server can have.
///
/// # Errors
/// What is wrong with it.
pub fn ip_address(text: &str) -> Result<IpAddr, &'static str> {
    match text.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err("that is no address to connect to; write the server's own"),
        Ok(ip) => Ok(ip),
        Err(_) => {
            let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let name = text.chars().all(host) && text.chars().any(|c| c.is_ascii_alphabetic());
            Err(if name {
                "host names are not resolved yet; write an IP address"
            } else {
                "it must be an IPv4 or IPv6 address"
            })
        }
    }
}

fn address(node: &Map<String, Value>) -> Result<IpAddr, NodeError> {
    let value = node.get("address").ok_or(NodeError::Missing("address"))?;
    let text = value.as_str().ok_or("it must be a string");
    text.and_then(ip_address).map_err(|expected| wrong("address", value, expected))
}

fn port(node: &Map<String, Value>) -> Result<u16, NodeError> {
    let value = node.get("port").ok_or(NodeError::Missing("port"))?;
    let number = match value {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number.filter(|port| *port != 0).ok_or_else(|| wrong_port(value))
}

fn wrong_port(value: &Value) -> NodeError {
    wrong("port", value, "it must be 1 to 65535")
}

fn weight(node: &Map<String, Value>) -> Result<Option<Weight>, NodeError> {
    let Some(value) = node.get("weight").filter(|value| !value.is_null()) else { return Ok(None) };
    let weight = value.as_u64().and_then(|weight| u16::try_from(weight).ok()).and_then(Weight::new);
    weight.map(Some).ok_or_else(|| wrong("weight", value, "it must be a whole number, 0 to 256"))
}

fn flag(node: &Map<String, Value>, key: &'static str) -> Result<bool, NodeError> {
    match node.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(other) => Err(wrong(key, other, "it must be true or false")),
    }
}

fn wrong(key: &'static str, value: &Value, expected: &'static str) -> NodeError {
    NodeError::Value { key, found: printable(&value.to_string()), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_port_are_enough() {
        for (data, address) in [
            (r#"{"address":"1.2.3.4","port":8080}"#, "1.2.3.4:8080"),
            (r#" {"port":"80","address":"::1","labels":{"a":"b"},"other":[1]} "#, "[::1]:80"),
        ] {
            assert_eq!(read(data.as_bytes()), Ok(Server::at(address.parse().unwrap()).unwrap()));
        }
    }

    #[test]
    fn weight_backup_and_drain_are_taken() {
        let server =
            read(br#"{"address":"1.2.3.4","port":1,"weight":0,"backup":true,"drain":true}"#).unwrap();
        assert_eq!((server.weight, server.backup, server.drain), (Some(Weight::ZERO), true, true));
    }

    #[test]
    fn anything_else_is_refused_with_a_precise_reason() {
        for (data, reason) in [
            ("", "the node is empty"),
            ("hello", "no valid JSON: expected value at line 1 column 1"),
            ("[]", "must hold a JSON object"),
            (r#"{"port":1}"#, "\"address\" is missing"),
            (r#"{"address":"1.2.3.4"}"#, "\"port\" is missing"),
            (r#"{"address":"1.2.3.4","port":99999}"#, "\"port\" is 99999; it must be 1 to 65535"),
            (r#"{"address":"1.2.3.4","port":0}"#, "\"port\" is 0;"),
            (r#"{"address":"1.2.3.4","port":-1}"#, "\"port\" is -1;"),
            (r#"{"address":"1.2.3.4","port":80.5}"#, "\"port\" is 80.5;"),
            (r#"{"address":"1.2.3.4","port":"x"}"#, "\"port\" is \"x\";"),
            (r#"{"address":"1.2.3.4\nx","port":1}"#, "\"address\" is \"1.2.3.4\\nx\"; it must be an IPv4"),
            (r#"{"address":"web.example","port":1}"#, "host names are not resolved yet; write an IP address"),
            (r#"{"address":"0.0.0.0","port":1}"#, "no address to connect to"),
            (r#"{"address":12,"port":1}"#, "it must be a string"),
            (r#"{"address":"1.2.3.4","port":1,"weight":257}"#, "0 to 256"),
            (r#"{"address":"1.2.3.4","port":1,"drain":"yes"}"#, "true or false"),
        ] {
            let error = read(data.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{data}: {error}");
            assert!(!error.contains('\n'));
        }
        assert!(matches!(read("[".repeat(60_000).as_bytes()), Err(NodeError::Json(_))));
        assert_eq!(read(&vec![b' '; 70_000]), Err(NodeError::TooLarge(70_000)));
    }
}
