//! The page for everybody: enough contrast in light and dark, a name for all that can be used, and a focus that can be seen.

use serde_json::{Value, json};

use super::support::chromium::Chromium;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local};
use super::support::running::start;

/// Texts that can be seen with less contrast than WCAG 2.2, 1.4.3 wants (4.5, large ones 3), and how many were looked at.
const CONTRAST: &str = r"(() => {
  const channel = (value) => (value /= 255, value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    const layers = [];
    for (let it = node; it; it = it.parentElement) {
      const colour = parse(getComputedStyle(it).backgroundColor);
      layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reduceRight((below, colour) => over(colour, below), [255, 255, 255, 1]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const [bad, all] = [[], new Set()];
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || all.has(node) || !node.checkVisibility() || node.closest('script, style, .sr, .skip')) continue;
    all.add(node);
    const style = getComputedStyle(node);
    const below = ground(node);
    const [one, other] = [light(over(parse(style.color), below)), light(below)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const wanted = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < wanted) bad.push(`${node.className || node.tagName}: ${node.textContent.slice(0, 40)} ${ratio.toFixed(2)}`);
  }
  return [all.size, bad];
})()";
/// What has the focus, whether that can be seen, and whether it had it before.
const FOCUS: &str = "(() => { const it = document.activeElement; const style = getComputedStyle(it); window.hadFocus ??= new Set(); \
    const before = hadFocus.has(it); hadFocus.add(it); const name = it.id || it.dataset.id || it.dataset.key || it.className || it.textContent.slice(0, 20); \
    return [`${it.tagName} ${name}`, parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none', before]; })()";

/// One service of each kind: well, refused, down, held, drained.
fn look() -> (Setup, Proxymgr, Chromium) {
    let [http, web, held, down] = free_ports();
    let setup = Setup::new().http(http).section("safety", json!({"shrink_hold": "1h"}));
    let lines: Vec<_> = (1..=6).map(|number| local(number).to_string()).collect();
    setup.paths.write_file_service("web", web, &lines);
    let file = setup.paths.write_file_service("held", held, &lines);
    let list = setup.paths.write_file_service("down", down, &lines[..2]);
    let checked =
        json!({"type": "file", "file": list, "port": down, "server_options": "check inter 50ms fall 1"});
    setup.paths.write_service("down", &checked);
    setup.paths.write_service("refused", &json!({"type": "file", "file": file}));
    setup.paths.write_service("waiting", &json!({"type": "dns", "backends": [{"name": "none.invalid", "port": 1}], "nameservers": ["127.0.0.1:1"], "port": free_port()}));
    let proxymgr = start(&setup);
    write_in_one_step(&file, &lines[0]);
    assert_eq!(said(&setup.paths, &["drain", &format!("web/{}", lines[0])]).code, 0);
    let mut browser = Chromium::start();
    browser.open(&format!("http://{}/", local(http)));
    browser.wait_for(
        "the verdict is there",
        "/serve nobody|serves nobody/.test(document.getElementById('verdict').textContent)",
    );
    browser.evaluate("document.querySelectorAll('#rows > .service').forEach((it) => it.click())");
    browser.wait_for("servers are shown", "document.querySelectorAll('#rows > .server').length > 3");
    browser.wait_for("the loss is shown", "document.body.innerText.includes('held until')");
    (setup, proxymgr, browser)
}

#[test]
fn all_text_has_enough_contrast_in_light_and_dark_on_a_desk_and_on_a_phone() {
    let (_setup, _proxymgr, mut browser) = look();
    for (width, dark) in [(1440, false), (1440, true), (390, false), (390, true)] {
        browser.is_wide(width, 900);
        browser.is_dark(dark);
        let tabs: &[&str] = if width < 600 { &["services", "changes", "haproxy"] } else { &[""] };
        for tab in tabs.iter().filter(|tab| !tab.is_empty()) {
            browser.evaluate(&format!("document.querySelector('#tabs [data-id={tab}]').click()"));
        }
        // A change flashes for a moment.
        eventually(SOON, "there is enough contrast", || {
            let seen = browser.evaluate(CONTRAST);
            let enough = seen[0].as_u64().unwrap() > 10 && seen[1] == json!([]);
            if enough { Ok(()) } else { Err((width, dark, seen)) }
        });
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn all_that_can_be_used_has_a_name_and_is_reached_and_seen_by_keyboard() {
    let (_setup, _proxymgr, mut browser) = look();
    let nameless: Vec<_> = browser
        .accessible()
        .into_iter()
        .filter(|(role, name)| {
            ["button", "searchbox", "link", "columnheader", "heading", "treegrid", "dialog"]
                .contains(&role.as_str())
                && name.is_empty()
        })
        .collect();
    assert_eq!(nameless, []);
    let twice = browser.evaluate("(() => { const ids = [...document.querySelectorAll('[id]')].map((it) => it.id); return ids.filter((id, at) => ids.indexOf(id) !== at); })()");
    assert_eq!(twice, json!([]), "an id is there once");
    assert_eq!(
        browser.evaluate("[document.documentElement.lang, document.querySelectorAll('h1').length]"),
        json!(["en", 1])
    );
    browser.evaluate("document.activeElement.blur()");
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        let focus = browser.evaluate(FOCUS);
        if focus[2] == true {
            break;
        }
        seen.push(focus);
    }
    let unseen: Vec<_> = seen
        .iter()
        .filter(|focus| focus[1] != true && !focus[0].as_str().unwrap().starts_with("BODY"))
        .collect();
    assert!(unseen.is_empty(), "{unseen:?} of {seen:?}");
    let names: Vec<_> = seen.iter().map(|focus| focus[0].as_str().unwrap()).collect();
    for part in ["INPUT find", "BUTTON all", "BUTTON refused", "SUMMARY"] {
        assert!(names.iter().any(|name| name.starts_with(part)), "{part} in {names:?}");
    }
    // One row of the table is in the way of Tab, the others are reached by arrows.
    assert_eq!(names.iter().filter(|name| name.starts_with("DIV s ")).count(), 1, "{names:?}");
}
