//! Routes: which requests of a shared HTTP frontend are a service's.
//!
//! What a route is known by is its key, `host/path/`: a frontend looks for the longest key that the request's own begins with.
//! The slash at the end makes that whole segments: `/hello/` is no beginning of `/hello2/`. A request's host is asked for first
//! as it is, then as `*.` with all that follows its first label, then not at all; so a route with a host goes before one without.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::host_name::HostName;
use super::printable::printable;
use super::service::{ServiceName, ServiceNameError};

/// The most routes that one service has.
pub const MAX_ROUTES: usize = 10_000;

/// The name of a frontend of proxymgr.yml, and of its `frontend` section.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendName(ServiceName);

impl FrontendName {
    /// Checks `text` by the rule for names of services.
    ///
    /// # Errors
    /// See [`ServiceName::parse`].
    pub fn parse(text: &str) -> Result<Self, ServiceNameError> {
        ServiceName::parse(text).map(Self)
    }

    /// The same name for a service: no service may have it beside the frontend.
    pub fn as_service(&self) -> &ServiceName {
        &self.0
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for FrontendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Neither a host name nor one after `*.`.
    #[error("'{0}' is no host; write a host name, or *. and a host name, without a port")]
    Host(String),
    /// It doesn't begin with a slash.
    #[error("the path '{0}' must begin with /")]
    Relative(String),
    /// An empty segment, or one that leads up or nowhere.
    #[error("the path '{0}' must be made of whole segments: without //, /./ and /../")]
    Segment(String),
    /// A character that is not taken.
    #[error(
        "the path '{0}' holds other characters than letters, digits and - . _ ~ + @ : = between its slashes"
    )]
    Character(String),
    /// Too long, or too deep.
    #[error(
        "the path is too long: at most {bytes} bytes and {segments} segments are taken",
        bytes = RoutePath::MAX_BYTES, segments = RoutePath::MAX_SEGMENTS
    )]
    TooLong,
}

/// A host name, or `*.` and a host name: any single label may take the place of the asterisk, as in certificates
/// (RFC 6125, 6.4.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteHost {
    wildcard: bool,
    name: HostName,
}

impl RouteHost {
    /// Checks `text`; case and one dot at its end make no difference.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let below = text.strip_prefix("*.");
        let name = HostName::parse(below.unwrap_or(text)).map_err(|_| RouteError::Host(printable(text)))?;
        Ok(Self { wildcard: below.is_some(), name })
    }
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.name)
    }
}

/// The beginning of a path, in whole segments; `/` is the beginning of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoutePath(Arc<str>);

impl RoutePath {
    /// The longest path, in bytes.
    pub const MAX_BYTES: usize = 255;
    /// The most segments: a frontend has a rule for each depth.
    pub const MAX_SEGMENTS: u8 = 16;

    /// Checks `text`; one slash at its end makes no difference.
    ///
    /// # Errors
    /// When it is no such path. Percent-encoded characters are not taken: which of their spellings a client uses can't be
    /// known.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        let path = text.strip_prefix('/').ok_or_else(|| RouteError::Relative(printable(text)))?;
        let path = path.strip_suffix('/').unwrap_or(path);
        if text.len() > Self::MAX_BYTES || path.split('/').count() > usize::from(Self::MAX_SEGMENTS) {
            return Err(RouteError::TooLong);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+@:=/".contains(c);
        if !path.chars().all(allowed) {
            return Err(RouteError::Character(printable(text)));
        }
        if path.is_empty() {
            return if text == "/" {
                Ok(Self("/".into()))
            } else {
                Err(RouteError::Segment(printable(text)))
            };
        }
        if path.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(RouteError::Segment(printable(text)));
        }
        Ok(Self(format!("/{path}/").into()))
    }

    fn segments(&self) -> u8 {
        let count = self.0.split('/').filter(|segment| !segment.is_empty()).count();
        u8::try_from(count).unwrap_or(Self::MAX_SEGMENTS)
    }
}

/// How many segments at the beginning of the path the servers don't get to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Strip(u8);

impl Strip {
    /// None.
    pub const NOTHING: Self = Self(0);

    /// All of `path`.
    pub fn all_of(path: &RoutePath) -> Self {
        Self(path.segments())
    }

    /// So many; `None` when there are more than a path has.
    pub fn new(segments: u8) -> Option<Self> {
        (segments <= RoutePath::MAX_SEGMENTS).then_some(Self(segments))
    }

