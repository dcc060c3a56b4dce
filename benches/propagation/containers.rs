//! Containers that come and go.

use std::time::Instant;

use serde_json::json;

use crate::changes::Both;
use crate::probe::Probe;
use crate::registry::Call;
use crate::support::docker::Dockerd;

const ROUNDS: usize = 60;
const PORT: u16 = 8080;

/// A container started, and one that ends by itself soon after it was told to. It can only be reached once its program listens,
/// some milliseconds after the reply; until then `HAProxy` takes another server.
pub fn start_and_end() {
    let dockerd = Dockerd::start();
    let setup = dockerd.setup().section("log", json!({"format": "json", "level": "info"})).defaults(&[
        "mode http",
        "balance roundrobin",
        "retries 3",
        "option redispatch 1",
        "timeout connect 2s",
        "timeout client 30s",
        "timeout server 30s",
    ]);
    let definition = json!({"type": "docker", "service": "web", "port": PORT, "docker_host": dockerd.host()});
    setup.paths.write_service("web", &definition);
    dockerd.run("constant", &[("SERVICE_NAME", "web")]);
    let _proxymgr = setup.start();
    let probe = Probe::start(dockerd.reached(PORT));
    probe.first_answer_of("constant");
    let (mut started, mut ended) = (Both::default(), Both::default());
    for round in 0..ROUNDS {
        let name = format!("container{round}");
        dockerd.create(&name, &[("SERVICE_NAME", "web"), ("LINGERS", "0.5")], &json!({}));
        let call = Call::of(|| dockerd.start_container(&name));
        started.add(call, probe.first_answer_of(&name));
        // Answered when the signal is sent; the container serves on for half a second.
        let began = Instant::now();
        let call = Call::of(|| dockerd.kill_container(&name, "TERM"));
        ended.add(call, probe.last_answer_of(&name, began));
        dockerd.remove(&name);
    }
    started.print("Docker: container started -> its first answer", "");
    ended.print("Docker: container sent its stop signal -> its last answer", "");
}
