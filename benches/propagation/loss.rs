//! Many servers gone at once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::changes::quick_setup;
use crate::figures::Figures;
use crate::support::backend::Backends;
use crate::support::deadline::eventually;
use crate::support::haproxy;
use crate::support::ports::free_port;
use crate::support::proxymgr_setup::write_in_one_step;
use crate::support::requests::wait_for_backends;

const ROUNDS: usize = 10;
const HOLD: &str = "1s";
const SOON: Duration = Duration::from_secs(20);

/// Four of five servers vanish: they stay for `shrink_hold`, then go.
pub fn held_then_applied() {
    let safety = json!({"shrink_hold": HOLD, "max_shrink": "50%"});
    let (setup, backends, port) = (quick_setup().section("safety", safety), Backends::new(), free_port());
    let servers = ["a", "b", "c", "d", "e"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let _proxymgr = setup.start();
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        write_in_one_step(&file, &(lines.join("\n") + "\n"));
        wait_for_backends(port, &["a", "b", "c", "d", "e"]);
        let began = Instant::now();
        write_in_one_step(&file, &(lines[0].clone() + "\n"));
        eventually(SOON, "the four are out", || {
            let rows = haproxy::servers(&setup.paths.stats_socket).map_err(|error| error.to_string())?;
            match rows.iter().filter(|row| !row.in_maintenance()).count() {
                1 => Ok(()),
                more => Err(more.to_string()),
            }
        });
        figures.add(began.elapsed());
    }
    figures.print(&format!("4 of 5 servers gone, held for {HOLD} -> applied"), "");
}
