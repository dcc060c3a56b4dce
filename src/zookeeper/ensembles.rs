//! Finds the session and the tree that exist already, or starts them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::access::Access;
use super::children::ChildrenWatch;
use super::connect_string::ConnectString;
use super::node_path::NodePath;
use super::session::Session;

/// All ensembles of this process: one session per (servers, access), kept while somebody follows a node in it.
#[derive(Clone, Debug, Default)]
pub struct Ensembles {
    sessions: Arc<Mutex<HashMap<SessionKey, Weak<Session>>>>,
}

/// What tells sessions apart. A shard number joins it once an ensemble is given several sessions, which it needs when the
/// paths watched by one pass 64 KiB; [`Session::follow`] warns about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SessionKey {
    hosts: String,
    access: Access,
}

impl Ensembles {
    /// No session yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows the direct children of `path`, which is meant below the chroot of `servers`. The node need not exist yet.
    ///
    /// Must be called within a tokio runtime. Dropping all watches of a path ends its watch on the server; dropping all
    /// watches of a session closes the session.
    pub fn children_of(&self, servers: &ConnectString, access: &Access, path: &NodePath) -> ChildrenWatch {
        let key = SessionKey { hosts: servers.hosts().to_owned(), access: access.clone() };
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, session| session.strong_count() > 0);
        let session = sessions.get(&key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let session = Arc::new(Session::start(key.hosts.clone(), key.access.clone()));
            sessions.insert(key, Arc::downgrade(&session));
            session
        });
        session.follow(servers.full_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::secret::Secret;
    use crate::engine::tls_files::TlsFiles;
    use crate::zookeeper::Auth;

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
            )
        };
        let alive = || {
            ensembles.sessions.lock().unwrap().values().filter(|session| session.strong_count() > 0).count()
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
