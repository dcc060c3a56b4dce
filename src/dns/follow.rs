//! Names that are asked again and again, for all who want to know.

use std::collections::{BTreeSet, HashMap};
use std::future::pending;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use super::error::DnsError;
use super::refresh::{Refresh, RefreshRules};
use super::resolver::{Asker, Kind, Nameservers, Records, SrvRecord};
use crate::engine::host_name::HostName;
use crate::panics::supervised;

/// What is known of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress<T> {
    /// The first answer is still to come.
    Asking,
    /// No question had an answer yet; they are repeated.
    Failed(DnsError),
    /// The last good answer, sorted; empty when there are no records.
    Known(T),
}

/// The names that are followed. Clones share them, and so do all who follow the same name.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<Lookups>>);

#[derive(Debug, Default)]
struct Lookups {
    askers: HashMap<Nameservers, Weak<Asker>>,
    running: HashMap<Question, Weak<Lookup>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    nameservers: Nameservers,
    name: HostName,
    kind: Kind,
    rules: RefreshRules,
}

/// The task that repeats one question; it ends with the last who wants to know.
#[derive(Debug)]
struct Lookup {
    answers: watch::Receiver<Progress<Records>>,
    task: AbortHandle,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A name that is followed; dropping it ends that.
#[derive(Debug)]
pub struct Followed<T> {
    first: Part,
    second: Option<Part>,
    read: fn(Records) -> T,
}

#[derive(Debug)]
struct Part {
    answers: watch::Receiver<Progress<Records>>,
    _lookup: Arc<Lookup>,
}

impl Names {
    /// Follows the IPv4 and IPv6 addresses of `name`. Call it inside a tokio runtime.
    pub fn addresses(
        &self,
        nameservers: &Nameservers,
        name: &HostName,
        rules: RefreshRules,
    ) -> Followed<BTreeSet<IpAddr>> {
        let [first, second] = [Kind::Ipv4, Kind::Ipv6].map(|kind| self.part(nameservers, name, kind, rules));
        Followed { first, second: Some(second), read: |records| records.addresses }
    }

    /// Follows the `SRV` records of `name`. Call it inside a tokio runtime.
    pub fn services(
        &self,
        nameservers: &Nameservers,
        name: &HostName,
        rules: RefreshRules,
    ) -> Followed<BTreeSet<SrvRecord>> {
        let first = self.part(nameservers, name, Kind::Srv, rules);
        Followed { first, second: None, read: |records| records.services }
    }

    fn part(&self, nameservers: &Nameservers, name: &HostName, kind: Kind, rules: RefreshRules) -> Part {
        let question = Question { nameservers: nameservers.clone(), name: name.clone(), kind, rules };
        let mut lookups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = lookups.get(question);
        Part { answers: lookup.answers.clone(), _lookup: lookup }
    }
}

impl Lookups {
    fn get(&mut self, question: Question) -> Arc<Lookup> {
        if let Some(running) = self.running.get(&question).and_then(Weak::upgrade) {
            return running;
        }
        self.running.retain(|_, lookup| lookup.strong_count() > 0);
        self.askers.retain(|_, asker| asker.strong_count() > 0);
        let asker = self.askers.get(&question.nameservers).and_then(Weak::upgrade).unwrap_or_else(|| {
            let asker = Arc::new(Asker::new(question.nameservers.clone()));
            self.askers.insert(question.nameservers.clone(), Arc::downgrade(&asker));
            asker
        });
        let (sender, answers) = watch::channel(Progress::Asking);
        let repeating =
            supervised("host name", (asker, question.clone(), sender), |(asker, question, sender)| {
                Box::pin(repeat(asker, question, sender))
            });
        let task = tokio::spawn(repeating).abort_handle();
        let lookup = Arc::new(Lookup { answers, task });
        self.running.insert(question, Arc::downgrade(&lookup));
        lookup
    }
}

async fn repeat(asker: &Asker, question: &Question, answers: &watch::Sender<Progress<Records>>) {
    let Question { nameservers: _, name, kind, rules } = question;
    let (mut refresh, dice) = (Refresh::new(*rules), RandomState::new());
    let mut failing: Option<DnsError> = None;
    for throw in 0_u64.. {
        let chance = dice.hash_one(throw);
        let wait = match asker.ask(name, *kind).await {
            Ok(answer) => {
                if failing.take().is_some() {
                    info!(%name, ?kind, "the name is answered again");
                }
                let known = Progress::Known(answer.records);
                answers.send_if_modified(|last| {
                    let differs = *last != known;
                    if differs {
                        *last = known;
                    }
                    differs
                });
                refresh.answered(answer.ttl, chance)
            }
            Err(error) => {
                if failing.as_ref() != Some(&error) {
                    warn!(%name, ?kind, %error, "the name is not answered; its last answer stays");
                }
                answers.send_if_modified(|last| {
                    let first = *last == Progress::Asking;
                    if first {
                        *last = Progress::Failed(error.clone());
                    }
                    first
                });
                failing = Some(error);
                refresh.failed(chance)
            }
        };
        sleep(wait).await;
    }
}

impl<T> Followed<T> {
    /// What is known now. Of a name with several questions: `Known` once each has been answered or has failed, with what
    /// those that were answered said.
    pub fn progress(&self) -> Progress<T> {
        let mut known: Option<Records> = None;
        let mut failure = None;
        for part in std::iter::once(&self.first).chain(&self.second) {
            match &*part.answers.borrow() {
                Progress::Asking => return Progress::Asking,
                Progress::Failed(error) => failure = Some(error.clone()),
                Progress::Known(records) => {
                    let known = known.get_or_insert_default();
                    known.addresses.extend(&records.addresses);
                    known.services.extend(records.services.iter().cloned());
                }
            }
        }
        match (known, failure) {
            (Some(known), _) => Progress::Known((self.read)(known)),
            (None, Some(error)) => Progress::Failed(error),
            (None, None) => Progress::Asking,
        }
    }

    /// Waits until something is different from what was seen by the last call. Cancel safe.
    pub async fn changed(&mut self) {
        let second = async {
            match &mut self.second {
                Some(part) => part.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.first.changed() => {}
            () = second => {}
        }
    }
}

impl Part {
    async fn changed(&mut self) {
        if self.answers.changed().await.is_err() {
            // The task lives as long as this does.
            pending::<()>().await;
        }
    }
}
