//! The page at `/`, in a real browser.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::admin_http::{ask, fetch};
use super::support::backend::Backends;
use super::support::chromium::Chromium;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{get, local};
use super::support::running::start;

const LIVE: &str = "document.getElementById('pill').textContent === 'Live' && document.querySelectorAll('#rows > .service').length > 0";

/// The page of what runs, once it is live.
#[track_caller]
fn look(port: u16) -> Chromium {
    let mut browser = Chromium::start();
    browser.open(&format!("http://{}/", local(port)));
    browser.wait_for("the page is live", LIVE);
    browser
}

/// The texts of all that is found, each on one line.
fn texts(browser: &mut Chromium, selector: &str) -> Vec<String> {
    let script = format!(
        "[...document.querySelectorAll({})].map((it) => it.innerText.replace(/\\s+/g, ' '))",
        json!(selector)
    );
    serde_json::from_value(browser.evaluate(&script)).unwrap()
}

/// Waits until the row of `service` holds `text`.
#[track_caller]
fn wait_for_row(browser: &mut Chromium, service: &str, text: &str) {
    let script = format!(
        "[...document.querySelectorAll('#rows > .service')].some((it) => it.querySelector('.name').textContent === {} && it.innerText.includes({}))",
        json!(service),
        json!(text)
    );
    browser.wait_for(&format!("{service}: {text}"), &script);
}

fn click(browser: &mut Chromium, selector: &str) {
    browser.evaluate(&format!("document.querySelector({}).click()", json!(selector)));
}

