use std::num::NonZeroU16;

use super::*;
use crate::engine::node_rules::LabelFilter;
use crate::engine::server::{Server, Weight};
use crate::engine::server_options::NodeWords;

fn rules(change: impl FnOnce(&mut NodeRules)) -> NodeRules {
    let mut rules = NodeRules::default();
    change(&mut rules);
    rules
}

fn weighed(counts: bool) -> NodeRules {
    rules(|rules| rules.weight_from_node = Some(counts))
}

fn filtered(label: &str, value: &str) -> NodeRules {
    rules(|rules| rules.filter = LabelFilter::new([(label.to_owned(), [value.to_owned()].into())].into()))
}

fn server(name: &str, data: &str, rules: &NodeRules) -> Server {
    read(name, data.as_bytes(), rules).unwrap().unwrap().located(|_| None).unwrap()
}

fn address(name: &str, data: &str, rules: &NodeRules) -> String {
    server(name, data, rules).address().to_string()
}

fn error(name: &str, data: &[u8], rules: &NodeRules) -> String {
    let error = read(name, data, rules).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// As lib/nerve/reporter/base.rb of airbnb/nerve writes it, and the fields that `lib/synapse/service_watcher/zookeeper` of
/// airbnb/synapse reads beside.
const NERVE: &str = r#"{"host":"10.0.1.2","port":9090,"name":"i-258fc8b6","weight":7,
    "haproxy_server_options":"check inter 2000 weight 3 backup","labels":{"region":"us-east-1","az":"us-east-1a"}}"#;

/// As `ServerSetImpl` of twitter-archive/commons writes it with Gson; the comment of `serverset_decode` in airbnb/synapse shows one.
const SERVERSET: &str = r#"{"serviceEndpoint":{"host":"10.1.1.1","port":31943},"additionalEndpoints":
    {"http":{"host":"10.1.1.1","port":31944},"admin":{"host":"10.1.1.1","port":31945}},"status":"ALIVE","shard":0}"#;

/// As `JsonInstanceSerializer` of apache/curator writes a `ServiceInstance` since `enabled` is there.
const CURATOR: &str = r#"{"name":"tomcat","id":"1357ead8-b043-4017-9d3d-19a6fbebf1cb","address":"192.168.1.100","port":8866,
    "sslPort":8867,"payload":{"@class":"org.example.ServiceDetail","desc":"x","weight":2},
    "registrationTimeUTC":1514462303125,"serviceType":"DYNAMIC","uriSpec":null,"enabled":true}"#;

/// The same from spring-cloud/spring-cloud-zookeeper, with `ZookeeperInstance` as payload, on a Curator without `enabled`.
const SPRING: &str = r#"{"name":"waiter-service","id":"b1fdcb1e-27a8-4409-a703-3458260c450a","address":"10.133.11.150",
    "port":53598,"sslPort":null,"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
    "id":"waiter-service","name":"waiter-service","metadata":{"instance_status":"UP","az":"a"}},
    "registrationTimeUTC":1618899361271,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},
    {"value":"://","variable":false},{"value":"address","variable":true},{"value":":","variable":false},
    {"value":"port","variable":true}]}}"#;

