//! Real Consul servers, each with its data in a directory of its own: alone, or three of them. `make test` fetches the program.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::Backend;
use super::certificates::Authority;
use super::deadline::eventually;
use super::ports::{free_port, free_ports};
use super::proxymgr::output_of;
use super::requests::local;
use super::server_process::ServerProcess;

/// What a test with ACLs may do everything with.
pub const MASTER_TOKEN: &str = "b1gs33cr3t-0000-4000-8000-000000000001";
const LONG: Duration = Duration::from_secs(60);

/// One server, which ends with the value.
pub struct ConsulServer {
    /// Ends before its directory goes.
    process: ServerProcess,
    dir: tempfile::TempDir,
    /// Where it takes HTTP.
    pub address: SocketAddr,
    secure_port: Option<u16>,
    /// What TLS needs.
    files: Option<tempfile::TempDir>,
    token: Option<&'static str>,
}

/// A service's instance, as it is registered.
pub struct Instance<'a> {
    pub service: &'a str,
    pub id: &'a str,
    pub address: SocketAddr,
}

impl ConsulServer {
    /// One that is its own leader.
    pub fn start() -> Self {
        Self::alone(json!({}), None)
    }

    /// The same, which takes clients at this address too.
    pub fn start_also_at(address: IpAddr) -> Self {
        Self::alone(json!({"client_addr": format!("127.0.0.1 {address}")}), None)
    }

    /// The same, which knows nobody without a token.
    pub fn start_with_acl() -> Self {
        let acl = json!({"enabled": true, "default_policy": "deny", "tokens": {"master": MASTER_TOKEN}});
        Self::alone(json!({"acl": acl}), Some(MASTER_TOKEN))
    }

    /// The same, which speaks TLS too, at [`Self::secure_address`]: with a certificate of `authority` for `name`, and only with
    /// clients that show one of the same authority.
    pub fn start_with_tls(authority: &Authority, name: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let [cert, key] = authority.sign(name).write(files.path(), "own");
        let ca = authority.write(files.path().join("ca.pem"));
        let port = free_port();
        let more = json!({"ports": {"https": port}, "ca_file": ca, "cert_file": cert, "key_file": key, "verify_incoming_https": true});
        let mut server = Self::alone(more, None);
        (server.secure_port, server.files) = (Some(port), Some(files));
        server
    }

    fn alone(more: Value, token: Option<&'static str>) -> Self {
        let mut server = Self::prepare("alone", 1, free_ports(), &[], more);
        server.token = token;
        server.restart();
        server.wait_for_leader();
        server
    }

    /// Three that know each other; one leads.
    pub fn start_three() -> [Self; 3] {
        let ports: [[u16; 3]; 3] = [(); 3].map(|()| free_ports());
        let joined: Vec<_> = ports.iter().map(|[_, serf, _]| format!("127.0.0.1:{serf}")).collect();
        let names = ["one", "two", "three"];
        let mut number = 0;
        let mut servers = ports.map(|ports| {
            number += 1;
            Self::prepare(names[number - 1], 3, ports, &joined, json!({}))
        });
        servers.iter_mut().for_each(Self::restart);
        servers.iter().for_each(Self::wait_for_leader);
        servers
    }

    fn prepare(
        name: &str,
        expect: usize,
        [http, serf, rpc]: [u16; 3],
        joined: &[String],
        more: Value,
    ) -> Self {
        let dir = tempfile::Builder::new().prefix("consul-").tempdir().unwrap();
        let mut config = json!({
            "node_name": name, "data_dir": dir.path().join("data"), "server": true, "bootstrap_expect": expect,
            "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "retry_join": joined, "retry_interval": "1s",
            "ports": {"http": http, "serf_lan": serf, "server": rpc, "serf_wan": -1, "dns": -1, "grpc": -1},
            // The least times that its elections take.
            "performance": {"raft_multiplier": 1},
            "disable_update_check": true, "leave_on_terminate": false,
        });
        merge(&mut config, more);
        fs::write(dir.path().join("consul.json"), config.to_string()).unwrap();
        let process = ServerProcess::new(dir.path());
        Self { dir, address: local(http), secure_port: None, files: None, token: None, process }
    }

