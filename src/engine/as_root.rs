//! What `HAProxy` 3.4 wants to be told when it runs as root: that this is meant. Otherwise each start warns twice.
//!
//! Source: configuration manual of 3.4, 3.1 `chroot`, `uid`. Both lines change nothing: they name what is so already.

use super::config_words::config_words;
use super::include::Includes;
use super::render::CONTROL_VARIABLE;
use super::section::Base;

/// Is there in the environment of a `HAProxy` that may call chroot(2).
pub const MAY_CHROOT_VARIABLE: &str = "PROXYMGR_MAY_CHROOT";

const USERS: [&str; 2] = ["user", "uid"];
const ROOTS: [&str; 1] = ["chroot"];

/// Lines for the end of the global section; none where the user has lines of that kind, which are the ones that count.
pub(super) fn lines(base: &Base, includes: &Includes) -> String {
    let keywords = keywords(base, includes);
    let unsaid = |words: &[&str]| !keywords.iter().any(|keyword| words.contains(&keyword.as_str()));
    let mut lines = String::new();
    if unsaid(&USERS) {
        lines.push_str("  uid 0\n");
    }
    if unsaid(&ROOTS) {
        lines.push_str("  .if defined(");
        lines.push_str(MAY_CHROOT_VARIABLE);
        lines.push_str(")\n  chroot /\n  .endif\n");
    }
    if lines.is_empty() {
        return lines;
    }
    format!("  .if defined({CONTROL_VARIABLE})\n  .if version_atleast(3.4)\n{lines}  .endif\n  .endif\n")
}

/// The first words of the lines that the user wrote, in included files those of all sections: one too many costs no more than a
/// warning.
fn keywords(base: &Base, includes: &Includes) -> Vec<String> {
    let first = |line: &str| config_words(line).into_iter().next().map(|word| word.text);
    let mut keywords: Vec<_> = base.global.iter().filter_map(|line| first(line.as_str())).collect();
    for file in includes.files() {
        keywords.extend(file.text().lines().filter_map(first));
    }
    keywords
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::fixtures::{base, line};
    use crate::engine::include::IncludedFile;

    fn lines_with(global: &[&str], included: &str) -> String {
        let mut base = (*base()).clone();
        base.global = global.iter().map(|text| line(text)).collect();
        let file = IncludedFile::new(Path::new("/c/1.cfg"), included.as_bytes()).unwrap();
        lines(&base, &Includes::new(vec![file]))
    }

    #[test]
    fn what_the_user_says_of_root_stands_alone() {
        assert_eq!(
            lines_with(&["maxconn 10"], ""),
            "  .if defined(PROXYMGR_CONTROL)\n  .if version_atleast(3.4)\n  uid 0\n  .if defined(PROXYMGR_MAY_CHROOT)\n  \
             chroot /\n  .endif\n  .endif\n  .endif\n"
        );
        for user in ["user nobody", "uid 5", "\"us\"er nobody"] {
            let lines = lines_with(&[user], "");
            assert!(lines.contains("chroot") && !lines.contains("uid"), "{lines}");
        }
        let lines = lines_with(&["chroot /var/empty"], "");
        assert!(lines.contains("uid") && !lines.contains("chroot"), "{lines}");
        assert_eq!(lines_with(&["chroot /var/empty"], "global\n\tuser nobody\n"), "");
    }
}
