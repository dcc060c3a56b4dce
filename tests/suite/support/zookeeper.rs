//! A real `ZooKeeper` server, alone, on a free port, with its data in a directory of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::certificates::Authority;
use super::deadline::eventually;
use super::ports::{free_port, free_ports};
use super::server_process::ServerProcess;

const JARS: &str = "/usr/share/java";
const JAR_PREFIXES: &[&str] = &[
    "zookeeper",
    "slf4j-api",
    "slf4j-log4j12",
    "slf4j-reload4j",
    "log4j-1.2",
    "reload4j",
    "netty",
    "jackson",
    "commons-cli",
    "metrics-core",
    "snappy",
    "audience",
];

/// How a server is told to speak TLS 1.3 alone; 3.8 speaks 1.2 by itself.
pub const TLS_1_3: &str =
    "ssl.protocol=TLSv1.3\nssl.enabledProtocols=TLSv1.3\nssl.ciphersuites=TLS_AES_256_GCM_SHA384\n";

/// Ends with the value.
pub struct ZookeeperServer {
    /// Ends before its directory goes.
    process: ServerProcess,
    dir: tempfile::TempDir,
    address: SocketAddr,
    /// What starts it elsewhere: `ip netns exec NAME`.
    place: Vec<String>,
    main: &'static str,
    secure_address: Option<SocketAddr>,
    /// What TLS needs.
    files: Option<tempfile::TempDir>,
}

const ALONE: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";
const IN_AN_ENSEMBLE: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

impl ZookeeperServer {
    /// Starts one and waits until it takes connections.
    pub fn start() -> Self {
        let mut server = Self::prepare(SocketAddr::from(([127, 0, 0, 1], free_port())), "", ALONE);
        server.restart();
        server
    }

    /// One that speaks TLS too, at [`Self::secure_address`]: with a certificate of `authority` for 127.0.0.1, and only with
    /// clients that show one of the same authority (administrator's guide, "Encryption, Authentication, Authorization Options").
    /// `more` are lines of its configuration, such as [`TLS_1_3`].
    pub fn start_with_tls(authority: &Authority, more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let own = authority.sign("127.0.0.1");
        let key_store = files.path().join("server.pem");
        fs::write(&key_store, own.key + &own.cert).unwrap();
        let [port, secure] = free_ports();
        let more = format!(
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nsecureClientPort={secure}\n\
             secureClientPortAddress=127.0.0.1\nssl.clientAuth=need\nssl.keyStore.type=PEM\nssl.trustStore.type=PEM\n\
             ssl.keyStore.location={}\nssl.trustStore.location={}\n{more}",
            key_store.display(),
            authority.write(files.path().join("ca.pem")).display(),
        );
        let mut server = Self::prepare(SocketAddr::from(([127, 0, 0, 1], port)), &more, ALONE);
        server.secure_address = Some(SocketAddr::from(([127, 0, 0, 1], secure)));
        server.files = Some(files);
        server.restart();
        server
    }

    /// Starts one by the program `place`, which takes a command as its arguments and becomes it. It binds `address`, and is
    /// reached at `reached`.
    pub fn start_at_each(address: SocketAddr, reached: IpAddr, place: Vec<String>) -> Self {
        let mut server = Self::prepare(address, "", ALONE);
        server.place = place;
        server.address.set_ip(reached);
        server.restart();
        server
    }

    /// Server `number` of an ensemble whose members `members` lists; it doesn't run yet.
    pub(super) fn member(number: usize, address: SocketAddr, members: &str) -> Self {
        let more = format!("initLimit=20\nsyncLimit=10\n4lw.commands.whitelist=srvr\n{members}");
        let server = Self::prepare(address, &more, IN_AN_ENSEMBLE);
        let data = server.dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("myid"), number.to_string()).unwrap();
        server
    }

    fn prepare(address: SocketAddr, more: &str, main: &'static str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "tickTime=500\ndataDir={}\nclientPort={}\nclientPortAddress={}\nadmin.enableServer=false\n\
             maxClientCnxns=0\nminSessionTimeout=1000\nmaxSessionTimeout=60000\n{more}",
            dir.path().join("data").display(),
            address.port(),
            address.ip(),
        );
        fs::write(dir.path().join("zoo.cfg"), config).unwrap();
        let process = ServerProcess::new(dir.path());
        Self { dir, address, place: Vec::new(), main, secure_address: None, files: None, process }
    }

    /// The connect string.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The same for TLS.
    pub fn secure_address(&self) -> String {
        self.secure_address.expect("started with TLS").to_string()
    }

    /// Starts it again, on the same port and data.
    pub fn restart(&mut self) {
        let mut words = self.place.iter().map(String::as_str).chain(["java"]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"])
            .args(["-Dzookeeper.admin.enableServer=false", "-Dzookeeper.forceSync=no", "-cp", &class_path()])
            .arg(self.main)
            .arg(self.dir.path().join("zoo.cfg"));
        self.process.start(&mut command, "install the packages zookeeper and default-jre-headless");
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&self) {
        for address in [Some(self.address), self.secure_address].into_iter().flatten() {
            eventually(Duration::from_secs(30), "ZooKeeper takes connections", || {
                TcpStream::connect_timeout(&address, Duration::from_secs(1))
                    .map_err(|error| (error, self.log()))
            });
        }
    }

    /// What it is in its ensemble; `None` while it is nothing yet.
    pub(super) fn is_leader(&self) -> Option<bool> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        said.contains("Mode: ").then(|| said.contains("Mode: leader"))
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Forgets all nodes; the server must be killed.
    pub fn wipe(&self) {
        assert!(!self.process.runs());
        fs::remove_dir_all(self.dir.path().join("data")).unwrap();
    }

    /// It holds connections but answers nothing.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    fn log(&self) -> String {
        self.process.log()
    }
}

fn class_path() -> String {
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.extension().is_some_and(|extension| extension == "jar")
            && JAR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let jars = fs::read_dir(Path::new(JARS)).expect("install the package zookeeper");
    let mut paths: Vec<_> = jars.map(|jar| jar.unwrap().path()).filter(wanted).collect();
    paths.sort();
    paths.insert(0, "/etc/zookeeper/conf".into());
    paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(":")
}
