//! The paths (`std::fs::File`) that a Rust source names, with groups spelled out.

/// Every path of `source` in its order. `use a::{b, c::d}` gives `a::b` and `a::c::d`; a lone name is a path too.
/// Comments, texts and characters are skipped.
pub fn paths_in(source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut rest = tokens.as_slice();
    let mut paths = Vec::new();
    while let [first, after @ ..] = rest {
        rest = if is_name(first) { path(String::new(), rest, &mut paths) } else { after };
    }
    paths
}

/// Reads one path, or one tree of a group, after `prefix`; gives what follows it.
fn path<'tokens>(
    mut prefix: String,
    mut rest: &'tokens [String],
    paths: &mut Vec<String>,
) -> &'tokens [String] {
    while let [name, after @ ..] = rest
        && (is_name(name) || name == "*")
    {
        // `a::{self}` is `a`.
        if name != "self" || prefix.is_empty() {
            prefix += name;
        } else {
            prefix.truncate(prefix.len() - 2);
        }
        rest = after;
        match rest {
            [colons, group @ ..] if colons == "::" => {
                prefix += "::";
                rest = group;
            }
            _ => {
                paths.push(prefix);
                return rest;
            }
        }
    }
    if rest.first().is_none_or(|token| token != "{") || prefix.is_empty() {
        // A turbofish, `Vec::<u8>`.
        paths.push(prefix.trim_end_matches("::").to_owned());
        return rest;
    }
    rest = &rest[1..];
    loop {
        match rest {
            [] => return rest,
            [end, after @ ..] if end == "}" => return after,
            [name, ..] if is_name(name) || name == "*" => rest = path(prefix.clone(), rest, paths),
            [alias, _, after @ ..] if alias == "as" => rest = after,
            [_, after @ ..] => rest = after,
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphanumeric() || c == '_') && token != "as"
}

/// Names, `::`, and single characters of anything else.
fn tokens(source: &str) -> Vec<String> {
    let mut rest = source;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_length(rest);
        if skipped > 0 {
            rest = &rest[skipped..];
            continue;
        }
        let name = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = match name {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            _ => name,
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
    }
    tokens
}

/// How much of the head of `rest` is a comment, a text or a character; 0 when none.
fn skipped_length(rest: &str) -> usize {
    let end_after = |start: usize, end: &str| {
        rest[start..].find(end).map_or(rest.len(), |found| start + found + end.len())
    };
    if rest.starts_with("//") {
        return end_after(2, "\n");
    }
    if rest.starts_with("/*") {
        return end_after(2, "*/");
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return end_after(hashes + 2, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    // A character; a lifetime has no second quote.
    let character = rest.starts_with("'\\") || rest.starts_with('\'') && rest.chars().nth(2) == Some('\'');
    if character { quoted_length(rest, '\'') } else { 0 }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

#[test]
fn groups_are_spelled_out_and_texts_skipped() {
    let source =
        "use a::{self, b, c::{d, e as f}, g::*}; // h::i\nlet x = \"j\\\"::k\"; m::n::<o::P>('q', &'r s::t);";
    let found = paths_in(source);
    let paths: Vec<&str> = found.iter().map(String::as_str).filter(|path| path.contains("::")).collect();
    assert_eq!(paths, ["a::b", "a::c::d", "a::c::e", "a::g::*", "m::n", "o::P", "s::t"]);
    assert!(found.contains(&"a".to_owned()), "{found:?}");
}
