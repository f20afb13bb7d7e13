//! One connection: from its place within the limits to its end.
//!
//! `hyper` reads heads and writes answers; here are the bounds around it. What a request may cost is decided in
//! [`converse`], what a connection may, in [`carry`].

use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Handler, Request, Response, Service};
use crate::config::SessionLimits;
use crate::daemon::{Accepted, Phase};
use crate::event::Event;
use crate::inbound::listener::{Crowded, Place};

/// Connections to all services together; each client its share, so that none can take all.
const CONNECTIONS: SessionLimits = SessionLimits { all: 256, per_address: 32 };
/// Connections to one service, so that a crowd at one leaves the others alone.
const OF_ONE_SERVICE: SessionLimits = SessionLimits { all: 128, per_address: 16 };
/// A request's head must be complete within this; an idle connection is closed after it.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// From a request's head to its answer.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// A connection takes no more requests after this.
const CONNECTION_TIME: Duration = Duration::from_mins(2);
/// A request's head may have so many octets, and so many fields.
const HEAD_MOST: usize = 16 * 1024;
const FIELDS_MOST: usize = 64;
/// A request's body may have so many octets.
const BODY_MOST: u64 = 256 * 1024;
/// So many requests are answered on one connection.
const REQUESTS_MOST: u32 = 100;
/// A client that is turned away has so long to read why.
const TURN_AWAY: Duration = Duration::from_secs(1);

/// Serves a connection that was accepted.
pub(crate) fn start(accepted: Accepted<Service>) {
    let shared = Arc::clone(&accepted.shared);
    tokio::spawn(shared.tasks.track_future(serve(accepted)));
}

async fn serve(accepted: Accepted<Service>) {
    let Accepted { stream, client, current: service, shared, phase } = accepted;
    match shared.http_connections.enter(CONNECTIONS, &service.name, OF_ONE_SERVICE, client.ip()) {
        Ok(place) => carry(stream, &*service.handler, Visit { client: client.ip(), phase, place }).await,
        Err(crowded) => {
            let reason = match crowded {
                Crowded::Full => "too many connections",
                Crowded::Client => "too many connections of this client",
            };
            let (listener, reason_told) = (service.name.clone(), reason.to_owned());
            shared.observer.daemon(Event::SessionRefused { listener, client, reason: reason_told });
            turn_away(stream, reason).await;
        }
    }
}

/// Who is connected, and for how long it may be.
pub(super) struct Visit {
    pub(super) client: IpAddr,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) place: Place,
}

/// Serves requests until the client goes, the connection is old enough, or the daemon drains. What is under way then is
/// finished, within the time that a request has.
pub(super) async fn carry<S>(stream: S, handler: &dyn Handler, visit: Visit)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Visit { client, mut phase, place: _place } = visit;
    let answered = AtomicU32::new(0);
    let service = service_fn(|request| {
        let last = answered.fetch_add(1, Ordering::Relaxed) + 1 >= REQUESTS_MOST;
        let answer = converse(handler, client, request);
        async move { Ok::<_, Infallible>(to_hyper(answer.await, last)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(HEAD_MOST)
        .max_headers(FIELDS_MOST)
        .max_buf_size(2 * HEAD_MOST)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Whatever ends it, there is nobody to tell.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase != Phase::Running) => {}
        () = sleep(CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(REQUEST_TIME, connection).await;
}

async fn converse(handler: &dyn Handler, client: IpAddr, request: hyper::Request<Incoming>) -> Response {
    let whole = async {
        match read(client, request).await {
            Ok(request) => handler.answer(request).await,
            Err(refusal) => refusal,
        }
    };
    timeout(REQUEST_TIME, whole).await.unwrap_or_else(|_| {
        let error = "the request was not complete, or not answered, in time";
        Response::problem(StatusCode::REQUEST_TIMEOUT, error, "try again")
    })
}

async fn read(client: IpAddr, request: hyper::Request<Incoming>) -> Result<Request, Response> {
    let (head, body) = request.into_parts();
    if body.size_hint().lower() > BODY_MOST {
        // Known before it is sent: with `Expect: 100-continue` it never is.
        return Err(too_large());
    }
    let most = usize::try_from(BODY_MOST).unwrap_or(usize::MAX);
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(Request::new(client, head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            let error = "the body broke off, or is not encoded as HTTP/1.1 demands";
            Err(Response::problem(StatusCode::BAD_REQUEST, error, "send it again"))
        }
    }
}

fn too_large() -> Response {
    let error = format!("the body is larger than {BODY_MOST} octets");
    Response::problem(StatusCode::PAYLOAD_TOO_LARGE, &error, "send only what is asked for")
}

fn to_hyper(answer: Response, last: bool) -> hyper::Response<Full<Bytes>> {
    let Response { status, headers, body } = answer;
    let mut response = hyper::Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Says why without reading anything, which is all that such a client may cost.
async fn turn_away(mut stream: TcpStream, reason: &str) {
    let body = format!("{reason}\n");
    let reply = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nRetry-After: 60\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = timeout(TURN_AWAY, stream.write_all(reply.as_bytes())).await;
}
