use super::*;
use crate::service_config::Format;

fn entry(origin: &str, text: &str) -> Entry {
    Entry::Definition(RawDefinition {
        data: text.as_bytes().into(),
        format: Format::Json,
        origin: origin.into(),
    })
}

fn good(port: u16) -> Entry {
    entry("a", &format!(r#"{{"type":"file","file":"/f","port":{port}}}"#))
}

fn listing(entries: &[(&str, Entry)]) -> Listing {
    entries.iter().map(|(name, entry)| ((*name).to_owned(), entry.clone())).collect()
}

/// The steps in short: `+name:port`, `!name`, `-name`, `?name`.
fn short(steps: &[Step]) -> Vec<String> {
    let one = |step: &Step| match step {
        Step::Define { name, spec, .. } => format!("+{name}:{}", spec.entrance),
        Step::Refuse { name, .. } => format!("!{name}"),
        Step::Remove { name } => format!("-{name}"),
        Step::Forget { name } => format!("?{name}"),
        Step::KeepThoughEmpty { source, names } => format!("={source}:{}", names.join(",")),
        Step::KeepThoughMissing { source, names } => format!("~{source}:{}", names.join(",")),
    };
    steps.iter().map(one).collect()
}

#[test]
fn only_what_differs_becomes_a_step() {
    let mut catalog = Catalog::new(1, Listing::new(), Allowed::new());
    let both = listing(&[("a", good(1)), ("b", good(2))]);
    assert_eq!(short(&catalog.update(0, both.clone(), Moment::START)), ["+a:1", "+b:2"]);
    assert_eq!(short(&catalog.update(0, both, Moment::START)), [""; 0]);
    let reformatted = entry("elsewhere", r#"{ "port":1, "file":"/f", "type":"file" }"#);
    assert_eq!(
        short(&catalog.update(0, listing(&[("a", reformatted), ("b", good(3))]), Moment::START)),
        ["+b:3"]
    );
    assert_eq!(short(&catalog.update(0, listing(&[("c", good(1))]), Moment::START)), ["-a", "-b", "+c:1"]);
}

#[test]
fn a_source_that_lists_nothing_any_more_keeps_what_it_listed_last() {
    let mut catalog = Catalog::new(2, Listing::new(), Allowed::new());
    assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), [""; 0], "it never had any");
    assert!(!catalog.is_complete());
    assert_eq!(short(&catalog.update(1, listing(&[("c", good(3))]), Moment::START)), ["+c:3"]);
    let both = listing(&[("a", good(1)), ("b", good(2))]);
    assert_eq!(short(&catalog.update(0, both.clone(), Moment::START)), ["+a:1", "+b:2"]);
    assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), ["=0:a,b"]);
    assert_eq!(short(&catalog.update(0, both, Moment::START)), [""; 0], "it is back as it was");
    assert_eq!(short(&catalog.update(0, listing(&[("b", good(2))]), Moment::START)), ["-a"]);
    assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), ["=0:b"]);
    assert_eq!(catalog.deadline(), None);
}

#[test]
fn what_is_remembered_counts_when_a_source_does_not_answer_or_answers_that_there_is_nothing() {
    let remembered = || listing(&[("a", good(1)), ("b", good(2))]);
    let at = |seconds| Moment::START + Duration::from_secs(seconds);

    let mut silent = Catalog::new(1, remembered(), Allowed::new());
    assert!(!silent.is_complete());
    assert_eq!(short(&silent.recall().1), ["+a:1", "+b:2"]);
    assert!(silent.is_complete());
    assert_eq!(short(&silent.update(0, listing(&[("a", good(1))]), at(50))), [""; 0], "b stays for a while");
    assert_eq!(short(&silent.expire(at(80))), ["-b"]);
    assert_eq!(silent.deadline(), None);

    let mut emptied = Catalog::new(1, remembered(), Allowed::new());
    assert_eq!(short(&emptied.update(0, Listing::new(), at(1))), ["+a:1", "+b:2", "=0:a,b"]);
    assert_eq!(short(&emptied.expire(at(1000))), [""; 0]);

    let mut prompt = Catalog::new(1, remembered(), Allowed::new());
    assert_eq!(short(&prompt.update(0, listing(&[("c", good(3))]), at(1))), ["+c:3"], "it tells");
    assert_eq!(short(&prompt.recall().1), [""; 0]);
}

