//! Where `HAProxy` can't be changed at run time: the reloads that are needed, no more, and no failed request.

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_refusal};
use super::support::running::{Server, assert_config_says_what_runs, in_rotation, reloads, start};

/// Waits until these servers run, by port and weight, and gives the number of reloads until then.
#[track_caller]
fn reloads_until(proxymgr: &Proxymgr, wanted: &[(u16, u16)]) -> usize {
    let port_and_weight = |server: &Server| (server.address.port(), server.weight);
    let mut wanted = wanted.to_vec();
    wanted.sort_unstable();
    eventually(SOON, "the servers run that are wanted", || {
        let mut found: Vec<_> = in_rotation(&proxymgr.paths).iter().map(port_and_weight).collect();
        found.sort_unstable();
        if found == wanted { Ok(()) } else { Err(found) }
    });
    assert_config_says_what_runs(&proxymgr.paths);
    reloads(proxymgr).len() - 1
}

/// One server comes, one leaves, it comes back, a weight changes, all under load: the reloads up to each.
fn reloads_of_the_changes(setup: &Setup, listen_options: &[&str]) -> [usize; 4] {
    let (backends, port) = (Backends::new(), free_port());
    let [a, b] = ["a", "b"].map(|name| backends.start(name));
    let file = setup.paths.write_file_service("web", port, &[a.address.to_string()]);
    let definition = json!({"type": "file", "file": file, "port": port, "listen_options": listen_options});
    setup.paths.write_service("web", &definition);
    let proxymgr = start(setup);
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(1200).start();
    let after = |text: String, wanted: &[(u16, u16)]| {
        write_in_one_step(&file, &text);
        reloads_until(&proxymgr, wanted)
    };
    let (alone, together) = (format!("{}\n", a.address), format!("{}\n{}\n", a.address, b.address));
    let heavier = format!("{} weight=5\n{}\n", a.address, b.address);
    let both = [(a.port(), 1), (b.port(), 1)];
    let came = after(together.clone(), &both);
    assert_takes_traffic(&b);
    let left = after(alone, &[(a.port(), 1)]);
    let back = after(together, &both);
    assert_takes_traffic(&b);
    let weight = after(heavier, &[(a.port(), 5), (b.port(), 1)]);
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(report.rate() >= 1000.0, "the load was to be at least 1000 requests/s: {report}");
    [came, left, back, weight]
}

#[track_caller]
fn assert_takes_traffic(server: &Backend) {
    let before = server.requests();
    eventually(SOON, "the server takes traffic", || match server.requests() {
        now if now > before => Ok(()),
        same => Err(same),
    });
}

#[test]
fn a_static_balance_algorithm_needs_reloads_for_new_servers_and_weights_alone_under_load() {
    let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
    assert_eq!(reloads_of_the_changes(&setup, &["balance static-rr"]), [1, 1, 1, 2]);
}

#[test]
fn without_runtime_updates_every_change_is_a_reload_under_load() {
    let setup = Setup::new().runtime_updates(false).section("reload", json!({"min_interval": "10ms"}));
    assert_eq!(reloads_of_the_changes(&setup, &[]), [1, 2, 3, 4]);
}

#[test]
fn without_runtime_updates_a_service_that_leaves_is_refused_after_a_reload() {
    let setup = Setup::new().runtime_updates(false).section("reload", json!({"min_interval": "10ms"}));
    let (backends, [stays, leaves]) = (Backends::new(), free_ports());
    let server = [backends.start("web").address.to_string()];
    setup.paths.write_file_service("stays", stays, &server);
    setup.paths.write_file_service("leaves", leaves, &server);
    let proxymgr = start(&setup);
    setup.paths.remove_service("leaves");
    wait_for_refusal(local(leaves));
    assert_eq!(reloads(&proxymgr).len(), 2);
    assert_config_says_what_runs(&setup.paths);
}
