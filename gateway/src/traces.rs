//! A move's way over the nodes as an OpenTelemetry trace: the node it came to tells how long it took until it stood in the log, and
//! each node that shows it to somebody how long until the last of them had it.
//!
//! Nothing of this travels with the event. A trace's id, and that of its first span, follow from the room, the log's epoch and the
//! event's number, so that every node knows them, and chooses the same moves where not all are told of.
//!
//! The standard variables say where to (`OTEL_EXPORTER_OTLP_ENDPOINT`, or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`; neither: nowhere),
//! as what (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), how often (`OTEL_BSP_*`), and of which part of the moves
//! (`OTEL_TRACES_SAMPLER_ARG`, from 0 to 1).

use anyhow::Context as _;
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{Span, SpanContext, SpanKind, TraceContextExt, TraceState, Tracer, TracerProvider},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    trace::{IdGenerator, RandomIdGenerator, Sampler, SdkTracer, SdkTracerProvider},
};
use pubsub::{Epoch, Room};
use sha1::{Digest, Sha1};
use shared::Seq;
use std::{
    cell::Cell,
    sync::OnceLock,
    time::{Instant, SystemTime},
};

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Spans are told of until this is dropped; what waits is told then.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

/// Begins to tell of spans, if a variable says where to. Must be called outside of an asynchronous runtime: the exporter has a
/// thread of its own.
///
/// # Errors
/// A variable that makes no sense.
pub fn begin() -> anyhow::Result<Option<Traces>> {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let endpoints = [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    ];
    if !endpoints.into_iter().any(is_set) {
        return Ok(None);
    }
    let part = std::env::var("OTEL_TRACES_SAMPLER_ARG").ok();
    let part = part.filter(|part| !part.is_empty()).map(|part| {
        let part = part.parse().ok().filter(|part| (0.0..=1.0).contains(part));
        part.context("OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1")
    });
    let exporter = SpanExporter::builder()
        .with_http()
        .build()
        .context("OTEL_EXPORTER_OTLP_ENDPOINT")?;
    // The service's name is the variable's, if it is set.
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if !is_set("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name("rookery");
    }
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource.build())
        .with_id_generator(Ids)
        // Each span is judged by its trace's id, whatever is said of its parent: all nodes choose the same.
        .with_sampler(Sampler::TraceIdRatioBased(part.transpose()?.unwrap_or(1.0)))
        .build();
    let _ = TRACER.set(provider.tracer("rookery"));
    Ok(Some(Traces(provider)))
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            eprintln!("rookery: the last traces were not taken: {error}");
        }
    }
}

/// An event of a log, as its trace knows it.
#[derive(Debug, Clone)]
pub struct Trace {
    room: String,
    seq: Seq,
    trace_id: TraceId,
    first_span: SpanId,
}

impl Trace {
    /// Of an event. `None` where nobody is told.
    pub fn of(room: &Room, epoch: &Epoch, seq: Seq) -> Option<Trace> {
        TRACER.get()?;
        let digest = Sha1::new()
            .chain_update(room.as_str())
            .chain_update([0])
            .chain_update(epoch.as_str())
            .chain_update(seq.to_be_bytes())
            .finalize();
        let bytes: [u8; 20] = digest.into();
        let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
        trace_id.copy_from_slice(&bytes[..16]);
        span_id.copy_from_slice(&bytes[12..]);
        Some(Trace {
            room: room.to_string(),
            seq,
            trace_id: TraceId::from_bytes(trace_id),
            first_span: SpanId::from_bytes(span_id),
        })
    }

    /// The first span: what was asked at `came` stands in the log, which was asked for it at `asked`.
    pub fn appended(&self, came: Instant, asked: Instant) {
        let Some(tracer) = TRACER.get() else {
            return;
        };
        NEXT.set(Some((self.trace_id, self.first_span)));
        let first = tracer
            .span_builder("move")
            .with_kind(SpanKind::Server)
            .with_start_time(time_of(came))
            .with_attributes(self.attributes());
        let mut first = tracer.build_with_context(first, &Context::new());
        NEXT.set(None);
        let append = tracer
            .span_builder("append")
            .with_kind(SpanKind::Client)
            .with_start_time(time_of(asked))
            .with_attributes(self.attributes());
        tracer.build_with_context(append, &self.context()).end();
        first.end();
    }

    /// What came to this node at `came` was now written to the last of those whom it shows it to.
    pub fn delivered(&self, came: Instant) {
        let Some(tracer) = TRACER.get() else {
            return;
        };
        let deliver = tracer
            .span_builder("deliver")
            .with_kind(SpanKind::Consumer)
            .with_start_time(time_of(came))
            .with_attributes(self.attributes());
        tracer.build_with_context(deliver, &self.context()).end();
    }

    /// Within the first span, which may be another node's.
    fn context(&self) -> Context {
        Context::new().with_remote_span_context(SpanContext::new(
            self.trace_id,
            self.first_span,
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        ))
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let mut attributes = vec![
            KeyValue::new("rookery.room", self.room.clone()),
            KeyValue::new("rookery.seq", i64::try_from(self.seq).unwrap_or(i64::MAX)),
        ];
        if let Some(node) = crate::logs::node() {
            attributes.push(KeyValue::new("rookery.node", node));
        }
        attributes
    }
}

fn time_of(instant: Instant) -> SystemTime {
    SystemTime::now() - instant.elapsed()
}

thread_local! {
    /// The ids of the span that is built next on this thread.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but for a first span.
#[derive(Debug)]
struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        match NEXT.get() {
            Some((trace_id, _)) => trace_id,
            None => RandomIdGenerator::default().new_trace_id(),
        }
    }

    fn new_span_id(&self) -> SpanId {
        match NEXT.get() {
            Some((_, span_id)) => span_id,
            None => RandomIdGenerator::default().new_span_id(),
        }
    }
}
