//! Finds the session and the tree that exist already, or starts them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use zookeeper_client::Client;

use super::access::Access;
use super::children::ChildrenWatch;
use super::connect_string::ConnectString;
use super::node_path::NodePath;
use super::session::{NameSuffices, Session};

/// All ensembles of this process: as many sessions per (servers, access) as the watched paths need, each kept while somebody
/// follows a node in it.
#[derive(Clone, Debug, Default)]
pub struct Ensembles {
    sessions: Arc<Mutex<HashMap<SessionKey, Vec<Weak<Session>>>>>,
}

/// What tells the sessions of one ensemble from those of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SessionKey {
    hosts: String,
    access: Access,
}

impl SessionKey {
    fn of(servers: &ConnectString, access: &Access) -> Self {
        Self { hosts: servers.hosts().to_owned(), access: access.clone() }
    }
}

impl Ensembles {
    /// No session yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the direct children of `path`, which is meant below the chroot of `servers`. The node need not exist yet.
    /// The data of children whose name suffices is not read, and empty here.
    ///
    /// Must be called within a tokio runtime. Dropping all watches of a path ends its watch on the server; dropping all
    /// watches of a session closes the session.
    pub fn children_of(
        &self,
        servers: &ConnectString,
        access: &Access,
        path: &NodePath,
        name_suffices: Option<NameSuffices>,
    ) -> ChildrenWatch {
        let key = SessionKey::of(servers, access);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, same| {
            same.retain(|session| session.strong_count() > 0);
            !same.is_empty()
        });
        let path = servers.full_path(path);
        let running: Vec<_> = sessions.get(&key).into_iter().flatten().filter_map(Weak::upgrade).collect();
        let joined = running.iter().find_map(|session| session.join(&path, name_suffices));
        if let Some(watch) =
            joined.or_else(|| running.iter().find_map(|session| session.follow(&path, name_suffices)))
        {
            return watch;
        }
        let session = Arc::new(Session::start(key.hosts.clone(), key.access.clone()));
        let watch = session.begin(&path, name_suffices);
        sessions.entry(key).or_default().push(Arc::downgrade(&session));
        watch
    }

    /// A client of a session that is connected.
    pub(super) fn client(&self, servers: &ConnectString, access: &Access) -> Option<Client> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let same = sessions.get(&SessionKey::of(servers, access))?;
        same.iter().filter_map(Weak::upgrade).find_map(|session| session.client())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::secret::Secret;
    use crate::engine::tls_files::TlsFiles;
    use crate::zookeeper::Auth;

    #[tokio::test]
    async fn a_session_watches_64_kib_of_paths_and_further_ones_take_the_rest() {
        let ensembles = Ensembles::new();
        let servers = ConnectString::parse("127.0.0.1:1").unwrap();
        let follow = |number: usize| {
            let path = format!("/{number:01023}");
            ensembles.children_of(&servers, &Access::default(), &NodePath::parse(&path).unwrap(), None)
        };
        let count = || ensembles.sessions.lock().unwrap().values().map(Vec::len).sum::<usize>();
        let watches: Vec<_> = (0..200).map(follow).collect();
        assert_eq!(count(), 4);
        let again = follow(7);
        assert_eq!(count(), 4, "who follows the same joins");
        drop(watches);
        let _room_again = follow(8);
        assert_eq!(count(), 1);
        drop(again);
    }

    #[tokio::test]
    async fn a_session_is_shared_by_ensemble_and_access_and_ends_with_its_last_user() {
        let ensembles = Ensembles::new();
        let anyone = Access::default();
        let auth = Auth { scheme: "digest".into(), credentials: Secret::new("a:b") };
        let user = Access { auth: Some(auth), tls: None };
        let tls = TlsFiles { ca: "/ca.pem".into(), identity: None };
        let private = Access { auth: None, tls: Some(tls) };
        let follow = |servers: &str, access: &Access, path: &str| {
            ensembles.children_of(
                &ConnectString::parse(servers).unwrap(),
                access,
                &NodePath::parse(path).unwrap(),
                None,
            )
        };
        let alive = || {
            let sessions = ensembles.sessions.lock().unwrap();
            sessions.values().flatten().filter(|session| session.strong_count() > 0).count()
        };
        let one = follow("127.0.0.1:1", &anyone, "/a");
        let same = [follow("127.0.0.1:1/chroot", &anyone, "/b"), follow("127.0.0.1:1", &anyone, "/a")];
        assert_eq!(alive(), 1);
        let others = [&user, &private].map(|access| follow("127.0.0.1:1", access, "/a"));
        assert_eq!(alive(), 3);
        drop((one, others));
        assert_eq!(alive(), 1);
        drop(same);
        assert_eq!(alive(), 0);
    }
}
