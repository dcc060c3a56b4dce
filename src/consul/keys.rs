//! Keys and values of Consul's store, out of its JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::error::ConsulError;
use super::instances::no_json;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its path, as found.
    pub path: String,
    /// Its value.
    pub value: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    #[serde(default)]
    value: Option<String>,
}

/// Reads the answer to [`super::Query::keys_below`] or [`super::Query::key`].
///
/// # Errors
/// When it is no list of keys with values in base64.
pub fn keys(body: &[u8]) -> Result<Vec<Key>, ConsulError> {
    let entries: Vec<Entry> = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
    let read = |Entry { key, value }: Entry| {
        let value = STANDARD.decode(value.unwrap_or_default());
        let value = value.map_err(|_| ConsulError::Answer("a value is no base64".to_owned()))?;
        Ok(Key { path: key, value })
    };
    entries.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_a_folder_has_none() {
        let read = keys(br#"[{"Key": "a/", "Value": null}, {"Key": "a/b", "Value": "aGVsbG8="}]"#).unwrap();
        let key = |path: &str, value: &str| Key { path: path.to_owned(), value: value.as_bytes().to_vec() };
        assert_eq!(read, [key("a/", ""), key("a/b", "hello")]);
        for body in ["{}", r#"[{"Key": "a", "Value": "%"}]"#, r#"[{"Value": ""}]"#] {
            assert!(keys(body.as_bytes()).is_err(), "{body}");
        }
    }
}
