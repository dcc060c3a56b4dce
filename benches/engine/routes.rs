//! A route that comes and goes, with few and with many others.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode};

use proxymgr::engine::http_frontend::{HttpFrontend, MapFile};
use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::observed::ObservedRoutes;
use proxymgr::engine::reconciler::Input;
use proxymgr::engine::route::{FrontendName, RouteId, RouteKey, RoutePath, Routes, Strip};
use proxymgr::engine::section::Base;
use proxymgr::engine::service::{Entrance, ServiceSpec};
use proxymgr::engine::state::AppliedState;

use super::{Running, Size, base, service_name, spec};

const ROUTES_OF_A_SERVICE: u16 = 100;
const MAP: &str = "/run/routes-http-in.map";

/// From a changed definition to the order for `HAProxy`, with the file of routes.
pub fn changing(criterion: &mut Criterion) {
    for services in [1, 10, 100] {
        let others = services * ROUTES_OF_A_SERVICE;
        let mut group = criterion.benchmark_group(format!("Reconciler, {others} routes"));
        group.sampling_mode(SamplingMode::Flat);
        let mut running = start(services);
        let mut round = 0;
        group.bench_function("one route comes or goes", |bencher| {
            bencher.iter_custom(|rounds| {
                let one = |_| {
                    round += 1;
                    let spec = routed(0, round % 2);
                    running.define(service_name(0), spec, Instant::now())
                };
                (0..rounds).map(one).sum::<Duration>()
            });
        });
        group.finish();
    }
}

fn start(services: u16) -> Running {
    let size = Size { services, servers: 2 };
    let base = Base { frontends: [(name(), frontend())].into(), ..Base::clone(&base()) };
    let mut running = Running::with_nothing(size, Arc::new(base));
    for service in 0..services {
        running.tell(Input::Defined(service_name(service), Arc::new(routed(service, 0))));
        running.tell(Input::Servers(service_name(service), size.servers_of(service, 0)));
    }
    let effects = running.tell(Input::Listed);
    running.settle(effects);
    running
}

/// A service with its routes, and so many more.
fn routed(service: u16, more: u16) -> ServiceSpec {
    let path = |number| RoutePath::parse(&format!("/services/{service}/{number}/v1")).expect("a good path");
    let route = |number| RouteId { frontend: name(), key: RouteKey::new(None, &path(number)) };
    let routes: Routes =
        (0..ROUTES_OF_A_SERVICE + more).map(|number| (route(number), Strip::NOTHING)).collect();
    ServiceSpec { entrance: Entrance::Routes(Arc::new(routes)), ..spec(service) }
}

/// What `HAProxy` tells when it holds just what was applied.
pub fn observed(applied: &AppliedState) -> ObservedRoutes {
    let Some(map) = MapFile::parse(MAP).filter(|_| !applied.base.frontends.is_empty()) else {
        return ObservedRoutes::new();
    };
    let entries = applied.services.iter().flat_map(|(name, service)| {
        let entry = |(id, strip): (&RouteId, &Strip)| {
            (id.key.as_str().to_owned(), vec![format!("{name}/{}", strip.get())])
        };
        service.section.routes.iter().map(entry).collect::<Vec<_>>()
    });
    [(map, entries.collect())].into()
}

fn name() -> FrontendName {
    FrontendName::parse("http-in").expect("a good name")
}

fn frontend() -> HttpFrontend {
    HttpFrontend {
        listen: vec![ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)))],
        bind_options: None,
        options: Vec::new(),
        default_service: None,
        map: MapFile::parse(MAP).expect("a path"),
        is_out: false,
    }
}
