//! What a registry's answer may do to the servers of a service.
//!
//! An empty answer, or one that lacks most of the servers, is more often a fault of the registry than the truth.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::moment::Moment;
use super::server::{Server, ServerName};

/// The servers of a service, by name.
pub type Servers = BTreeMap<ServerName, Server>;

/// A loss of fewer servers than this is never held: it is an ordinary scale-down.
const FEWEST_HELD: usize = 4;

/// The rules of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OutageRules {
    /// What an empty answer does.
    pub on_empty: OnEmpty,
    /// The largest part of the servers that may leave at once.
    pub max_shrink: Percent,
    /// How long a larger loss must last before it is believed.
    pub shrink_hold: Duration,
}

/// What an empty answer of a registry does to a service that had servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnEmpty {
    /// The last servers stay.
    Keep,
    /// They leave, once the loss has lasted for `shrink_hold`.
    Drain,
}

/// 0 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u8);

impl Percent {
    /// 75 percent.
    pub const THREE_QUARTERS: Self = Self(75);

    /// A part of 0 to 100 percent; `None` beyond.
    pub const fn new(percent: u8) -> Option<Self> {
        if percent <= 100 { Some(Self(percent)) } else { None }
    }

    /// Reads `75%`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.parse().ok()).and_then(Self::new);
        number.ok_or_else(|| "is no part in percent; write 0% to 100%".to_owned())
    }
}

/// What a service's definition says instead of the rules for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OwnOutageRules {
    /// Instead of [`OutageRules::on_empty`].
    pub on_empty: Option<OnEmpty>,
    /// Instead of [`OutageRules::max_shrink`].
    pub max_shrink: Option<Percent>,
    /// Instead of [`OutageRules::shrink_hold`].
    pub shrink_hold: Option<Duration>,
}

impl OwnOutageRules {
    /// These rules, and those of `all` where they say nothing.
    pub fn or(self, all: OutageRules) -> OutageRules {
        OutageRules {
            on_empty: self.on_empty.unwrap_or(all.on_empty),
            max_shrink: self.max_shrink.unwrap_or(all.max_shrink),
            shrink_hold: self.shrink_hold.unwrap_or(all.shrink_hold),
        }
    }
}

/// A loss that is not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLoss {
    /// When it is believed, if it lasts.
    pub until: Moment,
    /// How many servers are missing in the answer and kept.
    pub missing: usize,
    answer: Arc<Servers>,
}

/// What becomes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// These are the servers now.
    Take(Arc<Servers>),
    /// These stay: the answer is empty.
    KeepThoughEmpty(Arc<Servers>),
    /// The missing ones stay for now; whatever else the answer says holds.
    Hold(Arc<Servers>, HeldLoss),
}

impl OutageRules {
    /// Judges `answer`, with what was believed before, the most that were believed a moment ago, and a loss held already.
    ///
    /// A loss that comes in pieces is one: a registry tells of each node that it lost by itself. Servers that were
    /// replaced by as many others are no loss, whether one by one or all at once.
    pub fn judge(
        self,
        before: &Arc<Servers>,
        recent: &Arc<Servers>,
        held: Option<&HeldLoss>,
        answer: Servers,
        now: Moment,
    ) -> Ruling {
        // Those kept by a hold are part of what was believed.
        let missing = missing_in(before, &answer);
        let most = if recent.len() > before.len() { recent } else { before };
        let too_much = self.is_too_much(most.len().saturating_sub(answer.len()), most.len());
        let before = if too_much { most } else { before };
        if answer.is_empty() && missing > 0 && self.on_empty == OnEmpty::Keep {
            return Ruling::KeepThoughEmpty(before.clone());
        }
        // What comes back comes in pieces too: the rest of a loss that is held stays.
        let still_held = missing > 0 && held.is_some();
        if !too_much && !still_held {
            return Ruling::Take(Arc::new(answer));
        }
        let until = held.map_or(now + self.shrink_hold, |held| held.until);
        let answer = Arc::new(answer);
        if until <= now {
            return Ruling::Take(answer);
        }
        let mut kept = Servers::clone(before);
        kept.extend(answer.iter().map(|(name, server)| (name.clone(), server.clone())));
        let missing = missing_in(before, &answer);
        Ruling::Hold(Arc::new(kept), HeldLoss { until, missing, answer })
    }

    fn is_too_much(self, missing: usize, before: usize) -> bool {
        missing >= FEWEST_HELD && missing * 100 > before * usize::from(self.max_shrink.0)
    }
}

fn missing_in(before: &Servers, answer: &Servers) -> usize {
    before.keys().filter(|name| !answer.contains_key(*name)).count()
}

