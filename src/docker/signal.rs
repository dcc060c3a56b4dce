//! Numbers of signals, as Docker writes them.

/// What the C library keeps for itself lies below (signal(7)).
const FIRST_REALTIME: u8 = 34;
const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;
const LAST: u8 = 64;

/// The names that stop a program somewhere.
const NAMES: [(&str, u8); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("KILL", SIGKILL),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", SIGTERM),
    ("PWR", 30),
    ("WINCH", 28),
];

/// A signal (signal(7), Linux on x86 and ARM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signal(u8);

impl Signal {
    /// Reads `15`, `TERM`, `SIGTERM` or `SIGRTMIN+3`; `None` for what is no signal.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("SIG").unwrap_or(text);
        let realtime = |text: &str| text.parse::<u8>().ok()?.checked_add(FIRST_REALTIME);
        let number = match bare.strip_prefix("RTMIN") {
            Some("") => Some(FIRST_REALTIME),
            Some(more) => more.strip_prefix('+').and_then(realtime),
            None => NAMES.iter().find(|(name, _)| *name == bare).map(|(_, number)| *number),
        };
        number.or_else(|| bare.parse().ok()).filter(|number| (1..=LAST).contains(number)).map(Self)
    }

    /// Whether a container whose stop signal is `own` is about to end by this one: it is its own, or one that is sent to end a
    /// program and nothing else.
    pub(super) fn stops(self, own: Option<Self>) -> bool {
        self.0 == SIGKILL || self.0 == SIGTERM || Some(self) == own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_each_form_that_docker_takes() {
        for (text, number) in
            [("15", 15), ("SIGTERM", 15), ("QUIT", 3), ("SIGRTMIN+3", 37), ("RTMIN", 34), ("WINCH", 28)]
        {
            assert_eq!(Signal::parse(text), Some(Signal(number)), "{text}");
        }
        for text in ["", "0", "65", "-1", "SIGFOO", "RTMIN+200", "RTMIN-1"] {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_reload_is_no_stop_but_a_containers_own_signal_is() {
        let signal = |text| Signal::parse(text).unwrap();
        assert!(signal("TERM").stops(None) && signal("9").stops(Some(signal("QUIT"))));
        assert!(signal("QUIT").stops(Some(signal("QUIT"))));
        assert!(!signal("HUP").stops(None) && !signal("QUIT").stops(Some(signal("TERM"))));
    }
}
