//! A DNS server whose records and faults the test changes at any time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, SRV};
use hickory_server::proto::rr::{Name, RData, Record, RecordType};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// What it does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dns {
    Answers,
    /// SERVFAIL.
    Fails,
    /// SERVFAIL to questions of this type alone.
    FailsFor(RecordType),
    /// Nothing.
    IsSilent,
    /// The answer, later.
    IsLate(Duration),
}

/// Serves on one port of 127.0.0.1 by UDP and TCP. It ends when it is dropped.
pub struct DnsServer {
    pub address: SocketAddr,
    zone: Arc<Zone>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Zone {
    records: Mutex<BTreeMap<(String, RecordType), Vec<Record>>>,
    behaviour: Mutex<Dns>,
    questions: AtomicU64,
    by_tcp: AtomicU64,
}

impl DnsServer {
    pub fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap())
    }

    pub fn start_at(address: SocketAddr) -> Self {
        let (udp, tcp) = sockets(address);
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Zone {
            records: Mutex::default(),
            behaviour: Mutex::new(Dns::Answers),
            questions: AtomicU64::new(0),
            by_tcp: AtomicU64::new(0),
        });
        let (end, ended) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let handler = Handler(Arc::clone(&zone));
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut server = Server::new(handler);
                server.register_socket(tokio::net::UdpSocket::from_std(udp).unwrap());
                let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
                server.register_listener(tcp, Duration::from_secs(5), 16);
                ready.send(()).unwrap();
                // Ends by a message or by the sender's end.
                let _dropped = ended.await;
            });
        });
        is_ready.recv().unwrap();
        Self { address, zone, end: Some(end), thread: Some(thread) }
    }

    /// The records of `name`, of the kinds that `addresses` are of.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let mut by_kind = BTreeMap::from([(RecordType::A, Vec::new()), (RecordType::AAAA, Vec::new())]);
        for address in addresses {
            let (kind, data) = match address.parse().unwrap() {
                IpAddr::V4(v4) => (RecordType::A, RData::A(A(v4))),
                IpAddr::V6(v6) => (RecordType::AAAA, RData::AAAA(AAAA(v6))),
            };
            by_kind.get_mut(&kind).unwrap().push(Record::from_rdata(absolute(name), ttl, data));
        }
        for (kind, records) in by_kind {
            self.zone.put(name, kind, records);
        }
    }

    /// `SRV` records: priority, weight, port, target.
    pub fn set_services(&self, name: &str, ttl: u32, services: &[(u16, u16, u16, &str)]) {
        let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            let data = RData::SRV(SRV::new(*priority, *weight, *port, absolute(target)));
            Record::from_rdata(absolute(name), ttl, data)
        };
        self.zone.put(name, RecordType::SRV, services.iter().map(record).collect());
    }

    pub fn behave(&self, behaviour: Dns) {
        *self.zone.behaviour.lock().unwrap() = behaviour;
    }

    /// How many questions came so far.
    pub fn questions(&self) -> u64 {
        self.zone.questions.load(Ordering::Relaxed)
    }

    /// How many of them by TCP.
    pub fn questions_by_tcp(&self) -> u64 {
        self.zone.by_tcp.load(Ordering::Relaxed)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the DNS server's thread did not panic");
        }
    }
}

/// One port for both protocols.
fn sockets(address: SocketAddr) -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind(address).unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
            tcp.set_nonblocking(true).unwrap();
            udp.set_nonblocking(true).unwrap();
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP at {address}");
}

fn absolute(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

impl Zone {
    fn put(&self, name: &str, kind: RecordType, records: Vec<Record>) {
        self.records.lock().unwrap().insert((absolute(name).to_ascii(), kind), records);
    }

    /// The records, or whether the name is there at all.
    fn find(&self, name: &str, kind: RecordType) -> (Vec<Record>, ResponseCode) {
        let records = self.records.lock().unwrap();
        let exists = records.iter().any(|((known, _), of)| known == name && !of.is_empty());
        let found = records.get(&(name.to_owned(), kind)).cloned().unwrap_or_default();
        (found, if exists { ResponseCode::NoError } else { ResponseCode::NXDomain })
    }
}

struct Handler(Arc<Zone>);

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response: R,
    ) -> ResponseInfo {
        let zone = &self.0;
        zone.questions.fetch_add(1, Ordering::Relaxed);
        if request.protocol() == Protocol::Tcp {
            zone.by_tcp.fetch_add(1, Ordering::Relaxed);
        }
        let query = request.request_info().unwrap().query;
        let (name, kind) = (query.name().to_string(), query.query_type());
        let behaviour = *zone.behaviour.lock().unwrap();
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = true;
        let (records, code) = match behaviour {
            Dns::IsSilent => return info(metadata),
            Dns::Fails => (Vec::new(), ResponseCode::ServFail),
            Dns::FailsFor(failing) if failing == kind => (Vec::new(), ResponseCode::ServFail),
            Dns::IsLate(late) => {
                tokio::time::sleep(late).await;
                zone.find(&name, kind)
            }
            Dns::Answers | Dns::FailsFor(_) => zone.find(&name, kind),
        };
        metadata.response_code = code;
        let builder = MessageResponseBuilder::from_message_request(request);
        let message = builder.build(metadata, &records, [], [], []);
        response.send_response(message).await.unwrap_or_else(|_gone| info(metadata))
    }
}

fn info(metadata: Metadata) -> ResponseInfo {
    Header { metadata, counts: HeaderCounts::default() }.into()
}
