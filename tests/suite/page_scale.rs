//! The page while much changes, and with a thousand services of fifty servers each.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::admin_http::{ask, fetch};
use super::support::chromium::Chromium;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::local;

struct Scale {
    services: usize,
    servers: usize,
    changes_per_second: u32,
}

/// A service that can be seen without scrolling; it alone is changed by hand.
const SEEN: usize = 3;
const FAR_BEHIND: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(120);

/// Adds up frames that came late and tasks that took long.
const WATCH: &str = "window.watched = { frame: 0, tasks: 0, longest: 0 }; \
    new PerformanceObserver((list) => { for (const one of list.getEntries()) { watched.tasks += 1; watched.longest = Math.max(watched.longest, one.duration); } }).observe({ type: 'longtask' }); 0";
/// Scrolls through everything in three seconds; gives frames, the longest time from one to the next, and the rows that are drawn.
const SCROLL: &str = "new Promise((done) => { const it = document.getElementById('scroller'); const began = performance.now(); let last = began, frames = 0, longest = 0, rows = 0; \
    const step = (now) => { frames += 1; longest = Math.max(longest, now - last); last = now; rows = Math.max(rows, document.getElementById('rows').childElementCount); \
    it.scrollTop = it.scrollHeight * (now - began) / 3000; if (now - began < 3000) requestAnimationFrame(step); else { it.scrollTop = 0; done([frames, Math.round(longest), rows]); } }; requestAnimationFrame(step); })";

fn server(service: usize, number: usize) -> String {
    format!("127.{}.{}.{}:9", 100 + number, service / 250, service % 250 + 1)
}

/// Gives a service this many servers.
fn change(paths: &Paths, service: usize, servers: usize) {
    let lines: String = (0..servers).map(|number| server(service, number) + "\n").collect();
    write_in_one_step(&paths.root.join(format!("s{service:04}.servers")), &lines);
}

/// From text in the search field to the frame that shows what is found, in milliseconds, and what that is.
fn search(browser: &mut Chromium, text: &str) -> Value {
    browser.evaluate(&format!(
        "new Promise((done) => {{ const it = document.getElementById('find'); it.value = {}; const began = performance.now(); it.dispatchEvent(new Event('input')); \
         requestAnimationFrame(() => requestAnimationFrame(() => {{ const took = Math.round(performance.now() - began); setTimeout(() => done([took, document.getElementById('found').textContent]), 600); }})); }})",
        json!(text)
    ))
}

/// How long the last changes waited and took, in milliseconds: the median and the most.
#[track_caller]
fn propagation(http: u16) -> (u64, u64) {
    eventually(LONG, "changes go through", || {
        let times = change_times(http);
        if times.len() < 10 { Err(times) } else { Ok((times[times.len() / 2], times[times.len() - 1])) }
    })
}

/// Of each of them, in order of length.
fn change_times(http: u16) -> Vec<u64> {
    let events = fetch(http, "/api/v1/events?last=300").json();
    let events = events["events"].as_array().unwrap().iter();
    let time = |event: &Value| Some(event["waited_ms"].as_u64()? + event["took_ms"].as_u64()?);
    let mut times: Vec<u64> = events.filter(|event| event["kind"] == "runtime").filter_map(time).collect();
    times.sort_unstable();
    times
}

/// Ends the changes, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_hundred_changes_a_second_are_shown_under_load() {
    look_at(&Scale { services: 100, servers: 6, changes_per_second: 100 });
}

#[test]
fn a_thousand_services_of_fifty_servers_are_shown_under_load() {
    // Where each plan is checked by carrying it out in thought, as in this build, the loop has no time for more.
    let changes_per_second = if cfg!(debug_assertions) { 10 } else { 100 };
    look_at(&Scale { services: 1000, servers: 50, changes_per_second });
}

