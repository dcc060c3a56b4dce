//! Names in texts: who refers to whom.

use std::collections::HashSet;

use super::include::{IncludedFile, Includes};
use super::option_line::{LineEnd, OptionLine};
use super::section::Section;

/// All that may be a name in `text`: runs of the characters that names are made of. `track web/s1` holds `web`.
pub fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let of_names = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    text.split(move |c| !of_names(c)).filter(|word| !word.is_empty())
}

/// Whether `name` is one of the words of a sentence.
pub fn mentions(sentence: &str, name: &str) -> bool {
    names_in(sentence).any(|word| word == name || word.trim_end_matches([':', '.']) == name)
}

/// All that may be a name in the lines of these sections and files. Names that are written with escapes are missed.
pub fn names_of<'a>(sections: impl Iterator<Item = &'a Section>, includes: &'a Includes) -> HashSet<&'a str> {
    let lines = sections.flat_map(|section| {
        let binds = section.own_bind_options.values().flatten().chain(&section.bind_options);
        let ends = section.server_options.iter().chain(binds).map(LineEnd::as_str);
        section.listen_options.iter().map(OptionLine::as_str).chain(ends)
    });
    let texts = includes.files().iter().map(IncludedFile::text);
    lines.chain(texts).flat_map(names_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_whole_word() {
        assert!(mentions("unable to find required use_backend: 'a.b'.", "a.b"));
        assert!(mentions("proxy a: no", "a"));
        assert!(mentions("unable to find a/s1, in a.", "a"));
        assert!(!mentions("unable to find web-a", "a") && !mentions("", ""));
    }
}