    /// Where it takes HTTP, as it is written in proxymgr.yml.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The same for HTTPS.
    pub fn secure_address(&self) -> String {
        local(self.secure_port.expect("started with TLS")).to_string()
    }

    /// Starts it again, on the same ports and data.
    pub fn restart(&mut self) {
        let mut command = Command::new(program());
        command.arg("agent").arg("-config-file").arg(self.dir.path().join("consul.json"));
        self.process.start(&mut command, "fetch it with packaging/get-consul target/consul");
    }

    pub fn wait_for_leader(&self) {
        eventually(LONG, "there is a leader", || match self.get("/v1/kv/none?consistent") {
            (404 | 200, _) => Ok(()),
            other => Err((other, self.log())),
        });
    }

    /// Whether it leads; `false` too when nobody does.
    pub fn leads(&self) -> bool {
        let (_, own) = self.get("/v1/agent/self");
        own.contains("\"leader\": \"true\"") || own.contains("\"leader\":\"true\"")
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// It holds connections but answers nothing.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Registers an instance whose check passes; `more` is laid over what is sent.
    #[track_caller]
    pub fn register(&self, instance: &Instance<'_>, more: Value) {
        let mut service = json!({
            "Name": instance.service, "ID": instance.id, "Address": instance.address.ip().to_string(), "Port": instance.address.port(),
            "Check": {"CheckID": format!("check-{}", instance.id), "TTL": "1h", "Status": "passing"},
        });
        merge(&mut service, more);
        self.put("/v1/agent/service/register", &service.to_string());
        // Only a verdict of its own outlives a restart of the agent.
        self.check(instance.id, "pass");
    }

    /// Registers a backend under its service, as an instance of its own name.
    #[track_caller]
    pub fn add(&self, service: &str, id: &str, backend: &Backend) {
        self.register(&Instance { service, id, address: backend.address }, json!({}));
    }

    #[track_caller]
    pub fn remove(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), "");
    }

    /// Sets the check of an instance: `pass`, `warn` or `fail`.
    #[track_caller]
    pub fn check(&self, id: &str, verdict: &str) {
        self.put(&format!("/v1/agent/check/{verdict}/check-{id}"), "");
    }

    /// Writes a key.
    #[track_caller]
    pub fn write(&self, key: &str, value: &str) {
        self.put(&format!("/v1/kv/{key}"), value);
    }

    #[track_caller]
    pub fn delete(&self, key: &str) {
        self.delete_path(&format!("/v1/kv/{key}"));
    }

    #[track_caller]
    pub fn delete_path(&self, path: &str) {
        let (status, body) = self.exchange("DELETE", path, "");
        assert_eq!(status, 200, "{path}: {body}");
    }

    /// A change that must be taken, once the server can; gives what it answers.
    #[track_caller]
    pub fn put(&self, path: &str, body: &str) -> String {
        eventually(LONG, path, || match self.exchange("PUT", path, body) {
            (200, answer) => Ok(answer),
            other => Err(other),
        })
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.exchange("GET", path, "")
    }

    /// The head of an answer.
    pub fn head(&self, path: &str) -> String {
        let answer = self.ask("GET", path, "").unwrap();
        answer.split_once("\r\n\r\n").unwrap().0.to_owned()
    }

    /// A command of Consul's own.
    #[track_caller]
    pub fn run(&self, words: &[&str]) {
        let output = output_of(Command::new(program()).args(words).env("CONSUL_HTTP_ADDR", self.address()));
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    /// One request on a connection of its own; status 0 when there is no answer.
    fn exchange(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        match self.ask(method, path, body) {
            Err(error) => (0, error.to_string()),
            Ok(answer) => {
                let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default();
                let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
                (status, body.to_owned())
            }
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let token = self.token.map_or_else(String::new, |token| format!("X-Consul-Token: {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{token}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(request.as_bytes())?;
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// `PROXYMGR_TEST_CONSUL`, or what packaging/get-consul fetched.
pub fn program() -> PathBuf {
    let fetched = concat!(env!("CARGO_MANIFEST_DIR"), "/target/consul/consul");
    std::env::var_os("PROXYMGR_TEST_CONSUL").map_or_else(|| fetched.into(), PathBuf::from)
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
