//! `rookery nodes`: every node and what it says of itself, as a table. Read from Redis, or, without one, from the admin port of the
//! node on this machine.

use super::ask_admin;
use crate::{
    config::Config,
    status::{self, Report, Status},
};
use anyhow::{Context, bail};
use std::fmt::Write;

/// Reads the reports.
pub async fn reports(config: &Config) -> anyhow::Result<Vec<Report>> {
    if config.redis_url.is_empty() {
        let (code, body) = ask_admin(config, "/status")
            .await
            .map_err(anyhow::Error::msg)?;
        if !code.is_success() {
            bail!("/status answers {code}: is --admin-token the node's?");
        }
        let status: Status =
            serde_json::from_slice(&body).context("/status tells something else")?;
        return Ok(status.nodes);
    }
    let backplane = crate::server::backplane(config, "rookery-nodes").await?;
    Ok(status::reports(backplane.as_ref()).await?)
}

/// The table.
pub fn table(reports: &[Report]) -> String {
    let head = [
        "node",
        "state",
        "version",
        "up",
        "connections",
        "players",
        "spectators",
        "rooms",
        "received/s",
        "delivered/s",
        "p99",
        "clock",
    ];
    let rows = reports.iter().map(|report| {
        let up_s = report.told_at.since(report.started_at).max(0) / 1_000;
        [
            // A name is its operator's own, but a terminal obeys what it is shown.
            report
                .node
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect(),
            state(report).to_owned(),
            report.version.chars().filter(|c| !c.is_control()).collect(),
            format!("{}:{:02}:{:02}", up_s / 3_600, up_s / 60 % 60, up_s % 60),
            report.connections.to_string(),
            report.players.to_string(),
            report.spectators.to_string(),
            report.rooms.to_string(),
            report.received_per_second.to_string(),
            report.deliveries_per_second.to_string(),
            report
                .delay_p99_ms
                .map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
            format!("{:+} ms", report.clock_offset_ms),
        ]
    });
    let rows: Vec<[String; 12]> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let mut widths = [0; 12];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn state(report: &Report) -> &'static str {
    match (report.draining, report.ready) {
        (true, _) => "leaving",
        (false, true) => "ready",
        (false, false) => "not ready",
    }
}
