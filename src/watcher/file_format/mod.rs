//! What a file of servers holds: lines, or a JSON or YAML list.
//!
//! The ending tells: `.json`, `.yml` and `.yaml` are lists. A file with another ending holds lines, unless it begins like a
//! JSON list: `[` and then a blank, `{`, `"` or `]`, which no line does.
//!
//! Who may write a definition may name any file here. So nothing is told of what can't be read but where it stands and what is
//! wrong with it.

mod lines;
mod list;

use std::path::Path;

use super::listed_set::ListedSet;
use crate::document::Format;
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::NodeRules;

/// Some 30000 lines.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// Reads the whole file.
///
/// # Errors
/// When a list can't be read as a whole, which says nothing about the servers.
pub(super) fn read(file: &Path, data: &[u8], rules: &NodeRules) -> Result<ListedSet, String> {
    match list_format(file, data) {
        Some(format) => list::read(data, format, rules),
        None => Ok(lines::read(data, rules)),
    }
}

/// The servers of a file of lines, each with its line's number, from 1; `None` of another file.
pub(super) fn numbered_lines(
    file: &Path,
    data: &[u8],
    rules: &NodeRules,
) -> Option<Vec<(usize, ListedServer)>> {
    list_format(file, data).is_none().then(|| lines::numbered(data, rules))
}

fn list_format(file: &Path, data: &[u8]) -> Option<Format> {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some("json") => Some(Format::Json),
        Some("yml" | "yaml") => Some(Format::Yaml),
        Some(_) | None => match data.trim_ascii_start() {
            [b'['] | [b'[', b' ' | b'\t' | b'\r' | b'\n' | b'{' | b'"' | b']', ..] => Some(Format::Json),
            _lines => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::host_name::HostName;
    use crate::engine::own_section::assert_servers_touch_their_own_section_only;

    fn check(file: &str, data: &[u8]) -> Result<(), TestCaseError> {
        let printable = |text: &str| !text.chars().any(char::is_control);
        match read(Path::new(file), data, &NodeRules::default()) {
            Ok(set) => {
                for server in set.servers() {
                    let name = server.name().to_string();
                    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":.-_".contains(&b);
                    prop_assert!(!name.is_empty() && name.bytes().all(allowed), "{name:?}");
                }
                let somewhere = |_: &HostName| Some([10, 0, 0, 1].into());
                let servers = set.servers().iter().filter_map(|server| server.located(somewhere));
                assert_servers_touch_their_own_section_only(servers.collect());
                for skipped in set.skipped() {
                    prop_assert!(printable(&skipped.entry) && printable(&skipped.reason), "{skipped:?}");
                }
            }
            Err(reason) => prop_assert!(printable(&reason), "{reason:?}"),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_are_servers_or_are_skipped(data: Vec<u8>, file in "/f(|[.]json|[.]yml)") {
            check(&file, &data)?;
        }

        #[test]
        fn any_lines_are_servers_or_are_skipped(text in "((10[.]0[.]0[.][0-9]{1,3}|[a-z.;]{1,5}|\\[::1?\\])(:[0-9]{1,6})?( (weight=-?[0-9]{1,4}|backup|drain|#|\\PC{1,3}))?[\n ]{0,2}){0,6}") {
            check("/f", text.as_bytes())?;
        }

        #[test]
        fn any_list_is_servers_or_is_skipped(text in "\\[((\"[0-9a-z.:]{0,12}\"|[0-9]{1,3}|\\{\"address\": ?\"[0-9a-z.]{1,8}\", \"port\": [0-9]{1,6}\\}),){0,3}\"10[.]0[.]0[.]1:80\"\\]", file in "/f[.](json|yml)") {
            check(&file, text.as_bytes())?;
        }
    }

    /// Nothing of a file is told that isn't a server's address.
    #[test]
    fn a_file_that_holds_something_else_is_not_quoted() {
        for (file, text) in [
            (
                "/f",
                "root:SECRET:20228:0:99999:7:::\nSECRET=SECRET SECRET\nhost:80 SECRET\nhost:80 weight=SECRET\n[SECRET]:80\nSECRET_:80",
            ),
            ("/f.json", "{\"SECRET\": 1, \"SECRET\": 2}"),
            ("/f.yml", "SECRET: 1\nSECRET: 2"),
            ("/f.yml", "- !SECRET x\n"),
            ("/f.yml", "- *SECRET\n"),
            ("/f.yml", "%SECRET x\n---\n- a"),
            (
                "/f.json",
                "[\"SECRET_\", \"[::1]:80 SECRET\", {\"address\": \"SECRET_\", \"port\": 80}, {\"address\": \"a\", \"port\": \"SECRET\"},\
              {\"host\": \"a\", \"port\": 1, \"haproxy_server_options\": \"SECRET\"}, {\"host\": \"a\", \"port\": 1, \"haproxy_server_options\": \"cookie ;SECRET\"},\
              {\"address\": \"a\", \"port\": 1, \"weight\": \"SECRET\"}, {\"address\": \"a\", \"port\": 1, \"enabled\": \"SECRET\"},\
              {\"serviceEndpoint\": {\"host\": \"SECRET_\", \"port\": 1}, \"status\": \"ALIVE\"}, {\"address\": \"a\", \"port\": 1, \"labels\": \"SECRET\"}]",
            ),
        ] {
            match read(Path::new(file), text.as_bytes(), &NodeRules::default()) {
                Ok(set) => {
                    assert!(!set.skipped().is_empty(), "{text}");
                    assert!(!format!("{set:?}").contains("SECRET"), "{set:?}");
                }
                Err(reason) => assert!(!reason.contains("SECRET"), "{reason}"),
            }
        }
    }

    #[test]
    fn the_ending_tells_the_format_and_else_the_beginning() {
        for (file, data, format) in [
            ("/s.json", "", Some(Format::Json)),
            ("/s.yml", "", Some(Format::Yaml)),
            ("/s.yaml", "[", Some(Format::Yaml)),
            ("/s.txt", "\n [ {\"address\"", Some(Format::Json)),
            ("/s", "[\"1.2.3.4:80\"]", Some(Format::Json)),
            ("/s", "[]", Some(Format::Json)),
            ("/s", "[::1]:80", None),
            ("/s", "", None),
            ("/s.conf", "1.2.3.4:80", None),
        ] {
            assert_eq!(list_format(Path::new(file), data.as_bytes()), format, "{file} {data}");
        }
    }
}
