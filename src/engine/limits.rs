//! What a configuration needs of open files and memory, against what there is: told before it runs out, and planned for.
//!
//! Measured with 2.6, 3.0, 3.2 and 3.4 (`Maxsock` of `show info`, resident memory). A process reserves, when it starts, two files
//! for each client of `maxconn`, one for each listen socket and for each checked server, three for each thread and 20 more. Without
//! `maxconn` it takes what the limit leaves for clients, 100 at least.

use super::option_line::OptionLine;
use super::section::Base;
use super::size::Size;

/// Files that a process needs for itself.
const OWN_FILES: u64 = 20;
const FILES_OF_A_THREAD: u64 = 3;
/// Its runtime socket and the operators'.
const RUNTIME_SOCKETS: u64 = 2;
const FILES_OF_A_CLIENT: u64 = 2;
/// What `HAProxy` lets in at least when it counts by itself.
const LEAST_CLIENTS: u64 = 100;
/// What `ProxyMgr` opens besides a listen socket for each address.
const FILES_OF_PROXYMGR: u64 = 64;
/// Resident memory, the most of all versions: a process without services, a section, a server, a client with both its buffers.
const MEMORY: u64 = 32 << 20;
const MEMORY_OF_A_SECTION: u64 = 27 << 10;
const MEMORY_OF_A_SERVER: u64 = 10 << 10;
const MEMORY_OF_A_CLIENT: u64 = 36 << 10;
/// During a reload there are two processes.
const PROCESSES: u64 = 2;
/// It is told from this share on.
const NEAR_PERCENT: u64 = 80;

/// What there is for one process, and for all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// `RLIMIT_NOFILE`, which each process has for itself; `None` when there is no limit.
    pub open_files: Option<u64>,
    /// Bytes of memory for all processes: the machine's, or less where a control group says so.
    pub memory: Option<u64>,
    /// The processors, which is how many threads `HAProxy` starts.
    pub processors: u64,
}

impl Resources {
    /// Enough of everything.
    pub const PLENTY: Self = Self { open_files: None, memory: None, processors: 1 };
}

/// What runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limited {
    /// Open files of `HAProxy`.
    Files,
    /// Open files of `ProxyMgr`.
    OwnFiles,
    /// Memory.
    Memory,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Degree {
    /// All fits, with little to spare.
    Near,
    /// Not all fits at a time.
    Over,
}

/// Something runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What.
    pub limited: Limited,
    /// How bad it is.
    pub degree: Degree,
    /// What to do, for people.
    pub text: String,
}

/// What follows for a process that holds so much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The clients that it may take at a time, where `maxconn` asks for more than there are files for: then the others wait
    /// to be accepted, and are not failed for want of a file.
    pub maxconn: Option<u32>,
    /// What runs out.
    pub warnings: Vec<Warning>,
}

impl Limits {
    /// For a process of `base` that holds `size`.
    pub fn of(size: Size, base: &Base, resources: Resources) -> Self {
        let mut limits = Self::default();
        if let Some(most) = resources.open_files {
            limits.files(size, base, resources.processors, most);
            let own = size.listen_sockets + FILES_OF_PROXYMGR;
            limits.warn(Limited::OwnFiles, own, most, || {
                format!("ProxyMgr needs some {own} of {most} open files for its {} listen sockets; raise its limit (ulimit -n, LimitNOFILE) before there are more services", size.listen_sockets)
            });
        }
        if let Some(most) = resources.memory {
            let (clients, process) = (maxconn(base).unwrap_or(0) * MEMORY_OF_A_CLIENT, memory(size));
            let needed = PROCESSES * process + clients;
            limits.warn(Limited::Memory, needed, most, || {
                let with_clients = if clients > 0 { format!(", {} MB of it when maxconn clients are connected", clients >> 20) } else { String::new() };
                format!("HAProxy may need {} of {} MB of memory during a reload{with_clients}; give it more, or lower maxconn", needed >> 20, most >> 20)
            });
        }
        limits
    }

    fn files(&mut self, size: Size, base: &Base, processors: u64, most: u64) {
        let fixed = files_without_clients(size, base, processors);
        let asked = maxconn(base);
        let clients = asked.unwrap_or(LEAST_CLIENTS);
        let needed = fixed + FILES_OF_A_CLIENT * clients;
        if asked.is_some() && needed > most {
            // Checks are seldom under way all at a time: half of what is left beside what is always open is for clients.
            let rest = most.saturating_sub(fixed - size.checked);
            let fits = rest.saturating_sub(size.checked).max(rest / 2) / FILES_OF_A_CLIENT;
            self.maxconn = Some(u32::try_from(fits.clamp(1, clients)).unwrap_or(u32::MAX));
        }
        let lowered = self.maxconn;
        self.warn(Limited::Files, needed, most, || {
            let needs = format!(
                "HAProxy needs {needed} open files ({clients} clients{}, {} checked servers, {} listen sockets) of {most}",
                if asked.is_some() { " by maxconn" } else { " at least" },
                size.checked,
                size.listen_sockets
            );
            let then = lowered.map_or_else(String::new, |lowered| format!("; it accepts {lowered} clients at a time instead"));
            let raise = needed * 100 / NEAR_PERCENT + 1;
            format!("{needs}{then}; raise its limit to {raise} or more (ulimit -n, LimitNOFILE)")
        });
    }

    fn warn(&mut self, limited: Limited, needed: u64, most: u64, text: impl FnOnce() -> String) {
        let degree = if needed > most { Degree::Over } else { Degree::Near };
        if needed.saturating_mul(100) >= most.saturating_mul(NEAR_PERCENT) {
            self.warnings.push(Warning { limited, degree, text: text() });
        }
    }
}

