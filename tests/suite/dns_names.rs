//! Names are followed: what an answer is, what is none, and when they are asked again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hickory_server::proto::rr::RecordType;
use proxymgr::dns::{Followed, Names, Nameservers, Progress, RefreshRules, SrvRecord};
use proxymgr::engine::host_name::HostName;
use tokio::time::timeout;

use super::support::dns_server::{Dns, DnsServer};
use super::support::requests::SOON;

const OFTEN: RefreshRules =
    RefreshRules { min_ttl: Duration::from_millis(20), max_ttl: Duration::from_millis(200) };

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

fn these(server: &DnsServer) -> Nameservers {
    Nameservers::These([server.address].into())
}

fn known(addresses: &[&str]) -> Progress<BTreeSet<IpAddr>> {
    Progress::Known(addresses.iter().map(|address| address.parse().unwrap()).collect())
}

async fn wait_for<T: PartialEq + std::fmt::Debug>(followed: &mut Followed<T>, expected: &Progress<T>) {
    let comes = async {
        while followed.progress() != *expected {
            followed.changed().await;
        }
    };
    let came = timeout(SOON, comes).await;
    assert!(came.is_ok(), "{:?} is not {expected:?}", followed.progress());
}

#[tokio::test]
async fn addresses_of_both_kinds_come_and_go() {
    let server = DnsServer::start();
    server.set("web.example", 0, &["10.0.0.2", "10.0.0.1", "fd00::1"]);
    let mut web = Names::default().addresses(&these(&server), &host("web.example"), OFTEN);
    assert_eq!(web.progress(), Progress::Asking);
    wait_for(&mut web, &known(&["10.0.0.1", "10.0.0.2", "fd00::1"])).await;
    server.set("web.example", 0, &["10.0.0.2"]);
    wait_for(&mut web, &known(&["10.0.0.2"])).await;
    // NXDOMAIN, and a name that is there without addresses: good answers.
    server.set("web.example", 0, &[]);
    wait_for(&mut web, &known(&[])).await;
    server.set("web.example", 0, &["10.0.0.3"]);
    wait_for(&mut web, &known(&["10.0.0.3"])).await;
    server.set("web.example", 0, &[]);
    server.set_services("web.example", 0, &[(0, 0, 1, "x.example")]);
    wait_for(&mut web, &known(&[])).await;
}

#[tokio::test]
async fn no_answer_changes_nothing() {
    let server = DnsServer::start();
    server.set("web.example", 0, &["10.0.0.1", "fd00::1"]);
    let mut web = Names::default().addresses(&these(&server), &host("web.example"), OFTEN);
    wait_for(&mut web, &known(&["10.0.0.1", "fd00::1"])).await;
    for fault in [Dns::Fails, Dns::IsSilent] {
        server.behave(fault);
        let before = server.questions();
        timeout(SOON, async {
            while server.questions() < before + 4 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(web.progress(), known(&["10.0.0.1", "fd00::1"]), "{fault:?}");
    }
    // A half that fails keeps its own last answer, the other half is followed.
    server.behave(Dns::FailsFor(RecordType::AAAA));
    server.set("web.example", 0, &["10.0.0.9"]);
    wait_for(&mut web, &known(&["10.0.0.9", "fd00::1"])).await;
    server.behave(Dns::Answers);
    wait_for(&mut web, &known(&["10.0.0.9"])).await;
}

#[tokio::test]
async fn a_half_that_never_answers_holds_the_other_up_only_once() {
    let server = DnsServer::start();
    server.set("web.example", 0, &["10.0.0.1"]);
    server.behave(Dns::FailsFor(RecordType::AAAA));
    let mut web = Names::default().addresses(&these(&server), &host("web.example"), OFTEN);
    wait_for(&mut web, &known(&["10.0.0.1"])).await;
    server.behave(Dns::Fails);
    let mut other = Names::default().addresses(&these(&server), &host("other.example"), OFTEN);
    timeout(SOON, other.changed()).await.unwrap();
    timeout(SOON, async {
        while other.progress() == Progress::Asking {
            other.changed().await;
        }
    })
    .await
    .unwrap();
    assert!(matches!(other.progress(), Progress::Failed(_)), "{:?}", other.progress());
}

#[tokio::test]
async fn a_late_answer_is_an_answer() {
    let server = DnsServer::start();
    server.set("web.example", 0, &["10.0.0.1"]);
    server.behave(Dns::IsLate(Duration::from_millis(500)));
    let mut web = Names::default().addresses(&these(&server), &host("web.example"), OFTEN);
    wait_for(&mut web, &known(&["10.0.0.1"])).await;
}

#[tokio::test]
async fn two_hundred_records_come_by_tcp() {
    let server = DnsServer::start();
    let addresses: Vec<_> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    server.set("many.example", 60, &addresses);
    let mut many = Names::default().addresses(&these(&server), &host("many.example"), OFTEN);
    wait_for(&mut many, &known(&addresses)).await;
    assert!(server.questions_by_tcp() > 0, "the first answer was cut");
}

#[tokio::test]
async fn services_tell_ports_weights_and_priorities() {
    let server = DnsServer::start();
    server.set_services("_http._tcp.example", 0, &[(20, 0, 81, "b.example"), (10, 5, 80, "A.example")]);
    let name = host("_http._tcp.example");
    let mut services = Names::default().services(&these(&server), &name, OFTEN);
    let srv = |priority, weight, port, target| SrvRecord { priority, weight, port, target: host(target) };
    let expected = [srv(10, 5, 80, "a.example"), srv(20, 0, 81, "b.example")];
    wait_for(&mut services, &Progress::Known(expected.into())).await;
    // "Decidedly not there".
    server.set_services("_http._tcp.example", 0, &[(0, 0, 0, ".")]);
    wait_for(&mut services, &Progress::Known(BTreeSet::new())).await;
}

#[tokio::test]
async fn a_long_ttl_is_cut_at_its_bound_and_all_share_the_questions() {
    let server = DnsServer::start();
    server.set("web.example", 3600, &["10.0.0.1"]);
    let names = Names::default();
    let mut followers: Vec<_> =
        (0..50).map(|_| names.clone().addresses(&these(&server), &host("web.example"), OFTEN)).collect();
    for follower in &mut followers {
        wait_for(follower, &known(&["10.0.0.1"])).await;
    }
    assert_eq!(server.questions(), 2, "A and AAAA, once for all");
    server.set("web.example", 3600, &["10.0.0.2"]);
    wait_for(&mut followers[0], &known(&["10.0.0.2"])).await;
    drop(followers);
    // Nobody wants to know any more.
    let after = server.questions();
    let mut web = Names::default().addresses(&these(&server), &host("web.example"), OFTEN);
    wait_for(&mut web, &known(&["10.0.0.2"])).await;
    assert!(server.questions() <= after + 4, "{} after {after}", server.questions());
}

#[tokio::test]
async fn names_of_the_hosts_file_need_no_server() {
    let mut localhost = Names::default().addresses(&Nameservers::System, &host("localhost"), OFTEN);
    timeout(SOON, async {
        while localhost.progress() == Progress::Asking {
            localhost.changed().await;
        }
    })
    .await
    .unwrap();
    let Progress::Known(addresses) = localhost.progress() else { panic!("{:?}", localhost.progress()) };
    assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
}
