//! The log of this process: lines for people, or one JSON object a line, with the node's name at its root.
//!
//! `room`, and `user` with `connection`, are spans; lines that are written within show them.

use std::{fmt, io::IsTerminal, sync::OnceLock};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, JsonFields, Writer},
    },
    registry::LookupSpan,
};

use crate::config::LogFormat;

/// The node that runs in this process: of several, as in tests, the first.
static NODE: OnceLock<String> = OnceLock::new();

/// From now on lines are of the node of that name.
pub fn belong_to(node: &str) {
    // It is named once a process.
    let _ = NODE.set(node.to_owned());
}

/// Its name, once it is known.
#[cfg(feature = "otel")]
pub(crate) fn node() -> Option<&'static str> {
    NODE.get().map(String::as_str)
}

/// Begins the log, on standard error. `RUST_LOG` says how much.
pub fn begin(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if json {
        let lines = Lines(Format::default().json().flatten_event(true));
        logs.fmt_fields(JsonFields::new())
            .event_format(lines)
            .init();
    } else {
        logs.init();
    }
}

/// JSON lines that begin with the node's name.
struct Lines(Format<Json>);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(node) = NODE.get() else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0
            .format_event(context, Writer::new(&mut line), event)?;
        let node = serde_json::Value::from(node.as_str());
        write!(writer, "{{\"node\":{node},{}", line.trim_start_matches('{'))
    }
}
