//! A line for people: no longer than the terminal is wide, and its state in colour.

use super::terminal::Screen;

/// One line, with the state that it tells.
pub(super) struct Line {
    pub(super) before: String,
    pub(super) state: String,
    pub(super) after: String,
}

impl Line {
    pub(super) fn plain(text: String) -> Self {
        Self { before: text, state: String::new(), after: String::new() }
    }

    /// In a list: no more of it than fits.
    pub(super) fn cut(&self, screen: Screen) -> String {
        let whole = self.whole();
        match screen.width.filter(|width| whole.chars().count() > *width) {
            Some(width) => {
                let mut cut: String = whole.chars().take(width.saturating_sub(1)).collect();
                cut.push('…');
                self.coloured(cut, screen)
            }
            None => self.coloured(whole, screen),
        }
    }

    /// Where it is what was asked for: all of it, over several lines if need be; those behind the first begin with `hang`
    /// spaces.
    pub(super) fn wrapped(&self, hang: usize, screen: Screen) -> String {
        let mut rest = self.whole();
        let Some(width) = screen.width.filter(|width| *width > 20) else {
            return self.coloured(rest, screen);
        };
        let hang = hang.min(width / 2);
        let mut lines = Vec::new();
        while let Some(at) = end_of_line(&rest, width, hang) {
            let next = format!("{:hang$}{}", "", rest.get(at..).unwrap_or_default().trim_start());
            rest.truncate(at);
            lines.push(rest.trim_end().to_owned());
            rest = next;
        }
        lines.push(rest);
        let first = lines.remove(0);
        let first = self.coloured(first, screen);
        std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n")
    }

    fn whole(&self) -> String {
        let Self { before, state, after } = self;
        format!("{before}{state}{after}")
    }

    /// `shown`, which is the beginning of it, with the state in its colour (ECMA-48).
    fn coloured(&self, shown: String, screen: Screen) -> String {
        let Self { before, state, after: _ } = self;
        let rest = shown.strip_prefix(before.as_str()).and_then(|rest| rest.strip_prefix(state.as_str()));
        match (rest, colour_of(state.trim_end()).filter(|_| screen.colour)) {
            (Some(rest), Some(number)) => format!("{before}\x1b[{number}m{state}\x1b[0m{rest}"),
            (_, _) => shown,
        }
    }
}

/// Where a text that is longer than a line is to be broken, in bytes: at the last space that leaves something, else where the
/// line ends.
fn end_of_line(text: &str, width: usize, hang: usize) -> Option<usize> {
    let (end, _) = text.char_indices().nth(width)?;
    let (first, _) = text.char_indices().nth(hang)?;
    let line = text.get(..end)?;
    let is_whole = text.get(end..)?.starts_with(' ');
    let space = line
        .rfind(' ')
        .filter(|space| *space > first && !line.get(first..*space).is_none_or(|part| part.trim().is_empty()));
    if is_whole { Some(end) } else { space.or(Some(end)) }
}

fn colour_of(state: &str) -> Option<u8> {
    match state {
        "" => None,
        "serving" | "serves" | "up" | "runtime" | "reload" | "news" => Some(32),
        "refused" | "down" | "failed" => Some(31),
        _ => Some(33),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: usize, colour: bool) -> Screen {
        Screen { colour, width: Some(width), height: None }
    }

    fn line(after: &str) -> Line {
        Line { before: "web  ".into(), state: "down".into(), after: after.into() }
    }

    #[test]
    fn what_is_cut_keeps_its_colour() {
        let cut = line(": its check fails for a long time").cut(screen(20, true));
        assert_eq!(cut, "web  \x1b[31mdown\x1b[0m: its chec…");
        assert_eq!(line(": x").cut(screen(20, false)), "web  down: x");
        assert_eq!(line("").cut(screen(7, true)), "web  d…");
    }

    #[test]
    fn what_is_wrapped_loses_nothing_and_is_broken_at_spaces() {
        let wrapped = line(": its check fails since this morning").wrapped(5, screen(26, true));
        assert_eq!(wrapped, "web  \x1b[31mdown\x1b[0m: its check fails\n     since this morning");
        let long = "x".repeat(50);
        let wrapped = line(&format!(" {long} y")).wrapped(5, screen(24, false));
        let all: String = wrapped.split_whitespace().collect();
        assert_eq!(all, format!("webdown{long}y"));
        assert!(wrapped.lines().all(|line| line.chars().count() <= 24), "{wrapped}");
        let exact = Line::plain("1234567890 1234567890 next".into()).wrapped(2, screen(21, false));
        assert_eq!(exact, "1234567890 1234567890\n  next");
        assert_eq!(line(": all of it").wrapped(5, Screen::default()), "web  down: all of it");
    }
}
