//! Foreign text made fit for a log line.

/// The most characters kept.
const MAX_CHARS: usize = 200;

/// `text` in one printable line: control characters and other invisible ones are escaped, what is too long is cut.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for (kept, c) in text.chars().enumerate() {
        if kept == MAX_CHARS {
            out.push_str("...");
            break;
        }
        match c {
            '"' | '\'' | '\\' => out.push(c),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_break_or_recolour_a_log_line() {
        assert_eq!(printable("a\nb\u{1b}[31m \"q\" ä"), "a\\nb\\u{1b}[31m \"q\" ä");
        assert_eq!(printable(&"x".repeat(1000)).len(), 203);
    }
}
