//! A move's trace, as a collector gets it from three nodes by the standard protocol.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use std::{
    convert::Infallible,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tests::{
    cluster::{Listening, rookery, until},
    player::{Player, UNTIMED},
    servers::RedisServer,
};
use tokio::net::TcpListener;

/// Takes spans, as any collector does that speaks OTLP over HTTP.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Told>>>,
}

/// A span and what was said of it.
#[derive(Debug, Clone)]
struct Told {
    service: String,
    node: String,
    seq: i64,
    room: String,
    span: Span,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let spans = Arc::new(Mutex::default());
        let taken = spans.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let taken: Arc<Mutex<Vec<Told>>> = taken.clone();
                tokio::spawn(async move {
                    let serve = service_fn(|request: Request<Incoming>| take(request, &taken));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), serve)
                        .await;
                });
            }
        });
        Collector { address, spans }
    }

    /// What was told of the event of that number.
    fn of(&self, room: &str, seq: i64) -> Vec<Told> {
        let spans = self.spans.lock().unwrap();
        let wanted = |told: &&Told| told.seq == seq && told.room == room;
        spans.iter().filter(wanted).cloned().collect()
    }
}

async fn take(
    request: Request<Incoming>,
    taken: &Mutex<Vec<Told>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/traces");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let told = ExportTraceServiceRequest::decode(body).unwrap();
    for told in told.resource_spans {
        let service = text(&told.resource.unwrap().attributes, "service.name");
        for span in told.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            taken.lock().unwrap().push(Told {
                service: service.clone(),
                node: text(&span.attributes, "rookery.node"),
                room: text(&span.attributes, "rookery.room"),
                seq: number(&span.attributes, "rookery.seq"),
                span,
            });
        }
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    Ok(Response::new(Full::from(answer)))
}

fn value<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    value.unwrap_or_else(|| panic!("{key} in {attributes:?}"))
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    match value(attributes, key) {
        Value::StringValue(text) => text.clone(),
        other => panic!("{key} is {other:?}"),
    }
}

fn number(attributes: &[KeyValue], key: &str) -> i64 {
    match value(attributes, key) {
        Value::IntValue(number) => *number,
        other => panic!("{key} is {other:?}"),
    }
}

/// Nodes that are ended with the test.
struct Nodes(Vec<(Child, SocketAddr)>);

impl Drop for Nodes {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn serve(redis: &str, name: &str) -> Command {
    let mut command = Command::new(rookery());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(["--admin-listen", "127.0.0.1:0", "--node-id", name])
        .args(["--redis-url", redis, "--token-secret", SECRET])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_followed_over_three_nodes() {
    let (collector, redis) = (Collector::start().await, RedisServer::start().await);
    let endpoint = format!("http://{}", collector.address);
    let nodes = ["a", "b", "c"].map(|name| {
        let mut command = serve(&redis.url(), name);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "100");
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let listening = Listening::read(&mut child).unwrap();
        (child, listening.http)
    });
    let nodes = Nodes(nodes.into());
    let witness: Arc<tests::witness::Witness> = Arc::default();
    let come =
        async |name, node: usize| Player::comes(name, nodes.0[node].1, witness.clone()).await;
    let mut white = come("White", 0).await;
    let mut black = come("Black", 1).await;
    let mut carol = come("Carol", 2).await;
    let game = white.invites(UNTIMED, "white").await;
    black.accepts(&game).await;
    white.starts().await;
    carol.watches(&game).await;
    white.plays("e4").await;
    black.plays("e5").await;
    for (seq, mover) in [(1, "a"), (2, "b")] {
        until("all is told", async || collector.of(&game, seq).len() >= 5).await;
        let told = collector.of(&game, seq);
        let named = |name: &str| -> Vec<&Told> {
            told.iter().filter(|told| told.span.name == name).collect()
        };
        let ([first], [append]) = (&named("move")[..], &named("append")[..]) else {
            panic!("{told:#?}")
        };
        assert_eq!((first.node.as_str(), append.node.as_str()), (mover, mover));
        assert!(first.span.parent_span_id.is_empty());
        let mut shown: Vec<&str> = named("deliver")
            .iter()
            .map(|told| told.node.as_str())
            .collect();
        shown.sort_unstable();
        assert_eq!(shown, ["a", "b", "c"]);
        for Told { service, span, .. } in &told {
            assert_eq!(service, "rookery");
            assert_eq!(span.trace_id, first.span.trace_id);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            if span.name != "move" {
                assert_eq!(span.parent_span_id, first.span.span_id);
            }
        }
        assert!(first.span.start_time_unix_nano <= append.span.start_time_unix_nano);
    }
    let ids = [1, 2].map(|seq| collector.of(&game, seq)[0].span.trace_id.clone());
    assert_ne!(ids[0], ids[1], "each move is a trace of its own");
}

#[tokio::test]
async fn a_part_that_is_none_is_refused_at_the_start() {
    let mut command = serve("redis://127.0.0.1:1", "a");
    let ended = command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_TRACES_SAMPLER_ARG", "most")
        .output()
        .unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1"),
        "{said}"
    );
}