#[test]
fn it_shows_services_servers_traffic_generations_and_changes() {
    let ([web, http], backends) = (free_ports(), Backends::new());
    let setup = Setup::new().http(http);
    let servers = ["a", "b"].map(|name| backends.start(name));
    let addresses = servers.each_ref().map(|server| server.address.to_string());
    setup.paths.write_file_service("web", web, &addresses);
    setup.paths.write_service("lame", &json!({"port": 0}));
    let proxymgr = start(&setup);
    let mut browser = look(http);
    wait_for_row(&mut browser, "web", "2 / 2");
    wait_for_row(&mut browser, "lame", "refused");
    assert_eq!(texts(&mut browser, "#verdict"), ["1 service serves nobody"]);
    for _ in 0..20 {
        get(local(web)).unwrap();
    }
    browser.evaluate("[...document.querySelectorAll('#rows > .service')].find((it) => it.innerText.includes('web')).click()");
    browser.wait_for(
        "the requests are counted",
        "/20 sessions since HAProxy began/.test(document.querySelector('.detail')?.innerText)",
    );
    for address in addresses {
        assert!(
            texts(&mut browser, "#rows > .server")
                .iter()
                .any(|row| row.starts_with(&format!("{address} up weight 1")))
        );
    }
    let pid = proxymgr.haproxies()[0].pid;
    assert_eq!(texts(&mut browser, "#generations td")[..2], [format!("1, pid {pid}"), "serving".to_owned()]);
    assert!(texts(&mut browser, "#log li").iter().any(|change| change.contains("reload")));
    let accessible = browser.accessible();
    for (role, name) in [
        ("treegrid", "Services and their servers"),
        ("searchbox", "Find a service, a server or an address"),
        ("heading", "1 service serves nobody"),
        ("columnheader", "Service"),
        ("complementary", "HAProxy, registries and changes"),
        ("main", ""),
        ("status", ""),
    ] {
        assert!(accessible.iter().any(|it| it.0 == role && it.1 == name), "{role} {name}: {accessible:?}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_change_is_seen_within_a_second_and_nothing_has_to_be_loaded_again() {
    let [web, other, http] = free_ports();
    let setup = Setup::new().http(http);
    let servers = |count: u16| (1..=count).map(|n| local(n).to_string()).collect::<Vec<_>>();
    let list = setup.paths.write_file_service("web", web, &servers(1));
    let _proxymgr = start(&setup);
    let mut browser = look(http);
    let mut seen_after = Vec::new();
    for count in 2..12 {
        let began = Instant::now();
        write_in_one_step(&list, &(servers(count).join("\n") + "\n"));
        wait_for_row(&mut browser, "web", &format!("{count} / {count}"));
        seen_after.push(began.elapsed());
    }
    seen_after.sort();
    println!("seen after: {seen_after:?}");
    assert!(seen_after[seen_after.len() / 2] < Duration::from_secs(1), "{seen_after:?}");
    setup.paths.write_file_service("other", other, &servers(1));
    wait_for_row(&mut browser, "other", "1 / 1");
    setup.paths.remove_service("other");
    browser.wait_for("it is gone", "document.querySelectorAll('#rows > .service').length === 1");
    assert!(
        texts(&mut browser, "#log li").iter().any(|change| change.starts_with(|c: char| c.is_ascii_digit()))
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_others_wrote_stays_text() {
    let [web, http] = free_ports();
    let setup = Setup::new().http(http);
    let bad = "<img src=x onerror=alert(1)>";
    let list = setup.paths.write_file_service("web", web, &[local(1).to_string(), format!("{bad}:80")]);
    let definition = json!({"port": web, "type": "file", "file": list, bad: 1});
    setup.paths.write_service("web", &definition);
    setup.paths.write_service(bad, &json!({"port": 0, "<script>alert(2)<": 3}));
    let _proxymgr = start(&setup);
    let mut browser = look(http);
    wait_for_row(&mut browser, bad, "refused");
    browser.evaluate("document.querySelectorAll('#rows > .service').forEach((it) => it.click())");
    browser.wait_for(
        "the remarks are shown",
        &format!("document.getElementById('rows').innerText.split({}).length > 3", json!(bad)),
    );
    browser.evaluate("document.querySelectorAll('#log details').forEach((it) => { it.open = true; })");
    assert_eq!(
        browser.evaluate("document.querySelectorAll('img, #rows script, #log script').length"),
        json!(0)
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // The policy alone would have stopped it, too.
    let refused =
        browser.evaluate("try { document.body.innerHTML = '<b>x</b>'; false } catch (error) { true }");
    assert_eq!(refused, json!(true));
}

#[test]
fn it_tells_that_the_connection_is_lost_and_goes_on_when_it_is_back() {
    let [web, http] = free_ports();
    let setup = Setup::new().http(http);
    setup.paths.write_file_service("web", web, &[local(1).to_string()]);
    let proxymgr = start(&setup);
    let mut browser = look(http);
    proxymgr.end();
    browser.wait_for("it says so", "!document.getElementById('lost').hidden");
    let lost = texts(&mut browser, "#lost").remove(0);
    assert!(
        lost.starts_with("Old data: as of ") && lost.contains(" UTC. No connection to ProxyMgr"),
        "{lost}"
    );
    assert_eq!(texts(&mut browser, "#pill"), ["No connection"]);
    setup.paths.write_file_service("other", free_port(), &[local(1).to_string()]);
    setup.paths.remove_service("web");
    let proxymgr = start(&setup);
    browser.wait_for("it is live again", LIVE);
    wait_for_row(&mut browser, "other", "1 / 1");
    assert_eq!(texts(&mut browser, "#rows > .service").len(), 1, "what is gone is not shown");
    assert_eq!(browser.evaluate("document.getElementById('lost').hidden"), json!(true));
    // An upgrade is no loss.
    browser.evaluate("new MutationObserver(() => { window.wasLost ||= !document.getElementById('lost').hidden }).observe(document.getElementById('lost'), { attributes: true })");
    proxymgr.signal(Signal::SIGUSR2);
    let uptime = "/since \\d+ s/.test(document.getElementById('who').innerText)";
    browser.wait_for("another program tells", uptime);
    browser.wait_for("it is live", LIVE);
    assert_eq!(browser.evaluate("window.wasLost ?? false"), json!(false));
    let complaints = browser.complaints();
    assert!(complaints.iter().all(|it| it.contains("Failed to load resource")), "{complaints:?}");
}

#[test]
fn it_is_used_by_keyboard_and_on_a_phone() {
    let setup = Setup::new();
    let http = free_port();
    let setup = setup.http(http);
    for name in ["api", "mail", "web"] {
        setup.paths.write_file_service(name, free_port(), &[local(1).to_string(), local(2).to_string()]);
    }
    let _proxymgr = start(&setup);
    let mut browser = look(http);
    wait_for_row(&mut browser, "web", "2 / 2");
    browser.press("/");
    browser.write("web");
    browser.wait_for("one is found", "document.querySelectorAll('#rows > .service').length === 1");
    browser.press("Escape");
    browser.wait_for("all are shown", "document.querySelectorAll('#rows > .service').length === 3");
    for key in ["ArrowDown", "ArrowDown", "ArrowRight"] {
        browser.press(key);
    }
    let focused = "document.activeElement.querySelector('.name')?.textContent === 'mail' && document.activeElement.ariaExpanded === 'true'";
    browser.wait_for("the second is open", focused);
    browser.wait_for("its servers are shown", "document.querySelectorAll('#rows > .server').length === 2");
    for key in ["End", "Home"] {
        browser.press(key);
    }
    browser.wait_for("the first has the focus", "document.activeElement.ariaRowIndex === '2'");
    let rows =
        browser.evaluate("[document.getElementById('grid').ariaRowCount, document.activeElement.ariaLevel]");
    assert_eq!(rows, json!(["7", "1"]), "a head, three services, one's details and servers");
    browser.is_wide(360, 740);
    browser.wait_for("the tabs are there", "document.getElementById('tabs').offsetHeight > 30");
    for tab in ["changes", "haproxy", "services"] {
        click(&mut browser, &format!("#tabs [data-id={tab}]"));
        let fits = browser.evaluate("document.documentElement.scrollWidth <= innerWidth");
        assert_eq!(fits, json!(true), "{tab}");
    }
    let small = browser.evaluate("[...document.querySelectorAll('#tabs button, .filters button, .service')].filter((it) => it.offsetHeight && it.offsetHeight < 32).length");
    assert_eq!(small, json!(0), "all can be hit with a finger");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_token_is_asked_for_where_one_is_needed() {
    let [web, http] = free_ports();
    let setup = Setup::new();
    let file = setup.root_file("token", "s3cret\n");
    let setup = setup.section("admin", json!({"listen": local(http).to_string(), "token_file": file}));
    setup.paths.write_file_service("web", web, &[local(1).to_string()]);
    let _proxymgr = start(&setup);
    let mut browser = Chromium::start();
    browser.open(&format!("http://{}/", local(http)));
    for token in ["wrong", "s3cret"] {
        browser.wait_for("a token is asked for", "document.getElementById('ask').open");
        browser.write(token);
        browser.press("Enter");
        browser.wait_for(
            "it is tried",
            "!document.getElementById('wrong').hidden || !document.getElementById('ask').open",
        );
    }
    browser.wait_for("the page is live", LIVE);
    for path in ["/api/v1/stream", "/api/v1/traffic/web"] {
        assert_eq!(fetch(http, path).status, 401);
    }
}

#[test]
fn who_is_no_browser_gets_a_list_and_unknown_services_have_no_traffic() {
    let [web, http] = free_ports();
    let setup = Setup::new().http(http);
    setup.paths.write_file_service("web", web, &[local(1).to_string()]);
    let _proxymgr = start(&setup);
    assert!(fetch(http, "/").body.contains("/api/v1/stream"));
    let page = ask(http, "GET /", "Host: localhost\r\nAccept: text/html,*/*\r\n").unwrap();
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let traffic = fetch(http, "/api/v1/traffic/web").json();
    assert_eq!(traffic["servers"][0]["name"], json!(local(1).to_string()));
    for none in ["none", "web%204%20-1", "%3Cb%3E"] {
        assert_eq!(fetch(http, &format!("/api/v1/traffic/{none}")).status, 404, "{none}");
    }
}
