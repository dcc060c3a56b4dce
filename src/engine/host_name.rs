//! Host names.

use std::fmt;
use std::sync::Arc;

use super::printable::printable;

/// A host's name, lower-case and without a dot at its end (RFC 1123, 2.1; `_` is taken too, since `SRV` names begin with
/// it).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// A text that is no [`HostName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no host name; write labels of letters, digits, '-' and '_', separated by dots, each of 1 to 63 characters, 253 in all, the last one not a number"
)]
pub struct HostNameError(String);

impl HostName {
    /// The longest name without a dot at its end, in bytes (RFC 1035, 3.1).
    const MAX_BYTES: usize = 253;
    const MAX_LABEL_BYTES: usize = 63;

    /// Checks `text`; case and one dot at its end make no difference.
    ///
    /// # Errors
    /// When it is no host name. An address is none: a name's last label is never a number (RFC 3696, 2).
    pub fn parse(text: &str) -> Result<Self, HostNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
        let last_is_number = name.rsplit('.').next().is_some_and(is_number);
        if name.len() > Self::MAX_BYTES || last_is_number || !name.split('.').all(is_label) {
            return Err(HostNameError(printable(text)));
        }
        Ok(Self(name.to_ascii_lowercase().into()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=HostName::MAX_LABEL_BYTES).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_dns_takes_them() {
        for (text, name) in [
            ("web", "web"),
            ("Web.Example.", "web.example"),
            ("_http._tcp.web-1.example", "_http._tcp.web-1.example"),
            ("3com.example", "3com.example"),
        ] {
            assert_eq!(HostName::parse(text).unwrap().as_str(), name);
        }
        let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
        assert!(HostName::parse(&long).is_ok());
        assert!(HostName::parse(&format!("{long}d")).is_err());
    }

    #[test]
    fn addresses_and_other_texts_are_none() {
        let label = "a".repeat(64);
        let bad = [
            "", ".", "a..b", "web..", "-a.b", "a-.b", "a b", "web:80", "1.2.3.4", "::1", "12", "ä.b", "a\n",
            "a/b", &label,
        ];
        for text in bad {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
    }
}
