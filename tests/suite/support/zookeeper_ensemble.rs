//! Three real `ZooKeeper` servers that elect a leader.

use std::net::SocketAddr;
use std::time::Duration;

use super::deadline::eventually;
use super::ports::free_ports;
use super::zookeeper::ZookeeperServer;

const SIZE: usize = 3;
const ELECTION: Duration = Duration::from_secs(60);

/// Ends with the value.
pub struct ZookeeperEnsemble {
    servers: Vec<ZookeeperServer>,
}

impl ZookeeperEnsemble {
    /// Starts the three and waits for their leader.
    pub fn start() -> Self {
        let ports: [[u16; 3]; SIZE] = std::array::from_fn(|_| free_ports());
        let member = |(index, [_, quorum, election]): (usize, &[u16; 3])| {
            format!("server.{}=127.0.0.1:{quorum}:{election}\n", index + 1)
        };
        let members: String = ports.iter().enumerate().map(member).collect();
        let server = |(index, [client, ..]): (usize, &[u16; 3])| {
            ZookeeperServer::member(index + 1, SocketAddr::from(([127, 0, 0, 1], *client)), &members)
        };
        let mut servers: Vec<_> = ports.iter().enumerate().map(server).collect();
        servers.iter_mut().for_each(ZookeeperServer::restart);
        let ensemble = Self { servers };
        ensemble.leader();
        ensemble
    }

    /// The connect string of all.
    pub fn address(&self) -> String {
        self.servers.iter().map(ZookeeperServer::address).collect::<Vec<_>>().join(",")
    }

    /// Which leads, once one does and the others follow it.
    fn leader(&self) -> usize {
        eventually(ELECTION, "the ensemble has a leader", || {
            let modes: Vec<_> = self.servers.iter().map(ZookeeperServer::is_leader).collect();
            let complete = modes.iter().flatten().count() == modes.len();
            modes.iter().position(|mode| *mode == Some(true)).filter(|_| complete).ok_or(modes)
        })
    }

    /// SIGKILL to the leader.
    pub fn kill_leader(&mut self) {
        let leader = self.leader();
        self.servers[leader].kill();
    }
}
