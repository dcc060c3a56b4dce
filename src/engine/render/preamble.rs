//! What stands above the services: `global` and `defaults`.

use std::fmt::Write as _;

use super::{CONTROL_VARIABLE, SERVER_STATE_VARIABLE, push_lines};
use crate::engine::as_root;
use crate::engine::http_frontend::ROUTED_DEFAULTS;
use crate::engine::listen_address::ListenAddress;
use crate::engine::section::Base;
use crate::engine::state::AppliedState;

pub(super) fn preamble(applied: &AppliedState) -> String {
    let base = &applied.base;
    let mut text = format!(
        "# Written by ProxyMgr: changes made here are lost. Edit proxymgr.yml or the registry.\nglobal\n{}",
        global_needed(applied)
    );
    push_lines(&mut text, &base.global);
    text.push_str(&as_root::lines(base, &applied.includes));
    if !base.frontends.is_empty() {
        // The first of the two: sections that name none take the last.
        push_defaults(&mut text, base, Some(ROUTED_DEFAULTS));
        text.push_str("  mode http\n");
    }
    push_defaults(&mut text, base, None);
    text
}

/// Lines of `global` that nothing works without: sockets, and the state of servers over a reload.
pub(super) fn global_needed(applied: &AppliedState) -> String {
    // Without `no strict-limits` (configuration manual, 3.2) a few files too few for `maxconn` and one more service stop every
    // start; so it warns and goes on. A line of the user's own comes later and wins.
    // The values in default are for a start by hand: from 3.2 on an empty word is warned of, also where it isn't used.
    // For `-x`. Not without need: from 3.0 on it makes a frontend that is shut down keep its file.
    let expose = if applied.has_own_listeners() { " expose-fd listeners" } else { "" };
    let operators = applied.base.operators_socket.as_ref().map_or_else(String::new, |socket| {
        let variable = ListenAddress::Unix(socket.clone()).env_name();
        format!("  stats socket \"${{{variable}-{}}}\" mode 600 level admin\n", socket.as_path().display())
    });
    format!(
        "  .if defined({CONTROL_VARIABLE})\n\
         \x20 stats socket \"${{{CONTROL_VARIABLE}-unused}}\" level admin{expose}\n\
         \x20 server-state-file \"${{{SERVER_STATE_VARIABLE}-unused}}\"\n\
         \x20 no strict-limits\n\
         \x20 .endif\n\
         {operators}"
    )
}

pub(super) fn defaults_needed() -> String {
    format!("  .if defined({CONTROL_VARIABLE})\n  load-server-state-from-file global\n  .endif\n")
}

fn push_defaults(text: &mut String, base: &Base, name: Option<&str>) {
    let blank = if name.is_some() { " " } else { "" };
    let _ = write!(text, "\ndefaults{blank}{}\n{}", name.unwrap_or_default(), defaults_needed());
    push_lines(text, &base.defaults);
}
