//! For tests: texts that try to be more than they seem.

use proptest::prelude::*;

use super::option_line::SECTION_KEYWORDS;

const KEYWORDS: [&str; 22] = [
    "bind",
    "mode",
    "server",
    "default-server",
    "option",
    "acl",
    "http-request",
    "tcp-request",
    "stick-table",
    "stick",
    "timeout",
    "balance",
    "log",
    "no",
    "default",
    ".if",
    ".notice",
    "errorfile",
    "use_backend",
    "filter",
    "check",
    "ssl",
];

/// A line as a definition could hold it: a keyword, mostly in disguise, then anything.
pub(crate) fn any_line() -> impl Strategy<Value = String> {
    let rest = prop_oneof![
        "( [a-z0-9:./@%-]{1,8}){0,3}",
        "[ -~]{0,24}",
        "( |\\\\x[0-9a-f]{2}|\\\\[ntr \\\\#$]|[\"'#{}$(),]|[a-z]{1,4}){0,8}",
        "\\PC{0,12}",
    ];
    let line = (any_keyword(), rest).prop_map(|(word, rest)| word + &rest);
    prop_oneof![9 => line, 1 => ".{0,24}"]
}

fn any_keyword() -> impl Strategy<Value = String> {
    let all: Vec<_> = KEYWORDS.iter().chain(SECTION_KEYWORDS).copied().collect();
    (prop::sample::select(all), any::<prop::sample::Index>(), 0_u8..14).prop_map(|(keyword, at, how)| {
        let (before, after) = keyword.split_at(at.index(keyword.len()));
        let (first, rest) = after.split_at(1);
        match how {
            0 => format!("{before}\\{first}{rest}"),
            1 => format!("{before}\\x{:02x}{rest}", after.as_bytes()[0]),
            2 => format!("{before}\"{first}\"{rest}"),
            3 => format!("{before}'{first}'{rest}"),
            4 => format!("\"{keyword}\"#"),
            5 => format!("{keyword}#x"),
            6 => format!("'' {keyword}"),
            7 => format!("no {keyword}"),
            8 => format!("{keyword}\\x00{rest}"),
            9 => format!("\"\"{keyword}''"),
            10 => format!("{keyword}\n{keyword}"),
            _ => keyword.to_owned(),
        }
    })
}