#[test]
fn a_lost_list_may_be_filled_again_one_by_one() {
    let mut catalog = Catalog::new(1, Listing::new(), Allowed::new());
    let [a, b, c] = [("a", good(1)), ("b", good(2)), ("c", good(3))];
    let only_a = listing(std::slice::from_ref(&a));
    let at = |seconds| Moment::START + Duration::from_secs(seconds);
    catalog.update(0, listing(&[a.clone(), b.clone(), c.clone()]), at(0));
    assert_eq!(short(&catalog.update(0, Listing::new(), at(10))), ["=0:a,b,c"]);
    assert_eq!(short(&catalog.expire(at(1000))), [""; 0], "nothing goes while nothing is listed");
    assert_eq!(short(&catalog.update(0, only_a.clone(), at(1000))), ["~0:b,c"]);
    assert_eq!(short(&catalog.update(0, listing(&[a.clone(), b.clone()]), at(1010))), [""; 0]);
    assert_eq!(short(&catalog.update(0, only_a, at(1011))), ["-b"], "taken away again");
    assert_eq!(catalog.deadline(), Some(at(1030)));
    assert_eq!(short(&catalog.expire(at(1029))), [""; 0]);
    assert_eq!(short(&catalog.expire(at(1030))), ["-c"]);
    assert_eq!(catalog.deadline(), None);

    assert_eq!(short(&catalog.update(0, Listing::new(), at(1040))), ["=0:a"]);
    assert_eq!(short(&catalog.update(0, listing(&[a]), at(1041))), [""; 0], "all is back");
    assert_eq!(catalog.deadline(), None);
}

#[test]
fn a_key_that_plays_no_part_is_told_when_it_comes() {
    let mut catalog = Catalog::new(1, Listing::new(), Allowed::new());
    let with = |more: &str| {
        listing(&[("a", entry("a", &format!(r#"{{"type":"file","file":"/f","port":1{more}}}"#)))])
    };
    assert_eq!(short(&catalog.update(0, with(""), Moment::START)), ["+a:1"]);
    let steps = catalog.update(0, with(r#","x":1"#), Moment::START);
    assert!(matches!(steps.as_slice(), [Step::Define { unknown_keys, .. }] if unknown_keys.len() == 1));
    assert_eq!(short(&catalog.update(0, with(r#","x":2"#), Moment::START)), [""; 0]);
    assert_eq!(short(&catalog.update(0, with(""), Moment::START)), [""; 0]);
}

#[test]
fn a_refusal_leaves_the_last_good_definition_and_is_told_once_per_reason() {
    let mut catalog = Catalog::new(1, Listing::new(), Allowed::new());
    let bad = |text: &str| listing(&[("a", entry("a", text))]);
    assert_eq!(short(&catalog.update(0, listing(&[("a", good(1))]), Moment::START)), ["+a:1"]);
    assert_eq!(short(&catalog.update(0, bad("{}"), Moment::START)), ["!a"]);
    assert_eq!(short(&catalog.update(0, bad("{ }"), Moment::START)), [""; 0], "the same reason");
    assert_eq!(short(&catalog.update(0, bad("[]"), Moment::START)), ["!a"], "another reason");
    assert_eq!(
        short(&catalog.update(0, listing(&[("a", good(1))]), Moment::START)),
        ["+a:1"],
        "the refusal is over"
    );
}

#[test]
fn the_first_source_that_holds_a_name_keeps_it() {
    let mut catalog = Catalog::new(2, Listing::new(), Allowed::new());
    assert_eq!(
        short(&catalog.update(1, listing(&[("a", good(1)), ("b", good(2))]), Moment::START)),
        ["+a:1", "+b:2"]
    );
    assert!(!catalog.is_complete());
    assert_eq!(short(&catalog.update(0, listing(&[("a", good(9))]), Moment::START)), ["+a:9"]);
    assert!(catalog.is_complete());
    assert_eq!(short(&catalog.update(0, listing(&[("c", good(4))]), Moment::START)), ["+a:1", "+c:4"]);
}

#[test]
fn a_name_that_no_service_can_have_is_refused() {
    let mut catalog = Catalog::new(1, Listing::new(), Allowed::new());
    assert_eq!(short(&catalog.update(0, listing(&[("a b\n", good(1))]), Moment::START)), ["!a b\\n"]);
    let without = listing(&[("c", good(1))]);
    assert_eq!(
        short(&catalog.update(0, without, Moment::START)),
        ["?a b\\n", "+c:1"],
        "its refusal goes with it"
    );
}
