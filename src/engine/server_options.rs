//! Words that a server's own node adds to its `server` line.
//!
//! Whoever may write a node may write these, and one wrong word makes `HAProxy` refuse the whole file. So only words are
//! taken that neither a mode nor a version makes `HAProxy` refuse, and none that reads files or refers to something else.
//! Source: configuration manual, 5.2 "Server and default-server options".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::printable::printable;
use super::server::Weight;

/// What a node's words say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeWords {
    /// `weight N`.
    pub weight: Option<Weight>,
    /// `backup`.
    pub backup: bool,
    /// All others.
    pub options: Option<ServerOptions>,
}

/// Options of one server, each once and sorted, without `weight` and `backup`, which are values of their own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerOptions(Arc<str>);

/// Why a text can't be taken as options of one server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerOptionsError {
    /// Longer than [`ServerOptions::MAX_BYTES`].
    #[error("{0} bytes of options; at most {max} are taken", max = ServerOptions::MAX_BYTES)]
    TooLong(usize),
    /// Not in the list.
    #[error("the option '{0}' can't be set by a node; write it into the service's server_options")]
    Unknown(String),
    /// Its value is missing or wrong.
    #[error("the option '{word}' has the value '{found}'; {expected}")]
    Value {
        /// Which.
        word: &'static str,
        /// What follows it, printable.
        found: String,
        /// What may follow it.
        expected: &'static str,
    },
}

impl ServerOptionsError {
    /// What is wrong, without the words themselves.
    pub fn without_contents(&self) -> String {
        match self {
            Self::TooLong(_) => self.to_string(),
            Self::Unknown(_) => {
                "one of the options can't be set by a node; write it into the service's server_options"
                    .to_owned()
            }
            Self::Value { word, found: _, expected } => format!("the option '{word}': {expected}"),
        }
    }
}

#[derive(Clone, Copy)]
enum Argument {
    None,
    Weight,
    Port,
    /// A number of 1 or more.
    Count,
    /// A number of 0 or more.
    Limit,
    Time,
    Cookie,
    Fixed(&'static str),
}

const KEYWORDS: [(&str, Argument); 21] = [
    ("backup", Argument::None),
    ("check", Argument::None),
    ("check-send-proxy", Argument::None),
    ("cookie", Argument::Cookie),
    ("downinter", Argument::Time),
    ("fall", Argument::Count),
    ("fastinter", Argument::Time),
    ("inter", Argument::Time),
    ("maxconn", Argument::Limit),
    ("maxqueue", Argument::Limit),
    ("minconn", Argument::Limit),
    ("no-check", Argument::None),
    ("non-stick", Argument::None),
    ("on-marked-down", Argument::Fixed("shutdown-sessions")),
    ("on-marked-up", Argument::Fixed("shutdown-backup-sessions")),
    ("port", Argument::Port),
    ("rise", Argument::Count),
    ("send-proxy", Argument::None),
    ("send-proxy-v2", Argument::None),
    ("slowstart", Argument::Time),
    ("weight", Argument::Weight),
];

impl ServerOptions {
    /// The longest text taken, in bytes.
    pub const MAX_BYTES: usize = 1000;
    /// The most words there can be, each option once.
    pub const MAX_WORDS: usize = 31;

