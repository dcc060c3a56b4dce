//! Inherited sockets, readiness, soft stop.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::num::NonZeroU16;

use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::service::BindAddress;
use proxymgr::haproxy::check::discover_version;
use proxymgr::haproxy::runtime::RuntimeError;
use proxymgr::process::exit::Exit;
use proxymgr::process::spawn::ChildSignal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{LIMIT, World, config, free_address, get, haproxy, info, info_until};

#[tokio::test]
async fn haproxy_serves_on_inherited_sockets_and_is_ready_when_it_replies() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let config = config(&format!(
        "frontend web\n  {bind}\n  http-request return status 200 content-type text/plain string ok\n"
    ));
    let report = world.check(&config).await;
    assert!(report.accepted, "{report:?}");

    let running = world.start(&config);
    let mut connection = running.connect().await;
    println!("spawn to ready: {:?}", running.spawned.elapsed());
    assert!(get(address).await.ends_with("ok"));
    let version = discover_version(&world.reaper, &haproxy(), LIMIT).await.unwrap();
    let info = info(&mut connection).await;
    assert_eq!((info.version, info.stopping), (version, false));
    assert!(version.at_least(2, 4), "{version}");
}

#[tokio::test]
async fn every_kind_of_address_is_inherited_and_is_the_default_by_hand() {
    let mut world = World::new();
    let path = world.dir.path().join("a-b_c.sock");
    let v6 = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let unix = BindAddress::parse(&format!("unix@{}", path.display())).unwrap();
    let addresses = [
        ListenAddress::Tcp(v6),
        ListenAddress::Tcp(free_address()),
        ListenAddress::new(&unix, NonZeroU16::MIN),
    ];
    let mut sections = String::new();
    for (n, address) in addresses.iter().enumerate() {
        let bind = format!("bind \"${{{}-{address}}}\"", address.env_name());
        writeln!(sections, "frontend f{n}\n  {bind}\n  http-request return status 20{n}").unwrap();
    }
    for inherited in [true, false] {
        for address in &addresses {
            if inherited {
                world.sockets.open(address).unwrap();
            } else {
                assert!(world.sockets.close(address));
            }
        }
        let running = world.start(&config(&sections));
        running.connect().await;
        assert!(get(v6).await.starts_with("HTTP/1.1 200"));
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 202"), "{reply}");
    }
}

#[tokio::test]
async fn a_draining_process_answers_on_the_connection_it_had() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let mut running =
        world.start(&config(&format!("frontend web\n  {bind}\n  http-request return status 200\n")));
    let mut connection = running.connect().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    info_until(&mut connection, |info| info.current_connections == 1).await;
    running.child.signals.send(ChildSignal::User1).unwrap();
    info_until(&mut connection, |info| info.stopping && info.current_connections == 1).await;
    let refused = running.control.connect(LIMIT).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Connect(_) | RuntimeError::Closed), "{refused:?}");
    drop(client);
    info_until(&mut connection, |info| info.current_connections == 0).await;
    drop(connection);
    assert_eq!(tokio::time::timeout(LIMIT, running.child.exit.wait()).await, Ok(Exit::Code(0)));
    // The socket is still ours: the next generation would take this client.
    TcpStream::connect(address).await.unwrap();
}

#[tokio::test]
async fn a_process_in_soft_stop_takes_no_commands_about_servers() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let sections = format!("listen web\n  mode tcp\n  {bind}\n  server s {}\n", server.local_addr().unwrap());
    let running = world.start(&config(&sections));
    let mut connection = running.connect().await;
    let _client = TcpStream::connect(address).await.unwrap();
    info_until(&mut connection, |info| info.current_connections == 1).await;
    running.child.signals.send(ChildSignal::User1).unwrap();
    info_until(&mut connection, |info| info.stopping).await;
    let refused = "Proxy is disabled.";
    for command in ["set server web/s state maint", "set server web/s weight 0"] {
        assert_eq!(connection.execute(command).await.unwrap(), refused, "{command}");
    }
}