fn write_services(setup: &Setup, scale: &Scale, port: u16) {
    let paths = &setup.paths;
    for service in 0..scale.services {
        change(paths, service, scale.servers);
        let list = paths.root.join(format!("s{service:04}.servers"));
        let bind = format!("127.1.{}.{}", service / 250, service % 250 + 1);
        let definition =
            json!({"type": "file", "file": list, "port": port, "bind": bind, "listen_options": ["mode tcp"]});
        fs::write(paths.services.join(format!("s{service:04}.json")), definition.to_string()).unwrap();
    }
}

/// One service after the other loses a server, then gets it back, until `changing` ends.
fn keep_changing(paths: &Paths, scale: &Scale, changing: &AtomicBool) {
    let (began, pace) = (Instant::now(), Duration::from_secs(1) / scale.changes_per_second);
    let others = scale.services - SEEN - 1;
    for number in 0_u32.. {
        if !changing.load(Ordering::Relaxed) {
            return;
        }
        let round = number as usize / others;
        change(paths, SEEN + 1 + number as usize % others, scale.servers - (round + 1) % 2);
        std::thread::sleep((began + pace * number).saturating_duration_since(Instant::now()));
    }
}

fn look_at(scale: &Scale) {
    let [port, http] = free_ports();
    let setup = Setup::new().http(http).section("log", json!({"format": "json", "level": "warn"}));
    write_services(&setup, scale, port);
    let (proxymgr, paths) = (setup.start(), &setup.paths);
    eventually(LONG, "it serves", || {
        let ready = ask(http, "GET /readyz", "Host: localhost\r\n");
        if ready.as_ref().is_ok_and(|answer| answer.status == 200) { Ok(()) } else { Err(ready.err()) }
    });
    let changing = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let stop = Stop(&changing);
        scope.spawn(|| keep_changing(paths, scale, &changing));
        let unseen = (propagation(http), proxymgr.process().memory());
        let mut browser = Chromium::start();
        let began = Instant::now();
        browser.open(&format!("http://{}/", local(http)));
        let all = if scale.services == 1000 { "1,000" } else { "100" };
        browser.wait_for(
            "all services are shown",
            &format!("document.getElementById('verdict').textContent === 'All {all} services serve'"),
        );
        let opened = began.elapsed();
        browser.evaluate(WATCH);
        let mut seen_after = Vec::new();
        for left in 1..=10 {
            let (count, began) = (scale.servers - 1 - left % 2, Instant::now());
            change(paths, SEEN, count);
            browser.wait_for(
                "the change is seen",
                &format!("document.querySelectorAll('#rows > .service')[{SEEN}].innerText.includes('{count} / {count}')"),
            );
            seen_after.push(began.elapsed().as_millis());
        }
        seen_after.sort_unstable();
        let scrolled = browser.evaluate(SCROLL);
        let searched = ["s0045", "127.105.0.", ""].map(|text| search(&mut browser, text));
        let watched = browser.evaluate("watched");
        let seen = (propagation(http), proxymgr.process().memory());
        println!("opened after {opened:?}; a change is seen after {seen_after:?} ms");
        println!(
            "scrolled: [frames in 3 s, longest ms between two, most rows drawn] {scrolled}; searched: [ms, found] {searched:?}; {watched}"
        );
        println!(
            "with nobody, with somebody who looks: ((median, most) ms until HAProxy has it, memory) {unseen:?}, {seen:?}"
        );
        // Who falls behind falls ever further behind; how far is a matter of the machine.
        assert!(seen_after[seen_after.len() - 1] < FAR_BEHIND.as_millis(), "{seen_after:?}");
        assert!(scrolled[2].as_u64().unwrap() < 100, "only what can be seen is drawn: {scrolled}");
        assert_eq!(searched[0][1], json!(format!("1 of {all}")));
        drop(stop);
        eventually(LONG, "the page shows what is", || {
            let counts = fetch(http, "/api/v1/status").json()["counts"].take();
            let expected = format!("\"{0} of {0} servers", counts["in_rotation"]);
            let shown = browser.evaluate("document.getElementById('facts').textContent").to_string();
            if shown.replace(',', "").starts_with(&expected) { Ok(()) } else { Err((expected, shown)) }
        });
        assert_eq!(browser.complaints(), Vec::<String>::new());
    });
}