    /// The words, free of quotes, escapes, comments and variables.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ')
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NodeWords {
    /// Checks `text` word by word. As in `HAProxy` the last of two equal words counts, and their order makes no difference.
    ///
    /// # Errors
    /// The first word that can't be taken.
    pub fn parse(text: &str) -> Result<Self, ServerOptionsError> {
        if text.len() > ServerOptions::MAX_BYTES {
            return Err(ServerOptionsError::TooLong(text.len()));
        }
        let mut read = Self::default();
        let mut options = BTreeMap::new();
        let mut words = text.split_ascii_whitespace();
        while let Some(word) = words.next() {
            let known = KEYWORDS.iter().find(|(known, _)| *known == word);
            let Some((word, argument)) = known else {
                return Err(ServerOptionsError::Unknown(printable(word)));
            };
            let value = if matches!(argument, Argument::None) {
                None
            } else {
                Some(argument.read(word, words.next().unwrap_or_default())?)
            };
            match (*word, value) {
                ("backup", _) => read.backup = true,
                ("weight", Some(weight)) => read.weight = weight.parse().ok().and_then(Weight::new),
                ("no-check", _) => drop(options.insert("check", "no-check".to_owned())),
                (word, None) => drop(options.insert(word, word.to_owned())),
                (word, Some(value)) => drop(options.insert(word, format!("{word} {value}"))),
            }
        }
        let options: Vec<_> = options.into_values().collect();
        read.options = (!options.is_empty()).then(|| ServerOptions(options.join(" ").into()));
        Ok(read)
    }
}

impl Argument {
    fn read(self, word: &'static str, text: &str) -> Result<String, ServerOptionsError> {
        let number = |least: u32, most: u32| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|number| digits && (least..=most).contains(number))
        };
        let plain = |number: Option<u32>| number.map(|number| number.to_string());
        let (value, expected) = match self {
            Self::None => (Some(String::new()), "it takes none"),
            Self::Weight => (plain(number(0, Weight::MAX.into())), "it takes 0 to 256"),
            Self::Port => (plain(number(1, u16::MAX.into())), "it takes 1 to 65535"),
            Self::Count => (plain(number(1, MOST)), "it takes a whole number from 1"),
            Self::Limit => (plain(number(0, MOST)), "it takes a whole number"),
            Self::Time => (time(text), "it takes a time such as 500ms, 2s or 1m"),
            Self::Cookie => {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
                let good = !text.is_empty() && text.chars().all(allowed);
                (good.then(|| text.to_owned()), "it takes letters, digits and -_.:")
            }
            Self::Fixed(only) => {
                ((text == only).then(|| only.to_owned()), "it takes the one value of HAProxy's manual")
            }
        };
        value.ok_or_else(|| ServerOptionsError::Value { word, found: printable(text), expected })
    }
}

const MOST: u32 = i32::MAX.unsigned_abs();

/// A time of 1 ms to 2^31 ms, always with its unit: `HAProxy` from 3.2 on refuses some without.
fn time(text: &str) -> Option<String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let (unit, milliseconds) = match unit {
        "" | "ms" => ("ms", 1),
        "s" => ("s", 1000),
        "m" => ("m", 60_000),
        "h" => ("h", 3_600_000),
        "d" => ("d", 86_400_000),
        _other => return None,
    };
    let number: u32 = number.parse().ok()?;
    let total = number.checked_mul(milliseconds)?;
    (1..=MOST).contains(&total).then(|| format!("{number}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_and_backup_are_values_and_the_rest_is_written_canonically() {
        let read = NodeWords::parse(" check  inter 2000 weight 7 backup\tmaxconn 010 cookie i-1_a weight 9")
            .unwrap();
        assert_eq!((read.weight, read.backup), (Weight::new(9), true));
        assert_eq!(read.options.unwrap().to_string(), "check cookie i-1_a inter 2000ms maxconn 10");
        let options = |text| NodeWords::parse(text).unwrap().options;
        assert_eq!(options("no-check fall 3 check fall 2"), options("fall 2 check"));
        assert_eq!(options("check no-check").unwrap().to_string(), "no-check");
        assert_eq!(NodeWords::parse("").unwrap(), NodeWords::default());
        assert_eq!(NodeWords::parse("weight 0").unwrap().options, None);
    }

    #[test]
    fn what_could_break_or_leave_the_line_is_refused_by_name() {
        for (text, reason) in [
            ("bogus", "the option 'bogus' can't be set by a node"),
            ("check # x", "the option '#'"),
            ("check\nlisten evil", "the option 'listen'"),
            ("\"check\"", "the option '\"check\"'"),
            ("ca-file /etc/shadow", "the option 'ca-file'"),
            ("id 5", "the option 'id'"),
            ("cookie ${HOME}", "'cookie' has the value '${HOME}'"),
            ("cookie a;b", "'cookie' has the value 'a;b'"),
            ("cookie", "'cookie' has the value ''"),
            ("weight 257", "it takes 0 to 256"),
            ("weight +5", "it takes 0 to 256"),
            ("port 0", "it takes 1 to 65535"),
            ("rise 0", "from 1"),
            ("inter 0", "a time such as"),
            ("inter 30d", "a time such as"),
            ("inter 5x", "a time such as"),
            ("maxconn 2147483648", "whole number"),
            ("on-marked-down x", "the one value"),
        ] {
            let error = NodeWords::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        assert_eq!(NodeWords::parse(&"check ".repeat(200)), Err(ServerOptionsError::TooLong(1200)));
    }
}
