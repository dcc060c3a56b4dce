//! `${VARIABLE}` and `${VARIABLE:-default}` inside values.
//!
//! The rules are the shell's: the default stands in for a variable that is unset or empty, and ends at the first
//! `}`. `$${` is a literal `${`; a lone `$` is itself. Some values hold places of their own, to be filled later: `${name}` or
//! `${meta.port}` in a template, `${kv:path}` in a line.

use super::error::{ConfigError, Position};

/// What means something to YAML and may stand in `${...}`.
const SPECIAL: [char; 7] = ['{', '}', ',', '[', ']', ':', '#'];
/// Stand-ins, one each: noncharacters, which no text holds (Unicode, 23.7).
const MASKS: [char; 7] = ['\u{FDD0}', '\u{FDD1}', '\u{FDD2}', '\u{FDD3}', '\u{FDD4}', '\u{FDD5}', '\u{FDD6}'];

/// Hides the special characters of each variable from the YAML parser, so that `{key: ${NAME}}` needs no quotes.
/// Lines and columns stay the same.
pub(super) fn mask_variables(text: &str) -> Result<String, ConfigError> {
    let mut masked = String::with_capacity(text.len());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(index) = line.chars().position(|c| MASKS.contains(&c)) {
            return Err(ConfigError {
                position: Some(Position { line: number + 1, column: index + 1 }),
                path: String::new(),
                message: "a character that is none (Unicode noncharacter); remove it".to_owned(),
            });
        }
        let mut rest = line;
        while let Some((before, variable, after)) = next_variable(rest) {
            masked.push_str(before);
            masked.extend(variable.chars().map(|c| exchange(c, &SPECIAL, &MASKS)));
            rest = after;
        }
        masked.push_str(rest);
    }
    Ok(masked)
}

/// Undoes [`mask_variables`].
pub(super) fn unmask_variables(text: &str) -> String {
    text.chars().map(|c| exchange(c, &MASKS, &SPECIAL)).collect()
}

fn exchange(c: char, from: &[char], to: &[char]) -> char {
    from.iter().zip(to).find_map(|(from, to)| (*from == c).then_some(*to)).unwrap_or(c)
}

/// Splits `text` around its first well-formed `${...}`.
fn next_variable(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find("${")?;
        let inside = text.get(start + 2..)?;
        let end = inside.find('}')?;
        if is_place(inside.get(..end)?) {
            let (before, rest) = text.split_at(start);
            let (variable, after) = rest.split_at(end + 3);
            return Some((before, variable, after));
        }
        from = start + 2;
    }
}

/// Whether it is a variable or a place that is filled later.
fn is_place(inside: &str) -> bool {
    let name = inside.split_once(":-").map_or(inside, |(name, _default)| name);
    let later = |c: char| c.is_ascii_alphanumeric() || "_.:/@+%=~-".contains(c);
    split_default(inside).is_some()
        || name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(later)
}

/// `NAME` or `NAME:-default`; `None` when the name is none.
fn split_default(inside: &str) -> Option<(&str, Option<&str>)> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = name.starts_with(|c: char| letter(c) && !c.is_ascii_digit()) && name.chars().all(letter);
    named.then_some((name, default))
}

/// Which places are left as they stand, by what is written before their default.
pub(super) type Later = fn(&str) -> bool;

/// `text` with its variables replaced; what comes from the environment is not looked at again. With `later` what it names stays
/// as it stands, `$${` too, and what is put in place of a variable gets one.
///
/// # Errors
/// A message that names the variable, never its value.
pub(super) fn substitute(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    later: Option<Later>,
) -> Result<String, String> {
    let escape = if later.is_some() { "$${" } else { "${" };
    let put = |value: &str| if later.is_some() { value.replace("${", "$${") } else { value.to_owned() };
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            replaced.push_str(literal);
            replaced.push_str(escape);
            rest = after;
            continue;
        }
        replaced.push_str(before);
        let place = after.split_once('}').map(|(inside, _)| inside);
        let place = place.filter(|inside| {
            let name = inside.split_once(":-").map_or(*inside, |(name, _default)| name);
            later.is_some_and(|later| later(name))
        });
        if let Some((inside, after)) = place.and(after.split_once('}')) {
            replaced.extend(["${", inside, "}"]);
            rest = after;
            continue;
        }
        let (inside, after) = after
            .split_once('}')
            .ok_or("'${' has no '}'; write ${VARIABLE} or ${VARIABLE:-default}, or $${ for a literal ${")?;
        let (name, default) = split_default(inside).ok_or(
            "'${...}' holds no name of a variable; write ${VARIABLE} or ${VARIABLE:-default}, or $${ for a literal ${",
        )?;
        if default.is_some_and(|default| default.contains("${")) {
            return Err(format!("the default of ${{{name}:-...}} can't hold another variable"));
        }
        match (env(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => replaced.push_str(&put(&value)),
            (None, Some(default)) => replaced.push_str(default),
            (None, None) => {
                return Err(format!(
                    "the environment variable {name} is not set; set it or write ${{{name}:-default}}"
                ));
            }
        }
        rest = after;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("zk1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_by_the_shells_rules() {
        for (text, expected) in [
            ("${HOST}:2181", "zk1:2181"),
            ("${HOST}${HOST}", "zk1zk1"),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${UNSET:-}", ""),
            ("$HOST $ {HOST} $", "$HOST $ {HOST} $"),
            ("$${HOST} ${HOST}", "${HOST} zk1"),
            ("${NESTED}", "${HOST}"),
        ] {
            assert_eq!(substitute(text, &env, None).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn places_that_are_filled_later_stay_and_nothing_else_becomes_one() {
        let later: Later = |name| name == "name" || name.starts_with("kv:");
        let given = |name: &str| if name == "EVIL" { Some("${name}".to_owned()) } else { env(name) };
        for (text, left) in [
            ("${name} ${HOST} ${kv:a/b:-x}", "${name} zk1 ${kv:a/b:-x}"),
            ("$${name}", "$${name}"),
            ("${EVIL} ${UNSET:-$}", "$${name} $"),
        ] {
            assert_eq!(substitute(text, &given, Some(later)).as_deref(), Ok(left), "{text}");
        }
        assert!(substitute("${kv:a}", &env, None).is_err());
        assert!(
            mask_variables("{a: ${meta.port}, b: ${kv:a/b:-4}}").is_ok_and(|masked| !masked.contains("${"))
        );
    }

    #[test]
    fn masking_keeps_every_column_and_comes_back_whole() {
        let text = "a: {b: ${X:-[1],{2}, c: $${Y}}\nd: ${not a name} ${Z}\n";
        let masked = mask_variables(text).unwrap();
        assert_eq!(masked.chars().count(), text.chars().count());
        assert_eq!(masked.matches('{').count(), 2);
        assert_eq!(unmask_variables(&masked), text);
    }
}
