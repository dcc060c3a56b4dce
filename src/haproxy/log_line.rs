//! What `HAProxy` prints, told by its level.

/// The level `HAProxy` gives a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `[DEBUG]`.
    Debug,
    /// `[NOTICE]`, `[INFO]`, and lines without a level (its log on stdout).
    Notice,
    /// `[WARNING]`.
    Warning,
    /// `[ALERT]` and worse.
    Alert,
}

/// Takes `[LEVEL]`, the padding and `(pid) : ` off a line. A line without them is a plain [`LogLevel::Notice`].
///
/// Seen in 2.6 to 3.4: `[NOTICE]   (1234) : haproxy version is ...`. A line that begins with blanks continues the one before.
pub fn parse_log_line(line: &str) -> (LogLevel, &str) {
    levelled(line).unwrap_or((LogLevel::Notice, line.trim_end()))
}

fn levelled(line: &str) -> Option<(LogLevel, &str)> {
    let (level, rest) = line.strip_prefix('[')?.split_once(']')?;
    let level = match level {
        "DEBUG" | "DIAG" => LogLevel::Debug,
        "NOTICE" | "INFO" => LogLevel::Notice,
        "WARNING" => LogLevel::Warning,
        "ALERT" | "CRIT" | "EMERG" | "ERR" => LogLevel::Alert,
        _ => return None,
    };
    let (pid, text) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    Some((level, text.trim_start().strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_level_and_the_pid_are_taken_off() {
        for (line, level, text) in [
            ("[NOTICE]   (15617) : haproxy version is 2.6.12", LogLevel::Notice, "haproxy version is 2.6.12"),
            ("[WARNING]  (1) : Server be/s3 is DOWN.", LogLevel::Warning, "Server be/s3 is DOWN."),
            ("[ALERT]    (1) : config : parsing [a:1] : x", LogLevel::Alert, "config : parsing [a:1] : x"),
            ("[EMERG]    (1) : gone", LogLevel::Alert, "gone"),
            ("[DEBUG]    (1) : d", LogLevel::Debug, "d"),
        ] {
            assert_eq!(parse_log_line(line), (level, text));
        }
    }

    #[test]
    fn other_lines_stay_as_they_are() {
        for line in [
            "",
            "Configuration file is valid",
            "[x]",
            "[ALERT] no pid",
            "   | continued",
            "[::1]:80 connected",
            "[ALERT] (x) : y",
        ] {
            assert_eq!(parse_log_line(line), (LogLevel::Notice, line));
        }
    }

    proptest! {
        #[test]
        fn any_line_has_a_level(line in "(\\[[A-Z]{0,6}\\] *\\(?[0-9]*\\)? ?:?)?.*") {
            let (_, text) = parse_log_line(&line);
            prop_assert!(line.contains(text));
        }
    }
}
