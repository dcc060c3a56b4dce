//! A program in the place of `HAProxy` that a test exchanges while `ProxyMgr` runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use super::haproxy;
use super::proxymgr_setup::Setup;

/// The program; what is executed is a shell script.
pub struct StandIn {
    path: PathBuf,
}

impl StandIn {
    /// Makes `setup` run it; until it is exchanged it is `HAProxy`.
    pub fn new(setup: Setup) -> (Setup, Self) {
        let stand_in = Self { path: setup.paths.root.join("haproxy-stand-in") };
        stand_in.is_haproxy();
        let setup = setup.haproxy_key("path", json!(stand_in.path));
        (setup, stand_in)
    }

    pub fn is_haproxy(&self) {
        self.becomes("");
    }

    /// From the next start on it does this first, then it is `HAProxy`, unless it has ended by then. `$1` is `-c` for a check;
    /// at a start `$3` is the configuration's path.
    pub fn becomes(&self, script: &str) {
        let haproxy = haproxy::binary();
        let text = format!("#!/bin/sh\n{script}\nexec {} \"$@\"\n", haproxy.display());
        let unfinished = self.path.with_extension("new");
        fs::write(&unfinished, text).unwrap();
        fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o755)).unwrap();
        fs::rename(unfinished, &self.path).unwrap();
    }
}
