//! `/status`: the cluster as this node sees it, as JSON for programs, as a page for people. The page fetches itself anew; it has
//! no script, and nothing from elsewhere.

use crate::{
    node::Node,
    status::{ArchiverState, Report, Status},
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use std::{fmt::Write, sync::Arc};

/// How often the page fetches itself, in seconds: nodes report every two.
const REFRESH_SECONDS: u32 = 3;

/// Nothing but the page's own style.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color-scheme:light dark}\
table{border-collapse:collapse;width:100%;margin:.5rem 0 2rem}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8884}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#c22;font-weight:600}h1{font-size:1.4rem}h2{font-size:1.1rem}";

/// See the module.
pub async fn status(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    let status = crate::status::status(&node).await;
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    if !wants_page(&headers) {
        return (no_store, Json(status)).into_response();
    }
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (no_store, head, page(&status)).into_response()
}

/// Browsers ask for HTML by name; programs for JSON, or for anything.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn page(status: &Status) -> String {
    let mut text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\"><title>Rookery: {} nodes</title><style>{STYLE}</style>\
         <h1>Rookery</h1><p>as {} sees it</p>",
        status.nodes.len(),
        escape(&status.asked)
    );
    text.push_str("<h2>Nodes</h2><table><tr><th>node<th>state<th>version<th class=n>up<th class=n>connections<th class=n>players\
         <th class=n>spectators<th class=n>rooms<th class=n>received/s<th class=n>delivered/s<th class=n>delay p99<th class=n>clock</tr>");
    for node in &status.nodes {
        let state = match (node.draining, node.ready) {
            (true, _) => "<span class=bad>leaving</span>",
            (false, true) => "ready",
            (false, false) => "<span class=bad>not ready</span>",
        };
        let _ = write!(
            text,
            "<tr><td>{}<td>{state}<td>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{}\
             <td class=n>{}<td class=n>{:+} ms</tr>",
            escape(&node.node),
            escape(&node.version),
            up(node),
            node.connections,
            node.players,
            node.spectators,
            node.rooms,
            node.received_per_second,
            node.deliveries_per_second,
            node.delay_p99_ms
                .map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms")),
            node.clock_offset_ms,
        );
    }
    let backplane = &status.backplane;
    let _ = write!(
        text,
        "</table><h2>Backplane</h2><p>{}, {} partitions, {}, {}</p>",
        escape(&backplane.mode),
        backplane.partitions,
        if backplane.reachable {
            "answers"
        } else {
            "<span class=bad>does not answer</span>"
        },
        if backplane.hears {
            "hears"
        } else {
            "<span class=bad>does not hear</span>"
        },
    );
    if !backplane.servers.is_empty() {
        text.push_str("<table><tr><th>server<th>state<th class=n>partitions<th>replicas<th class=n>clock</tr>");
    }
    for server in &backplane.servers {
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td class=n>{}<td>{}<td class=n>{}</tr>",
            escape(&server.address),
            if server.reachable {
                "answers"
            } else {
                "<span class=bad>does not answer</span>"
            },
            server.partitions,
            escape(&server.replicas.join(", ")),
            server
                .clock_offset_ms
                .map_or_else(|| "–".to_owned(), |ms| format!("{ms:+} ms")),
        );
    }
    if !backplane.servers.is_empty() {
        text.push_str("</table>");
    }
    if let Some(archive) = &status.archive {
        let archiver = match archive.archiver {
            Some(ArchiverState::Working) => "working",
            Some(ArchiverState::DatabaseAway) => "<span class=bad>waits for its database</span>",
            None => "not on these nodes",
        };
        let queue = match (archive.queue_entries, archive.queue_age_ms) {
            (Some(0), _) => "nothing waits".to_owned(),
            (Some(entries), Some(age_ms)) => {
                format!(
                    "{entries} entries wait, the oldest for {} s",
                    age_ms / 1_000
                )
            }
            _ => "<span class=bad>the queue cannot be seen</span>".to_owned(),
        };
        let _ = write!(text, "<h2>Archive</h2><p>archiver {archiver}, {queue}</p>");
    }
    text.push_str("<h2>Busiest rooms</h2><table><tr><th>game<th>White<th>Black<th class=n>spectators<th class=n>plies</tr>");
    for game in &status.busiest {
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td>{}<td class=n>{}<td class=n>{}</tr>",
            escape(game.game_id.as_str()),
            escape(&game.white_player.name),
            escape(&game.black_player.name),
            game.viewers,
            game.ply,
        );
    }
    text.push_str("</table></html>\n");
    text
}

fn up(node: &Report) -> String {
    let seconds = node.told_at.since(node.started_at).max(0) / 1_000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Names are people's own: nothing in them may become markup.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(
            escape("<b a='x' c=\"y\">&"),
            "&lt;b a=&#39;x&#39; c=&quot;y&quot;&gt;&amp;"
        );
    }
}