/// The files that a process, started with `loaded`, counts on for its clients. `None` when there is no limit.
pub fn files_of_clients(base: &Base, loaded: Size, limits: &Limits, resources: Resources) -> Option<u64> {
    let lowered = limits.maxconn.map(u64::from);
    if let Some(clients) = lowered.or_else(|| maxconn(base)) {
        return Some(clients * FILES_OF_A_CLIENT);
    }
    let fixed = files_without_clients(loaded, base, resources.processors);
    resources.open_files.map(|most| most.saturating_sub(fixed).max(LEAST_CLIENTS * FILES_OF_A_CLIENT))
}

fn files_without_clients(size: Size, base: &Base, processors: u64) -> u64 {
    let threads = number(base, "nbthread").unwrap_or(processors);
    size.listen_sockets + RUNTIME_SOCKETS + size.checked + threads * FILES_OF_A_THREAD + OWN_FILES
}

fn memory(size: Size) -> u64 {
    MEMORY + size.sections * MEMORY_OF_A_SECTION + size.servers * MEMORY_OF_A_SERVER
}

/// The user's `maxconn`; the first one counts.
fn maxconn(base: &Base) -> Option<u64> {
    number(base, "maxconn").filter(|clients| *clients > 0)
}

fn number(base: &Base, keyword: &str) -> Option<u64> {
    base.global.iter().filter(|line| line.keyword() == keyword).find_map(second_number)
}

fn second_number(line: &OptionLine) -> Option<u64> {
    line.words().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, line};

    fn with(lines: &[&str]) -> Base {
        Base { global: lines.iter().map(|text| line(text)).collect(), ..(*base()).clone() }
    }

    fn size(listen_sockets: u64, servers: u64, checked: u64) -> Size {
        Size { sections: listen_sockets, listen_sockets, servers, checked }
    }

    fn files(most: u64) -> Resources {
        Resources { open_files: Some(most), processors: 4, ..Resources::PLENTY }
    }

    #[test]
    fn files_are_counted_as_haproxy_counts_them() {
        // `Maxsock` of 2.6 to 3.4 with as many of each, with one runtime socket less.
        let maxsock = |maxconn: u64, threads: u64, sockets: u64, checked: u64| {
            let base = with(&[&format!("nbthread {threads}")]);
            files_without_clients(size(sockets, checked, checked), &base, 1) + FILES_OF_A_CLIENT * maxconn - 1
        };
        assert_eq!(maxsock(100, 1, 1, 0), 225);
        assert_eq!(maxsock(100, 64, 1, 0), 414);
        assert_eq!(maxsock(100, 4, 30, 0), 263);
        assert_eq!(maxsock(1000, 4, 1, 0), 2034);
        assert_eq!(maxsock(100, 4, 1, 5001), 5235);
    }

    #[test]
    fn a_maxconn_that_asks_for_too_many_files_is_lowered_to_what_fits() {
        let base = with(&["maxconn 4096"]);
        let of = |size, most| Limits::of(size, &base, files(most));
        assert_eq!(of(size(10, 100, 100), 20_000), Limits::default());
        let near = of(size(10, 100, 100), 10_000);
        assert_eq!((near.maxconn, near.warnings[0].degree), (None, Degree::Near));
        let over = of(size(10, 100, 100), 1024);
        // 1024 - (10 + 2 + 100 + 12 + 20), for two files each.
        assert_eq!((over.maxconn, over.warnings[0].degree), (Some(440), Degree::Over));
        let text = &over.warnings[0].text;
        assert!(
            text.contains("accepts 440 clients at a time") && text.contains("raise its limit to 10421"),
            "{text}"
        );
        // More checked servers than files: half of what is left without them is for clients all the same.
        assert_eq!(of(size(10, 5000, 5000), 1024).maxconn, Some(245));
        assert_eq!(of(size(900, 900, 0), 1024).maxconn, Some(45));
        assert_eq!(of(size(2000, 2000, 0), 1024).maxconn, Some(1));
    }

    #[test]
    fn without_maxconn_haproxy_counts_by_itself() {
        let of = |checked| Limits::of(size(10, checked, checked), &with(&[]), files(1024));
        assert_eq!(of(500), Limits::default());
        let near = of(700);
        assert_eq!((near.maxconn, near.warnings[0].degree), (None, Degree::Near));
        assert_eq!(of(900).warnings[0].degree, Degree::Over);
        assert_eq!(Limits::of(size(10, 9000, 9000), &with(&[]), Resources::PLENTY), Limits::default());
    }

    #[test]
    fn listen_sockets_and_memory_are_warned_of_too() {
        let many = Limits::of(size(800, 0, 0), &with(&["maxconn 10"]), files(1024));
        let limited: Vec<_> = many.warnings.iter().map(|warning| (warning.limited, warning.degree)).collect();
        assert_eq!(limited, [(Limited::Files, Degree::Near), (Limited::OwnFiles, Degree::Near)]);
        let memory = |most: u64| {
            let resources = Resources { memory: Some(most << 20), ..Resources::PLENTY };
            Limits::of(size(1000, 50_000, 0), &with(&["maxconn 1000"]), resources).warnings
        };
        // Twice 32 + 26 + 488 MB, and 35 MB for clients.
        assert!(memory(1500).is_empty());
        assert_eq!(memory(1200).first().map(|warning| warning.degree), Some(Degree::Near));
        let over = memory(1000);
        assert_eq!(over[0].degree, Degree::Over);
        assert!(over[0].text.contains("may need 1128 of 1000 MB"), "{}", over[0].text);
    }
}
