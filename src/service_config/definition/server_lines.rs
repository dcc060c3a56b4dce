//! How many servers a line of `listen_options` makes: one short `server-template` could make millions (configuration manual, 4.2),
//! and `HAProxy`'s check of 100,000 takes minutes, which all services would wait for.

use crate::engine::config_words::config_words;
use crate::engine::option_line::OptionLine;
use crate::engine::printable::printable;

/// Refuses a `server-template` whose number can't be told for sure: `HAProxy` takes `+5` and `5x`, too.
pub(super) fn check(line: &OptionLine) -> Result<(), String> {
    match number(line) {
        Some(number) if range(&number).is_none() => {
            Err(format!("'{}' is no number of servers; write N, or FIRST-LAST", printable(&number)))
        }
        Some(_) | None => Ok(()),
    }
}

/// Those of a line that was checked.
pub(super) fn count(line: &OptionLine) -> usize {
    match number(line) {
        Some(number) => range(&number).unwrap_or_default(),
        None => usize::from(line.keyword() == "server"),
    }
}

/// The word that says how many; `None` where the line is no template.
fn number(line: &OptionLine) -> Option<String> {
    let mut words = config_words(line.as_str()).into_iter().map(|word| word.text);
    (words.next()? == "server-template").then(|| words.nth(1).unwrap_or_default())
}

fn range(text: &str) -> Option<usize> {
    let number = |text: &str| {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| digits)
    };
    match text.split_once('-') {
        None => number(text),
        Some((first, last)) => Some((number(last)? + 1).saturating_sub(number(first)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, String> {
        let line = OptionLine::parse(text).unwrap();
        check(&line).map(|()| count(&line))
    }

    #[test]
    fn servers_are_counted_however_they_are_written() {
        for (line, servers) in [
            ("mode http", 0),
            ("server a 10.0.0.1:80 check", 1),
            ("server-template web 5 10.0.0.1:80", 5),
            ("server-template web 1-100000 10.0.0.1:80", 100_000),
            ("'server-template' web \"7\" 10.0.0.1:80", 7),
            ("server\\x2dtemplate web 3-4 10.0.0.1:80", 2),
            ("server-template web 4-3 10.0.0.1:80", 0),
        ] {
            assert_eq!(read(line), Ok(servers), "{line}");
        }
        for number in
            ["+100000", "' 100000'", "100000x", "1-+100000", "0x10", "", "5-", "99999999999999999999"]
        {
            assert!(read(&format!("server-template web {number} 10.0.0.1:80")).is_err(), "{number}");
        }
    }
}
