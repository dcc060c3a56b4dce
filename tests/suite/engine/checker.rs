//! What a `HAProxy` of these tests says of a configuration.

use proxymgr::engine::reconciler::Complaint;

/// The first thing that is wrong, of what one section needs of another.
pub fn complaint(config: &str) -> Option<Complaint> {
    missing_backend(config).or_else(|| second_of_an_id(config)).or_else(|| missing_userlist(config))
}

fn at(line: usize, text: String) -> Complaint {
    Complaint { line: Some(line + 1), proxy: None, text }
}

fn lines(config: &str) -> impl Iterator<Item = (usize, &str)> {
    config.lines().map(str::trim).enumerate()
}

fn missing_backend(config: &str) -> Option<Complaint> {
    let is_there = |name: &str| {
        config.lines().any(|line| {
            line == format!("listen {name}") || line.starts_with(&format!("backend {name} from "))
        })
    };
    lines(config).find_map(|(line, text)| {
        let name = text.strip_prefix("use_backend ").filter(|name| !name.starts_with('%'))?;
        (!is_there(name)).then(|| at(line, format!("unable to find required use_backend: '{name}'.")))
    })
}

fn second_of_an_id(config: &str) -> Option<Complaint> {
    let ids = lines(config).filter(|(_, text)| *text == "id 7");
    ids.map(|(line, _)| at(line, "custom id 7 has already been used".into())).nth(1)
}

fn missing_userlist(config: &str) -> Option<Complaint> {
    let (line, _) = lines(config).find(|(_, text)| *text == "acl known http_auth(staff)")?;
    (!config.contains("userlist staff")).then(|| at(line, "unable to find userlist".into()))
}
