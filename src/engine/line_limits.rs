//! How long a line may be: one of haproxy.cfg, and one of the runtime socket.
//!
//! Measured with 2.6, 3.0, 3.2 and 3.4: a line of haproxy.cfg holds 64 words (`MAX_LINE_ARGS`), however long they are; one more,
//! and the whole file is refused. A line of the runtime socket holds 64 words too, and `tune.bufsize` bytes: 3.2 refuses more,
//! 2.6 and 3.0 crash.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::option_line::LineEnd;
use super::section::{Base, Section};
use super::server::{Server, ServerName};
use super::server_options::ServerOptions;

/// The most words of a line, of either kind.
pub const MAX_WORDS: usize = 64;
/// The longest line of the runtime socket, in bytes: `tune.bufsize` less what is `HAProxy`'s own.
pub const MAX_COMMAND_BYTES: usize = 16_000;
/// The most words of `server_options`: beside them stand `server NAME ADDRESS id N`, `weight N` and `backup`.
pub const MAX_SERVER_OPTIONS: usize = MAX_WORDS - 8;
/// The most words of `bind_options`: beside them stand `bind ADDRESS`.
pub const MAX_BIND_OPTIONS: usize = MAX_WORDS - 2;
/// The most options of `add server BACKEND/NAME ADDRESS id N OPTIONS weight N backup`.
const MAX_ADDED_OPTIONS: usize = MAX_WORDS - 9;
/// What `add server` takes for names, numbers and addresses at most, in bytes.
const AROUND_OPTIONS: usize = 700;

/// Whether a server with these options can be named in one line of the runtime socket; `most` is what that holds.
pub fn fit_command(options: &[&str], most: usize) -> bool {
    let bytes: usize = options.iter().map(|word| word.len() + 1).sum();
    options.len() <= MAX_ADDED_OPTIONS && bytes + AROUND_OPTIONS <= most
}

impl Base {
    /// The longest line of the runtime socket, in bytes.
    pub fn command_bytes(&self) -> usize {
        let mut sizes = self.global.iter().filter_map(|line| {
            let mut words = line.words();
            (words.next() == Some("tune.bufsize")).then(|| words.next()?.parse::<usize>().ok()).flatten()
        });
        sizes.next_back().map_or(MAX_COMMAND_BYTES, |size| size.saturating_sub(384).min(MAX_COMMAND_BYTES))
    }
}

impl Section {
    /// Whether a server line with `own` options holds no more words than `HAProxy` takes.
    pub fn has_room_for(&self, own: Option<&ServerOptions>) -> bool {
        let own = own.map_or(0, |own| own.words().count());
        own == 0 || self.option_words() + own <= MAX_SERVER_OPTIONS
    }

    /// Those of `servers` whose line isn't too long.
    pub fn with_room(
        &self,
        servers: &Arc<BTreeMap<ServerName, Server>>,
    ) -> Arc<BTreeMap<ServerName, Server>> {
        if self.without_room(servers).next().is_none() {
            return servers.clone();
        }
        let fits = |(_, server): &(&ServerName, &Server)| self.has_room_for(server.options.as_ref());
        Arc::new(servers.iter().filter(fits).map(|(name, server)| (name.clone(), server.clone())).collect())
    }

    /// Those of `servers` whose options are too many beside the service's own.
    pub fn without_room<'a>(
        &'a self,
        servers: &'a BTreeMap<ServerName, Server>,
    ) -> impl Iterator<Item = &'a ServerName> {
        let is_long = self.option_words() + ServerOptions::MAX_WORDS > MAX_SERVER_OPTIONS;
        let servers = servers.iter().filter(move |_| is_long);
        servers.filter(|(_, server)| !self.has_room_for(server.options.as_ref())).map(|(name, _)| name)
    }

    fn option_words(&self) -> usize {
        self.server_options.iter().map(LineEnd::count_words).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, line, server, spec};
    use crate::engine::server_options::NodeWords;

    fn section(words: usize) -> Section {
        let mut spec = spec(80);
        spec.server_options = vec![LineEnd::parse(&vec!["check"; words].join(" ")).unwrap()];
        Section::of(&spec, base().bind_address)
    }

    fn servers() -> Arc<BTreeMap<ServerName, Server>> {
        let mut long = server("1.1.1.1:1");
        long.options = NodeWords::parse("check inter 1s fall 2").unwrap().options;
        Arc::new([long, server("2.2.2.2:2")].map(|server| (server.name(), server)).into())
    }

    #[test]
    fn a_server_whose_line_would_be_too_long_is_left_out_alone() {
        let servers = servers();
        assert!(Arc::ptr_eq(&section(10).with_room(&servers), &servers));
        assert!(Arc::ptr_eq(&section(51).with_room(&servers), &servers));
        let left: Vec<_> = section(52).with_room(&servers).keys().map(ToString::to_string).collect();
        assert_eq!(left, ["2.2.2.2:2"]);
        assert_eq!(section(52).without_room(&servers).count(), 1);
    }

    #[test]
    fn no_node_has_more_words_than_are_counted_on() {
        let all = "check check-send-proxy cookie a downinter 1s fall 1 fastinter 1s inter 1s maxconn 1 maxqueue 1 minconn 1 \
                   non-stick on-marked-down shutdown-sessions on-marked-up shutdown-backup-sessions port 1 rise 1 send-proxy \
                   send-proxy-v2 slowstart 1s weight 1 backup";
        let options = NodeWords::parse(all).unwrap().options.unwrap();
        assert_eq!(options.words().count(), ServerOptions::MAX_WORDS);
    }

    #[test]
    fn a_smaller_buffer_takes_shorter_commands() {
        let mut base = (*base()).clone();
        assert_eq!(base.command_bytes(), MAX_COMMAND_BYTES);
        base.global.push(line("tune.bufsize 8192"));
        assert_eq!(base.command_bytes(), 7808);
        base.global.push(line("tune.bufsize 1000000"));
        assert_eq!(base.command_bytes(), MAX_COMMAND_BYTES);
        assert!(fit_command(&["check"; 55], 16_000) && !fit_command(&["check"; 56], 16_000));
        let long = "x".repeat(2000);
        assert!(fit_command(&[&long], 2701) && !fit_command(&[&long], 2700));
    }
}
