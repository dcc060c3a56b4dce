//! Questions, as the path and parameters of a GET.

use std::fmt::Write as _;
use std::time::Duration;

/// What is asked, without what belongs to the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    path: String,
    parameters: Vec<(&'static str, String)>,
    pub(super) dc: Option<String>,
    pub(super) lane: Lane,
}

/// Which places a question may wait in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// There may be thousands of its kind; a change shows in the tables as a whole.
    Instances,
    /// Few.
    Reserved,
}

/// Which instances of a service are meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct InstanceQuery<'a> {
    /// Tags that they must have.
    pub tags: &'a [String],
    /// Only those whose checks all pass.
    pub passing_only: bool,
    /// Sorted by the distance from this node.
    pub near: Option<&'a str>,
    /// Consul's filter.
    pub expression: Option<&'a str>,
}

/// How old an answer may be (Consul documentation, "Consistency Modes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consistency {
    Stale,
    Default,
    Consistent,
}

impl Query {
    /// `/v1/health/service/NAME`.
    pub fn health(service: &str, of: InstanceQuery<'_>, dc: Option<String>) -> Self {
        let mut parameters: Vec<_> = of.tags.iter().map(|tag| ("tag", tag.clone())).collect();
        if of.passing_only {
            parameters.push(("passing", "1".to_owned()));
        }
        parameters.extend(of.near.map(|near| ("near", near.to_owned())));
        parameters.extend(of.expression.map(|expression| ("filter", expression.to_owned())));
        Self::new(format!("/v1/health/service/{}", encoded(service)), parameters, dc, Lane::Instances)
    }

    /// `/v1/catalog/service/NAME`.
    pub fn instances(service: &str, tag: Option<&str>, dc: Option<String>) -> Self {
        let parameters = tag.map(|tag| ("tag", tag.to_owned())).into_iter().collect();
        Self::new(format!("/v1/catalog/service/{}", encoded(service)), parameters, dc, Lane::Instances)
    }

    /// `/v1/catalog/services`.
    pub fn services(dc: Option<String>) -> Self {
        Self::new("/v1/catalog/services".to_owned(), Vec::new(), dc, Lane::Reserved)
    }

    /// `/v1/health/state/any` with an answer that is always empty, and an index that moves with each check.
    pub(super) fn any_check(dc: Option<String>) -> Self {
        let nothing = vec![("filter", "CheckID == \"\"".to_owned())];
        Self::new("/v1/health/state/any".to_owned(), nothing, dc, Lane::Reserved)
    }

    /// `/v1/catalog/nodes` in the same way: an index that moves with each node.
    pub(super) fn any_node(dc: Option<String>) -> Self {
        let nothing = vec![("filter", "Node == \"\"".to_owned())];
        Self::new("/v1/catalog/nodes".to_owned(), nothing, dc, Lane::Reserved)
    }

    /// `/v1/kv/PATH?recurse`: all keys below `path`.
    pub fn keys_below(path: &str, dc: Option<String>) -> Self {
        let path = format!("/v1/kv/{}/", encoded_path(path));
        Self::new(path, vec![("recurse", String::new())], dc, Lane::Reserved)
    }

    /// `/v1/kv/PATH`: one key.
    pub fn key(path: &str, dc: Option<String>) -> Self {
        Self::new(format!("/v1/kv/{}", encoded_path(path)), Vec::new(), dc, Lane::Reserved)
    }

    fn new(path: String, parameters: Vec<(&'static str, String)>, dc: Option<String>, lane: Lane) -> Self {
        Self { path, parameters, dc, lane }
    }

    /// The request's target.
    pub(super) fn target(&self, consistency: Consistency, blocking: Option<(u64, Duration)>) -> String {
        let mut target = self.path.clone();
        let mode = match consistency {
            Consistency::Stale => Some(("stale", String::new())),
            Consistency::Default => None,
            Consistency::Consistent => Some(("consistent", String::new())),
        };
        let blocking = blocking
            .map(|(index, wait)| [("index", index.to_string()), ("wait", format!("{}ms", wait.as_millis()))]);
        let dc = self.dc.clone().map(|dc| ("dc", dc));
        let all = self.parameters.iter().cloned().chain(dc).chain(mode).chain(blocking.into_iter().flatten());
        for (number, (key, value)) in all.enumerate() {
            target.push(if number == 0 { '?' } else { '&' });
            target.push_str(key);
            if !value.is_empty() {
                target.push('=');
                target.push_str(&encoded(&value));
            }
        }
        target
    }
}

/// RFC 3986, 2.1 and 2.3.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else if write!(out, "%{byte:02X}").is_err() {
            // A String takes everything.
            break;
        }
    }
    out
}

fn encoded_path(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).map(encoded).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_stays_in_its_place() {
        let tags = ["a b".to_owned(), "c&d".to_owned()];
        let of = InstanceQuery {
            tags: &tags,
            passing_only: true,
            near: Some("_agent"),
            expression: Some("Service.Meta.az == \"a\""),
        };
        let query = Query::health("we/b?x=1", of, Some("dc1".to_owned()));
        assert_eq!(
            query.target(Consistency::Stale, Some((7, Duration::from_secs(50)))),
            "/v1/health/service/we%2Fb%3Fx%3D1?tag=a%20b&tag=c%26d&passing=1&near=_agent&filter=Service.Meta.az%20%3D%3D%20%22a%22\
             &dc=dc1&stale&index=7&wait=50000ms"
        );
        assert_eq!(
            Query::keys_below("/a/b c/", None).target(Consistency::Default, None),
            "/v1/kv/a/b%20c/?recurse"
        );
        assert_eq!(
            Query::key("a/ä", None).target(Consistency::Consistent, None),
            "/v1/kv/a/%C3%A4?consistent"
        );
    }
}