    /// How many.
    pub fn get(self) -> u8 {
        self.0
    }
}

/// What a frontend finds a route by: a host, or none, and a path that ends with a slash.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey(Arc<str>);

impl RouteKey {
    /// That of the requests which no route is found for. No host name has an exclamation mark.
    pub const FALLBACK: &'static str = "!/";

    /// The key of a route.
    pub fn new(host: Option<&RouteHost>, path: &RoutePath) -> Self {
        match host {
            Some(host) => Self(format!("{host}{}", path.0).into()),
            None => Self(path.0.clone()),
        }
    }

    /// The key of what no route is found for.
    pub fn fallback() -> Self {
        Self(Self::FALLBACK.into())
    }

    /// Reads [`Self::as_str`].
    ///
    /// # Errors
    /// When `text` is no key.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text == Self::FALLBACK {
            return Ok(Self::fallback());
        }
        let at = text.find('/').ok_or_else(|| RouteError::Relative(printable(text)))?;
        let (host, path) = text.split_at(at);
        let host = if host.is_empty() { None } else { Some(RouteHost::parse(host)?) };
        Ok(Self::new(host.as_ref(), &RoutePath::parse(path)?))
    }

    /// As it stands in the map.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A route's frontend and key: no two services have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// The frontend.
    pub frontend: FrontendName,
    /// What it is found by there.
    pub key: RouteKey,
}

impl fmt::Display for RouteId {
    /// For people: `http-in:a.example/hello`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_str();
        let shown =
            if matches!(key, "/" | RouteKey::FALLBACK) { key } else { key.strip_suffix('/').unwrap_or(key) };
        write!(f, "{}:{shown}", self.frontend)
    }
}

/// The routes of a service, each with what its servers don't get to see of the path.
pub type Routes = BTreeMap<RouteId, Strip>;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(host: &str, path: &str) -> String {
        let host = (!host.is_empty()).then(|| RouteHost::parse(host).unwrap());
        RouteKey::new(host.as_ref(), &RoutePath::parse(path).unwrap()).as_str().to_owned()
    }

    #[test]
    fn a_key_is_the_host_and_whole_segments() {
        for (host, path, expected) in [
            ("", "/", "/"),
            ("", "/hello", "/hello/"),
            ("A.Example.", "/hello/v1/", "a.example/hello/v1/"),
            ("*.example", "/", "*.example/"),
        ] {
            assert_eq!(key(host, path), expected);
            assert_eq!(RouteKey::parse(expected).unwrap().as_str(), expected);
        }
        assert_eq!(RouteKey::parse("!/"), Ok(RouteKey::fallback()));
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for bad in ["", "*", "*.", "*.*.a", "a.*", "a:80", "1.2.3.4", "a b", "a,b", "a/b", "a\n", "!"] {
            assert!(RouteHost::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("/{}", "a".repeat(255));
        let deep = "/a".repeat(17);
        for bad in [
            "", "a", "//", "/a//b", "/a//", "/.", "/..", "/a/../b", "/%61", "/a b", "/a,b", "/a'b", "/a\"",
            "/a\\", "/a;b", "/a\tb", "/ä", "/a?b", "/a#b", "/a<<", &long, &deep,
        ] {
            assert!(RoutePath::parse(bad).is_err(), "{bad:?}");
        }
        assert!(RoutePath::parse(&"/a".repeat(16)).is_ok());
    }

    #[test]
    fn stripped_are_the_segments_of_the_path() {
        for (path, segments) in [("/", 0), ("/a", 1), ("/a/b/", 2)] {
            assert_eq!(Strip::all_of(&RoutePath::parse(path).unwrap()).get(), segments);
        }
        assert_eq!(Strip::new(17), None);
    }

    proptest! {
        #[test]
        fn a_key_is_one_word_whatever_it_is_made_of(host in "\\PC{0,12}", path in "\\PC{0,12}", wild: bool) {
            let host = RouteHost::parse(&format!("{}{host}", if wild { "*." } else { "" })).ok();
            if let Ok(path) = RoutePath::parse(&format!("/{path}")) {
                let key = RouteKey::new(host.as_ref(), &path);
                let harmless = |c: char| c.is_ascii_alphanumeric() || "-._~+@:=/*".contains(c);
                prop_assert!(key.as_str().chars().all(harmless), "{key:?}");
                prop_assert!(key.as_str().ends_with('/'));
                prop_assert_eq!(RouteKey::parse(key.as_str()), Ok(key));
            }
        }
    }
}
