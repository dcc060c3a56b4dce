//! The page for people: one file, which asks for nothing from elsewhere.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY};
use axum::http::{HeaderMap, header::ACCEPT};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script count, and text never becomes markup (Content Security Policy, Trusted Types).
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let [style, script] = ["style", "script"].map(|tag| hash(inside(PAGE, tag)));
    format!(
        "default-src 'none'; style-src '{style}'; script-src '{script}'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
});

/// What stands in the one element of this kind.
fn inside<'a>(page: &'a str, tag: &str) -> &'a str {
    let after = page.split_once(&format!("<{tag}>")).map_or("", |(_, after)| after);
    after.split_once(&format!("</{tag}>")).map_or("", |(inside, _)| inside)
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

/// Whether a browser asks.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("text/html"))
}

pub(super) fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (REFERRER_POLICY, "no-referrer"),
        (VARY, "accept"),
    ];
    (headers, PAGE).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere_and_makes_no_markup_of_texts() {
        for tag in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1);
            assert!(inside(PAGE, tag).len() > 1000);
        }
        // The name of a namespace in the icon is no address that is asked.
        let without_icon = PAGE.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "//www", "@import", " src=", "url("] {
            assert!(!without_icon.contains(foreign), "{foreign}");
        }
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick",
        ] {
            assert!(!PAGE.contains(markup), "{markup}");
        }
    }

    #[test]
    fn the_policy_names_what_the_page_holds() {
        // The hash of "alert('Hello, world.');", as in W3C's Content Security Policy, 2.3.1.
        assert_eq!(hash("alert('Hello, world.');"), "sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=");
        assert!(POLICY.contains(&hash(inside(PAGE, "script"))));
    }
}
