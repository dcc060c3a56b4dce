//! Lines `address:port`, with optional words `weight=N`, `backup`, `drain`; `#` begins a comment.

use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::{Labels, NodeRules};
use crate::server_entry::read_line;
use crate::watcher::listed_set::ListedSet;
use crate::watcher::server_set::SkippedEntry;

/// Reads the whole file; a wrong line is skipped and told with its number.
pub(super) fn read(data: &[u8], rules: &NodeRules) -> ListedSet {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (index, line) in data.split(|byte| *byte == b'\n').enumerate() {
        match read_one(line) {
            Ok(server) => servers.extend(server),
            Err(reason) => skipped.push(SkippedEntry::new(&format!("line {}", index + 1), &reason)),
        }
    }
    // A line has no labels: a filter leaves it out.
    servers.retain(|_| rules.filter.takes(&Labels::new()));
    ListedSet::new(servers, skipped)
}

/// The servers of the good lines, each with its line's number, from 1.
pub(super) fn numbered(data: &[u8], rules: &NodeRules) -> Vec<(usize, ListedServer)> {
    if !rules.filter.takes(&Labels::new()) {
        return Vec::new();
    }
    let lines = data.split(|byte| *byte == b'\n').zip(1..);
    lines.filter_map(|(line, number)| Some((number, read_one(line).ok().flatten()?))).collect()
}

fn read_one(line: &[u8]) -> Result<Option<ListedServer>, String> {
    let text = str::from_utf8(line).map_err(|_| "the line is no UTF-8 text".to_owned())?;
    let text = text.split_once('#').map_or(text, |(before, _comment)| before);
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    read_line(text).map(Some).map_err(|error| error.without_contents())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::server::Weight;

    #[test]
    fn good_lines_are_taken_and_wrong_ones_told_by_number() {
        let set = read(
            b"# servers\n1.2.3.4:80\r\n\n  [::1]:81 weight=5 backup # spare\n1.2.3.4\nweb.example:80\n1.2.3.4:99999\n::1:80\n\
              1.2.3.5:80 drain\n1.2.3.6:80 check\n1.2.3.7:80 weight=300\n\xff\n1.2.3.8:0\n:80\n[::1:80",
            &NodeRules::default(),
        );
        let names: Vec<_> = set.servers().iter().map(|server| server.name().to_string()).collect();
        assert_eq!(names, ["1.2.3.4:80", "1.2.3.5:80", "::1:81", "web.example:80"]);
        let flags: Vec<_> =
            set.servers().iter().map(|s| (s.weight.map(Weight::get), s.backup, s.drain)).collect();
        assert_eq!(
            flags,
            [(None, false, false), (None, false, true), (Some(5), true, false), (None, false, false)]
        );
        let mut lines: Vec<_> = set.skipped().iter().map(|skipped| skipped.entry.as_str()).collect();
        lines.sort_by_key(|line| line.len());
        assert_eq!(
            lines,
            ["line 5", "line 7", "line 8", "line 10", "line 11", "line 12", "line 13", "line 14", "line 15"]
        );
        let reason = |line: &str| &set.skipped().iter().find(|skipped| skipped.entry == line).unwrap().reason;
        assert!(reason("line 10").starts_with("a word after the address is unknown"));
        assert_eq!(reason("line 7"), "the port must be 1 to 65535");
    }
}
