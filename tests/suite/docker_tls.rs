//! A daemon that is reached over the network, with TLS.

use serde_json::{Value, json};

use super::support::certificates::Authority;
use super::support::docker::Dockerd;
use super::support::running::{start, wait_for_message};

const HOST: &str = "tcp://127.0.0.1:2376";

#[test]
fn a_daemon_is_followed_over_tls_and_a_wrong_certificate_is_told() {
    let (authority, stranger) = (Authority::new("docker"), Authority::new("stranger"));
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    let ca = authority.write(files.join("ca.pem"));
    let other_ca = stranger.write(files.join("other-ca.pem"));
    let [server_cert, server_key] = authority.sign("127.0.0.1").write(files, "server");
    let [cert, key] = authority.sign("proxymgr").write(files, "client");
    let option = |name: &str, value: &std::path::Path| format!("--{name}={}", value.display());
    let options = [
        "--tlsverify".to_owned(),
        option("tlscacert", &ca),
        option("tlscert", &server_cert),
        option("tlskey", &server_key),
        format!("--host={HOST}"),
    ];
    let dockerd = Dockerd::start_with(&options.each_ref().map(String::as_str));
    dockerd.run("web", &[("proxymgr.service", "web"), ("proxymgr.listen_port", "8080")]);
    let source = |tls: &Value| json!({"type": "docker", "docker_host": HOST, "tls": tls});
    for (tls, told) in [
        (json!({"ca": other_ca, "cert": cert, "key": key}), "no authority in "),
        (json!({"ca": ca}), "give it one with tls.cert and tls.key"),
    ] {
        let proxymgr = dockerd.setup().section("service_config", source(&tls)).start();
        wait_for_message(&proxymgr, told);
    }
    // A watcher of another source's service uses the same files.
    let setup = dockerd.setup();
    let sources = json!([source(&json!({"ca": ca, "cert": cert, "key": key})),
        {"type": "file", "path": setup.paths.services}]);
    let setup = setup.section("service_config", sources);
    let again = json!({"type": "docker", "docker_host": HOST, "service": "web", "port": 8081});
    setup.paths.write_service("again", &again);
    let foreign = json!({"type": "docker", "docker_host": "tcp://127.0.0.1:2377", "port": 8082});
    setup.paths.write_service("foreign", &foreign);
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(8080, &["web"]);
    dockerd.wait_for_answers(8081, &["web"]);
    wait_for_message(&proxymgr, "name it in service_config with tls");
}
