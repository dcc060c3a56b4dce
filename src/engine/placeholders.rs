//! Text with `${NAME}` and `${NAME:-default}` in it, to be filled later; `$${` is a literal `${`.

/// A text and the places to be filled in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// A place to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// What is to stand there.
    pub name: String,
    /// What stands there where that is unknown or empty.
    pub default: Option<String>,
}

/// The longest word that is filled in, in bytes.
const MAX_BYTES: usize = 512;

/// Whether what another wrote may be filled in: one word of plain characters, nothing that ends a word, a line or a path's folder.
pub fn is_plain_word(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+=,~%".contains(c);
    (1..=MAX_BYTES).contains(&value.len()) && value.chars().all(allowed) && !value.contains("..")
}

/// How the name of a place begins that a registry's value fills.
const KV: &str = "kv:";

impl Hole {
    /// The path in a registry whose value fills it; `None` when another thing does.
    pub fn registry_path(&self) -> Option<&str> {
        self.name.strip_prefix(KV)
    }

    /// Whether a place that is called so is filled from a registry.
    pub fn is_of_a_registry(name: &str) -> bool {
        name.starts_with(KV)
    }

    /// What is wrong with its path in a registry, if something is.
    pub fn wrong_path(&self) -> Option<String> {
        let path = self.registry_path()?;
        let is_part = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:@+=~%".contains(c))
        };
        (!path.split('/').all(is_part)).then(|| {
            "holds a bad path in ${kv:PATH:-default}; write names of letters, digits and -_.:@+=~% with / between".to_owned()
        })
    }
}

impl Pattern {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(escaped) = before.strip_suffix('$') {
                literal.push_str(escaped);
                literal.push_str("${");
                rest = after;
                continue;
            }
            literal.push_str(before);
            let (inside, after) = after.split_once('}').ok_or("has a '${' without '}'")?;
            let (name, default) = match inside.split_once(":-") {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (inside, None),
            };
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Hole(Hole { name: name.to_owned(), default }));
            rest = after;
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Self(parts))
    }

    /// This very text, without places.
    pub fn of_text(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// The places to be filled, in their order.
    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Hole(hole) => Some(hole),
        })
    }

    /// The text with each place filled with what `value` knows, else with its default.
    ///
    /// # Errors
    /// The first place that has neither.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, &Hole> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole(hole) => {
                    let known = value(&hole.name).filter(|value| hole.default.is_none() || !value.is_empty());
                    out.push_str(&known.or_else(|| hole.default.clone()).ok_or(hole)?);
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_or_take_their_default() {
        let value = |name: &str| match name {
            "name" => Some("web".to_owned()),
            "empty" => Some(String::new()),
            "tricky" => Some("${name}".to_owned()),
            _ => None,
        };
        for (text, filled) in [
            ("/s/${name}/${name}", "/s/web/web"),
            ("${kv:a/b:-4096}", "4096"),
            ("${empty:-x}${empty}", "x"),
            ("$${name} $x {", "${name} $x {"),
            ("${tricky}", "${name}"),
            ("", ""),
        ] {
            assert_eq!(Pattern::parse(text).unwrap().fill(value).unwrap(), filled, "{text}");
        }
        let unknown = Pattern::parse("${none}").unwrap();
        assert_eq!(unknown.fill(value).unwrap_err().name, "none");
        assert!(Pattern::parse("${a").is_err());
    }
}
