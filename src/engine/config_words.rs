//! The words of a configuration line as `HAProxy` reads them: quotes and escapes resolved (configuration manual, 2.2
//! "Quoting and escaping").

/// One word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigWord {
    /// Without quotes and escapes.
    pub text: String,
    /// Whether it refers to the environment: `"${NAME}"`, `"$NAME"`.
    pub uses_environment: bool,
}

/// The words of `line`, up to a comment. What `HAProxy` would refuse, such as a quote that isn't closed, gives some words.
pub fn config_words(line: &str) -> Vec<ConfigWord> {
    let mut words = Vec::new();
    let mut word: Option<ConfigWord> = None;
    let mut quote = Quote::None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Quote::None, '#') => break,
            (Quote::None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (Quote::None | Quote::Weak, '"') => {
                word.get_or_insert_default();
                quote = if quote == Quote::None { Quote::Weak } else { Quote::None };
            }
            (Quote::None | Quote::Strong, '\'') => {
                word.get_or_insert_default();
                quote = if quote == Quote::None { Quote::Strong } else { Quote::None };
            }
            (Quote::None | Quote::Weak, '\\') => {
                let escaped = match rest.next() {
                    Some('x') => {
                        let digits: String = [rest.next(), rest.next()].into_iter().flatten().collect();
                        u8::from_str_radix(&digits, 16).map_or('?', char::from)
                    }
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some(other) => other,
                    None => '\\',
                };
                word.get_or_insert_default().text.push(escaped);
            }
            (Quote::None | Quote::Weak, '$')
                if rest
                    .peek()
                    .is_some_and(|next| *next == '{' || next.is_ascii_alphabetic() || *next == '_') =>
            {
                let word = word.get_or_insert_default();
                word.uses_environment = true;
                word.text.push('$');
            }
            (Quote::None | Quote::Weak | Quote::Strong, c) => word.get_or_insert_default().text.push(c),
        }
    }
    words.extend(word);
    words
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    None,
    Weak,
    Strong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        config_words(line).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_are_what_haproxy_makes_of_them() {
        assert_eq!(texts(" mode  http "), ["mode", "http"]);
        assert_eq!(
            texts(r#"err"or"'file' a\ b "c d" '\e "f"' # g"#),
            ["errorfile", "a b", "c d", r#"\e "f""#]
        );
        assert_eq!(texts(r"lua\x2ea \q"), ["lua.a", "q"]);
        assert_eq!(texts(r#"a "" "b"#), ["a", "", "b"]);
        assert!(texts("# x").is_empty());
    }

    #[test]
    fn a_reference_to_the_environment_is_seen() {
        for (line, uses) in [
            (r#""${HOME}""#, true),
            (r#""$HOME""#, true),
            ("$HOME", true),
            (r"'${HOME}'", false),
            (r"\$HOME", false),
            ("^/a$", false),
            ("$1", false),
        ] {
            assert_eq!(config_words(line)[0].uses_environment, uses, "{line}");
        }
    }
}