#[test]
fn our_own_form_needs_address_and_port_only() {
    let none = NodeRules::default();
    assert_eq!(address("n", r#"{"address":"1.2.3.4","port":8080}"#, &none), "1.2.3.4:8080");
    assert_eq!(
        address("n", r#" {"port":"80","address":"::1","labels":{"a":1},"x":[1]} "#, &none),
        "[::1]:80"
    );
    let full = r#"{"address":"1.2.3.4","port":1,"weight":0,"backup":true,"drain":true,"labels":{"az":"a"}}"#;
    let read_in_full = server("n", full, &filtered("az", "a"));
    assert_eq!(
        (read_in_full.weight, read_in_full.backup, read_in_full.drain),
        (Some(Weight::ZERO), true, true)
    );
    assert_eq!(server("n", full, &weighed(false)).weight, None);
    assert_eq!(read("n", full.as_bytes(), &filtered("az", "b")), Ok(None));
}

#[test]
fn a_nerve_report_may_bring_options_and_a_weight() {
    let plain = server("i-258fc8b6_0000000003", NERVE, &NodeRules::default());
    assert_eq!(plain.address().to_string(), "10.0.1.2:9090");
    assert_eq!((plain.weight, plain.backup), (Weight::new(3), true), "the weight among the options");
    assert_eq!(plain.options, NodeWords::parse("check inter 2000").unwrap().options);
    assert_eq!(server("n", NERVE, &weighed(true)).weight, Weight::new(7), "the node's own goes before");
    assert_eq!(read("n", NERVE.as_bytes(), &filtered("az", "us-east-1b")), Ok(None));
    // What synapse's file_output and older reporters leave empty.
    let bare = r#"{"host":"10.0.1.2","port":"9090","name":"i-1","weight":null,"haproxy_server_options":null,"labels":null}"#;
    assert_eq!(address("n", bare, &weighed(true)), "10.0.1.2:9090");
    let bad = NERVE.replace("check inter 2000", "ca-file /etc/shadow");
    assert!(
        error("n", bad.as_bytes(), &weighed(true)).contains("haproxy_server_options\": the option 'ca-file'")
    );
}

#[test]
fn a_nerve_report_in_the_name_needs_no_data() {
    // base64_LENGTH_REPORT_SEQUENCE, as lib/synapse/service_watcher/zookeeper of airbnb/synapse decodes it.
    let report = "eyJob3N0IjoiMTI3LjAuMC4xIiwicG9ydCI6IjMwMDAiLCJsYWJlbHMiOnsicmVnaW9uIjoidXMtZWFzdC0xIiwiYXoiOiJhIn19";
    let name = format!("base64_{}_{report}_0000000003", report.len());
    for data in ["", r#"{"address":"9.9.9.9","port":9}"#, "nonsense"] {
        assert_eq!(address(&name, data, &filtered("az", "a")), "127.0.0.1:3000", "{data}");
    }
    for broken in ["base64_x_y_3", "base64_4_####_3", "base64_999_e30_3", "base64_4_Zm9v_3", "base64_"] {
        assert_eq!(
            address(broken, NERVE, &NodeRules::default()),
            "10.0.1.2:9090",
            "{broken}: the data counts"
        );
        assert!(error(broken, b"", &NodeRules::default()).contains("the node is empty"), "{broken}");
    }
}

#[test]
fn a_serversets_living_members_are_taken() {
    let none = NodeRules::default();
    assert_eq!(address("member_0000000012", SERVERSET, &none), "10.1.1.1:31943");
    for status in ["DEAD", "STARTING", "STOPPING", "STOPPED", "WARNING", "UNKNOWN"] {
        assert_eq!(
            read("member_1", SERVERSET.replace("ALIVE", status).as_bytes(), &none),
            Ok(None),
            "{status}"
        );
    }
    assert!(error("other_1", SERVERSET.as_bytes(), &none).contains("begin with member_"));
    let named = |endpoint: &str| rules(|rules| rules.endpoint = Some(endpoint.to_owned()));
    assert_eq!(address("member_1", SERVERSET, &named("admin")), "10.1.1.1:31945");
    let no_such = error("member_1", SERVERSET.as_bytes(), &named("thrift"));
    assert!(no_such.contains("no additional endpoint 'thrift'; there is admin, http"), "{no_such}");
    let bad = SERVERSET.replace("31943", "0");
    assert!(error("member_1", bad.as_bytes(), &none).contains("\"serviceEndpoint.port\" is 0; it must be"));
}

#[test]
fn a_curator_instance_is_taken_while_it_is_enabled() {
    let (none, ssl) = (NodeRules::default(), rules(|rules| rules.use_ssl_port = true));
    assert_eq!(address("1357ead8", CURATOR, &none), "192.168.1.100:8866");
    assert_eq!(
        server("1357ead8", CURATOR, &weighed(true)).weight,
        None,
        "a payload is the application's own"
    );
    assert_eq!(address("1357ead8", CURATOR, &ssl), "192.168.1.100:8867");
    assert_eq!(
        read("n", CURATOR.replace("\"enabled\":true", "\"enabled\":false").as_bytes(), &none),
        Ok(None)
    );
    assert_eq!(address("n", &CURATOR.replace("\"port\":8866", "\"port\":null"), &none), "192.168.1.100:8867");
    assert_eq!(address("b1fdcb1e", SPRING, &filtered("az", "a")), "10.133.11.150:53598");
    assert_eq!(read("n", SPRING.as_bytes(), &filtered("az", "b")), Ok(None));
    assert_eq!(read("n", SPRING.replace("\"UP\"", "\"OUT_OF_SERVICE\"").as_bytes(), &none), Ok(None));
    assert_eq!(error("n", SPRING.as_bytes(), &ssl), "\"sslPort\" is missing");
}

#[test]
fn a_node_without_data_is_its_name() {
    let (none, port) = (NodeRules::default(), rules(|rules| rules.remote_port = NonZeroU16::new(8080)));
    for (name, rules, expected) in [
        ("1.2.3.4:80", &none, "1.2.3.4:80"),
        ("[::1]:80", &none, "[::1]:80"),
        ("1.2.3.4:80", &port, "1.2.3.4:80"),
        ("1.2.3.4", &port, "1.2.3.4:8080"),
        ("::1", &port, "[::1]:8080"),
    ] {
        assert_eq!(address(name, " \n", rules), expected, "{name}");
    }
    for (name, rules, expected) in [("web.example", &port, "web.example:8080"), ("Web:80", &none, "web:80")] {
        let listed = read(name, b"", rules).unwrap().unwrap();
        assert_eq!(listed.name().as_str(), expected);
        assert!(listed.host_name().is_some());
    }
    assert_eq!(read("1.2.3.4:80", b"", &filtered("az", "a")), Ok(None), "it has no labels");
    for (name, rules, reason) in [
        ("1.2.3.4", &none, "no \"remote_port\""),
        ("web example", &port, "it must be an IPv4 or IPv6 address or a host name"),
        ("n_0000000001", &none, "the node is empty"),
        ("0.0.0.0:80", &none, "no address to connect to"),
    ] {
        assert!(error(name, b"", rules).contains(reason), "{name}: {}", error(name, b"", rules));
    }
}

#[test]
fn anything_else_is_refused_with_a_precise_reason() {
    for (data, reason) in [
        ("hello", "no valid JSON: expected value at line 1 column 1"),
        ("[]", "must hold a JSON object"),
        ("{}", "\"address\" is missing"),
        (r#"{"address":"1.2.3.4"}"#, "\"port\" is missing"),
        (r#"{"address":"1.2.3.4","port":99999}"#, "\"port\" is 99999; it must be 1 to 65535"),
        (r#"{"address":"1.2.3.4","port":0}"#, "\"port\" is 0;"),
        (r#"{"address":"1.2.3.4","port":-1}"#, "\"port\" is -1;"),
        (r#"{"address":"1.2.3.4","port":80.5}"#, "\"port\" is 80.5;"),
        (r#"{"address":"1.2.3.4","port":"x"}"#, "\"port\" is \"x\";"),
        (r#"{"address":"1.2.3.4\nx","port":1}"#, "\"address\" is \"1.2.3.4\\nx\"; it must be an IPv4"),
        (r#"{"address":"web_.example-","port":1}"#, "address or a host name"),
        (r#"{"address":"0.0.0.0","port":1}"#, "no address to connect to"),
        (r#"{"address":12,"port":1}"#, "it must be a string"),
        (r#"{"address":"1.2.3.4","port":1,"weight":257}"#, "0 to 256"),
        (r#"{"address":"1.2.3.4","port":1,"drain":"yes"}"#, "true or false"),
        (r#"{"address":"1.2.3.4","port":1,"labels":"x"}"#, "it must be an object"),
    ] {
        let found = error("n", data.as_bytes(), &NodeRules::default());
        assert!(found.contains(reason), "{data}: {found}");
    }
    assert!(error("n", "[".repeat(60_000).as_bytes(), &NodeRules::default()).contains("no valid JSON"));
    assert_eq!(read("n", &vec![b' '; 70_000], &NodeRules::default()), Err(NodeError::TooLarge(70_000)));
}