impl HeldLoss {
    /// Whether the answer lacks it, so that it stays only because of the hold.
    pub fn lacks(&self, server: &ServerName) -> bool {
        !self.answer.contains_key(server)
    }

    /// The servers once the loss is believed.
    pub fn believed(&self) -> Arc<Servers> {
        self.answer.clone()
    }
}

impl OnEmpty {
    /// The words of proxymgr.yml and of definitions.
    pub const WORDS: [(&str, Self); 2] = [("keep", Self::Keep), ("drain", Self::Drain)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::server;

    const RULES: OutageRules = OutageRules {
        on_empty: OnEmpty::Keep,
        max_shrink: Percent(75),
        shrink_hold: Duration::from_secs(30),
    };

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    fn servers(hosts: impl IntoIterator<Item = u8>) -> Servers {
        let servers = hosts.into_iter().map(|host| server(&format!("10.0.0.{host}:80")));
        servers.map(|server| (server.name(), server)).collect()
    }

    #[test]
    fn an_ordinary_scale_down_is_taken_at_once() {
        for (before, after) in [(0..8, 0..2), (0..4, 0..1), (0..3, 0..1)] {
            let answer = servers(after);
            let ruling = RULES.judge(
                &Arc::new(servers(before.clone())),
                &Arc::new(servers(before)),
                None,
                answer.clone(),
                at(0),
            );
            assert_eq!(ruling, Ruling::Take(Arc::new(answer)));
        }
    }

    #[test]
    fn a_large_loss_is_held_while_new_servers_come_in_and_taken_when_it_lasts() {
        let before = Arc::new(servers(0..9));
        let Ruling::Hold(kept, held) = RULES.judge(&before, &before, None, servers(8..10), at(0)) else {
            panic!("not held")
        };
        assert_eq!((kept.len(), held.missing, held.until), (10, 8, at(30)));
        let Ruling::Hold(_, still) = RULES.judge(&kept, &kept, Some(&held), servers(7..9), at(20)) else {
            panic!("not held")
        };
        assert_eq!(still.until, at(30), "another answer does not begin the wait anew");
        assert_eq!(still.believed(), Arc::new(servers(7..9)));
        assert_eq!(
            RULES.judge(&kept, &kept, Some(&still), servers(7..9), at(30)),
            Ruling::Take(Arc::new(servers(7..9)))
        );
    }

    #[test]
    fn a_loss_that_is_made_good_is_forgotten_and_what_is_still_missing_waits_on() {
        let before = Arc::new(servers(0..8));
        let Ruling::Hold(kept, held) = RULES.judge(&before, &before, None, servers(0..1), at(0)) else {
            panic!("not held")
        };
        let Ruling::Hold(kept, held) = RULES.judge(&kept, &kept, Some(&held), servers(0..7), at(5)) else {
            panic!("let go")
        };
        assert_eq!((kept.len(), held.missing, held.until), (8, 1, at(30)));
        assert_eq!(
            RULES.judge(&kept, &kept, Some(&held), servers(0..8), at(6)),
            Ruling::Take(Arc::new(servers(0..8)))
        );
    }

    #[test]
    fn a_loss_in_pieces_is_one_loss_but_a_replacement_in_pieces_or_at_once_is_none() {
        let (recent, before) = (Arc::new(servers(0..8)), Arc::new(servers(0..5)));
        let Ruling::Hold(kept, held) = RULES.judge(&before, &recent, None, servers(0..1), at(0)) else {
            panic!("not held")
        };
        assert_eq!((kept, held.missing), (recent.clone(), 7));
        let replaced = servers(20..28);
        let before = Arc::new(servers(18..26));
        assert_eq!(
            RULES.judge(&before, &recent, None, replaced.clone(), at(0)),
            Ruling::Take(Arc::new(replaced.clone()))
        );
        assert_eq!(
            RULES.judge(&recent, &recent, None, replaced.clone(), at(0)),
            Ruling::Take(Arc::new(replaced))
        );
    }

    #[test]
    fn an_empty_answer_keeps_the_servers_or_is_held() {
        let before = Arc::new(servers(0..8));
        assert_eq!(
            RULES.judge(&before, &before, None, servers([]), at(0)),
            Ruling::KeepThoughEmpty(before.clone())
        );
        let drain = OutageRules { on_empty: OnEmpty::Drain, ..RULES };
        assert!(matches!(drain.judge(&before, &before, None, servers([]), at(0)), Ruling::Hold(_, _)));
        let few = Arc::new(servers(0..2));
        assert_eq!(drain.judge(&few, &few, None, servers([]), at(0)), Ruling::Take(Arc::new(servers([]))));
    }
}
