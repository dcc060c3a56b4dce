//! Sticky cookies: a client stays with its server.

use std::fmt;
use std::sync::Arc;

/// The name of a cookie: a token (RFC 6265, 4.1.1), without the characters that mean something in haproxy.cfg.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CookieName(Arc<str>);

/// A text that is no [`CookieName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no cookie's name; letters, digits, '-' and '_' are taken, at most 64")]
pub struct CookieNameError;

impl CookieName {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is empty, too long or holds another character.
    pub fn parse(text: &str) -> Result<Self, CookieNameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        Err(CookieNameError)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CookieName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the values of cookies are made with: `HAProxy` hashes it with a server's address (configuration manual, 4.2
/// "dynamic-cookie-key"), so who doesn't know it learns nothing of the address.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieKey(Arc<str>);

/// A text that is no [`CookieKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 16 to 128 letters and digits")]
pub struct CookieKeyError;

impl CookieKey {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is too short to be a secret, too long, or holds other characters.
    pub fn parse(text: &str) -> Result<Self, CookieKeyError> {
        let good = (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if good { Ok(Self(text.into())) } else { Err(CookieKeyError) }
    }

    /// The text itself, for the configuration.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_keys_hold_nothing_that_means_something_elsewhere() {
        assert_eq!(CookieName::parse("SRV_id-1").unwrap().as_str(), "SRV_id-1");
        for bad in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "a\n", "ä", "$a", &"a".repeat(65)] {
            assert!(CookieName::parse(bad).is_err(), "{bad:?}");
        }
        for bad in
            [&"k".repeat(15), &"k".repeat(129), "0123456789abcde ", "0123456789abcdef\n", "0123456789abcdef;"]
        {
            assert!(CookieKey::parse(bad).is_err(), "{bad:?}");
        }
        let key = CookieKey::parse(&"k1".repeat(8)).unwrap();
        assert_eq!((format!("{key:?}").as_str(), key.expose()), ("***", "k1k1k1k1k1k1k1k1"));
    }
}
