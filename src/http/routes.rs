//! Which path tells what.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use super::access::{Access, Denied, check_host};
use super::events::follow;
use super::live::Live;
use super::page;
use super::questions::Questions;
use super::stream::stream;
use crate::admin::exposition::Format;
use crate::admin::history::{EventsAnswer, EventsQuery, Reader};
use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::status::StatusQuery;
use crate::admin::why::{Why, WhyTold};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
/// What asks whether all is well has no token, and learns nothing else.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];
const INDEX: &str = "ProxyMgr\n\n/livez\n/readyz\n/metrics\n/api/v1/status\n/api/v1/status/SERVICE\n/api/v1/why/SERVICE\n\
    /api/v1/why/SERVICE/SERVER\n/api/v1/events?service=&last=&after=&follow=\n\
    /api/v1/traffic/SERVICE\n/api/v1/stream\n";

/// All that the paths need.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) listen: SocketAddr,
    pub(super) access: Access,
    pub(super) questions: Questions,
    pub(super) ready: watch::Receiver<bool>,
    pub(super) history: Reader,
    pub(super) live: Live,
}

pub(super) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(whole_status))
        .route("/api/v1/status/{service}", get(status))
        .route("/api/v1/why/{service}", get(why_service))
        .route("/api/v1/why/{service}/{server}", get(why_server))
        .route("/api/v1/events", get(events))
        .route("/api/v1/traffic/{service}", get(traffic))
        .route("/api/v1/stream", get(live_stream))
        .fallback(async || {
            refused(&Failure::new(FailureCode::NotFound, "nothing is here; / lists what there is"))
        })
        .method_not_allowed_fallback(async || {
            let failure =
                Failure::new(FailureCode::UnknownCommand, "this is for reading alone: GET and HEAD");
            with_status(StatusCode::METHOD_NOT_ALLOWED, &failure)
        })
        .layer(from_fn_with_state(Arc::clone(&site), guard))
        .with_state(site)
}

async fn guard(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // The page itself tells nothing; what it asks for needs the token.
    let is_public = HEALTH.contains(&path) || path == "/" && page::is_wanted(request.headers());
    let allowed = check_host(site.listen, request.headers())
        .and_then(|()| if is_public { Ok(()) } else { site.access.check(request.headers()) });
    let mut response = match allowed {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            let failure = Failure::new(FailureCode::Forbidden, denied.to_string());
            with_status(denied.status(), &failure)
        }
    };
    let headers = response.headers_mut();
    if allowed == Err(Denied::Token) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

async fn root(headers: HeaderMap) -> Response {
    if page::is_wanted(&headers) { page::page() } else { text(StatusCode::OK, INDEX) }
}

async fn livez(State(site): State<Arc<Site>>) -> Response {
    match site.questions.pulse().await {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        // It lets connections end.
        Err(failure) if failure.code == FailureCode::Ending => text(StatusCode::OK, "ok, it ends\n"),
        Err(failure) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")),
    }
}

async fn readyz(State(site): State<Arc<Site>>) -> Response {
    if *site.ready.borrow() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready: it starts, or its end was asked for\n")
    }
}

async fn metrics(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let metrics = match site.questions.metrics().await {
        Ok(metrics) => metrics,
        Err(failure) => return refused(&failure),
    };
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format =
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text };
    ([(CONTENT_TYPE, format.content_type())], metrics.text(format)).into_response()
}

async fn whole_status(State(site): State<Arc<Site>>) -> Response {
    site.questions.whole_status().await.map_or_else(|failure| refused(&failure), json_bytes)
}

async fn status(State(site): State<Arc<Site>>, Path(service): Path<String>) -> Response {
    match site.questions.status(StatusQuery { service: Some(service), servers: true }).await {
        Ok(answer) => json_of(&answer.status),
        Err(failure) => refused(&failure),
    }
}

async fn why_service(State(site): State<Arc<Site>>, Path(service): Path<String>) -> Response {
    why(&site, service, None).await
}

async fn why_server(
    State(site): State<Arc<Site>>,
    Path((service, server)): Path<(String, String)>,
) -> Response {
    why(&site, service, Some(&server)).await
}

async fn why(site: &Site, service: String, server: Option<&str>) -> Response {
    let query = StatusQuery { service: Some(service.clone()), servers: true };
    let answer = site.questions.status(query).await;
    // Others wait until this answer is put away.
    match answer.and_then(|answer| Why::of(&answer.status, server).map(|why| WhyTold::of(&why))) {
        Ok(why) => {
            let origin = site.questions.origin(service, server.map(str::to_owned)).await;
            json_of(&why.with(origin.as_ref()))
        }
        Err(failure) => refused(&failure),
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct EventsParameters {
    service: Option<String>,
    last: Option<usize>,
    after: Option<u64>,
    follow: bool,
}

async fn events(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    parameters: Result<Query<EventsParameters>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let EventsParameters { service, last, after, follow: goes_on } = match parameters {
        Ok(Query(parameters)) => parameters,
        Err(rejection) => {
            return refused(&Failure::new(FailureCode::Malformed, rejection.body_text()));
        }
    };
    // What a browser that connects again has heard last.
    let heard = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let query = EventsQuery { service, last, after: heard.or(after), follow: goes_on };
    if goes_on {
        return follow(site.history.clone(), query).into_response();
    }
    json_of(&EventsAnswer::of(&site.history.select(&query)))
}

async fn traffic(State(site): State<Arc<Site>>, Path(service): Path<String>) -> Response {
    match (site.live.traffic)(service).await {
        Ok(traffic) => json_of(&traffic),
        Err(failure) => refused(&failure),
    }
}

async fn live_stream(State(site): State<Arc<Site>>) -> Response {
    stream(&site.live.board, site.history.clone()).into_response()
}

fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, [(CONTENT_TYPE, TEXT)], text.into()).into_response()
}

fn json_of<T: Serialize>(answer: &T) -> Response {
    match serde_json::to_vec(answer) {
        Ok(json) => json_bytes(json.into()),
        Err(error) => refused(&Failure::new(FailureCode::Internal, error.to_string())),
    }
}

fn json_bytes(json: Bytes) -> Response {
    ([(CONTENT_TYPE, JSON)], json).into_response()
}

fn refused(failure: &Failure) -> Response {
    let status = match failure.code {
        FailureCode::NotFound => StatusCode::NOT_FOUND,
        FailureCode::Malformed | FailureCode::UnknownCommand | FailureCode::Version => {
            StatusCode::BAD_REQUEST
        }
        FailureCode::Forbidden => StatusCode::FORBIDDEN,
        FailureCode::Busy
        | FailureCode::Slow
        | FailureCode::Ending
        | FailureCode::NoAnswer
        | FailureCode::Superseded => StatusCode::SERVICE_UNAVAILABLE,
        FailureCode::Refused | FailureCode::NothingHeld | FailureCode::Internal | FailureCode::Other => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    with_status(status, failure)
}

fn with_status(status: StatusCode, failure: &Failure) -> Response {
    (status, [(CONTENT_TYPE, JSON)], json!({"error": failure}).to_string() + "\n").into_response()
}
