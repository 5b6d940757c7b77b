//! Figures for people: a table on the terminal, JSON, and one HTML page with its plots inside.

use crate::figures::{Delay, Figures, Sample};
use anyhow::Context;
use plotters::prelude::*;
use std::{collections::BTreeMap, fmt::Write, path::Path};

/// Colours of lines, told apart by people who see red and green alike too (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(100, 100, 100),
];

const PLOT_SIZE: (u32, u32) = (720, 340);

/// Rows of the table: what, and its cell for a run.
type Row = (&'static str, fn(&Figures) -> String);

const ROWS: &[Row] = &[
    ("server processes", |f| f.servers.to_string()),
    ("spectators (stalled)", |f| {
        format!("{} ({})", f.spectators, f.stalled)
    }),
    ("rooms", |f| f.rooms.to_string()),
    ("joins/s, server CPU each", |f| {
        format!("{:.0}, {:.0} µs", f.join.per_second, f.join.cpu_us)
    }),
    ("user memory per spectator", |f| {
        bytes(f.memory.user_bytes_per_spectator)
    }),
    ("kernel memory per connection", |f| {
        bytes(f.memory.kernel_bytes_per_connection)
    }),
    ("events/s", |f| format!("{:.2}", f.events_per_second)),
    ("deliveries", |f| f.deliveries.to_string()),
    ("bytes per delivery", |f| {
        format!("{:.0}", f.bytes_per_delivery)
    }),
    ("lost, repeated, reordered", |f| {
        format!("{}, {}, {}", f.lost, f.repeated, f.reordered)
    }),
    ("snapshots for events", |f| {
        format!("{} for {}", f.snapshots, f.skipped)
    }),
    ("failed, closed", |f| format!("{}, {}", f.failed, f.closed)),
    ("server CPU per delivery", |f| {
        format!("{:.2} µs", f.cpu_per_delivery_us)
    }),
    ("server CPU", |f| format!("{:.2} cores", f.cpu_cores)),
    ("Redis CPU per event", |f| {
        format!("{:.0} µs", f.redis_cpu_per_event_us)
    }),
    ("client CPU per delivery", |f| {
        format!("{:.2} µs", f.client_cpu_per_delivery_us)
    }),
    ("to the last socket", |f| delay(&f.last_socket)),
    ("to each spectator", |f| delay(&f.spectator)),
    ("to each player", |f| delay(&f.player)),
    ("chat to each spectator", |f| delay(&f.chat)),
];

fn delay(delay: &Delay) -> String {
    if delay.count == 0 {
        return "–".to_owned();
    }
    format!(
        "p50 {:.1}, p99 {:.1}, max {:.1} ms",
        delay.p50, delay.p99, delay.max
    )
}

fn bytes(bytes: f64) -> String {
    if bytes.abs() >= 10_240.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{bytes:.0} B")
    }
}

/// Figures of a run against those of the floor.
pub struct Ratios {
    pub cpu: f64,
    pub last_p50: f64,
    pub last_p99: f64,
    pub player_p99: f64,
}

impl Ratios {
    pub fn of(run: &Figures, floor: &Figures) -> Ratios {
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { f64::NAN };
        Ratios {
            cpu: ratio(run.cpu_per_delivery_us, floor.cpu_per_delivery_us),
            last_p50: ratio(run.last_socket.p50, floor.last_socket.p50),
            last_p99: ratio(run.last_socket.p99, floor.last_socket.p99),
            player_p99: ratio(run.player.p99, floor.player.p99),
        }
    }
}

/// Writes a table to standard output.
pub fn print(runs: &[Figures]) {
    print!("{:<30}", "");
    for run in runs {
        print!(" {:>34}", run.name);
    }
    println!();
    for (name, cell) in ROWS {
        print!("{name:<30}");
        for run in runs {
            print!(" {:>34}", cell(run));
        }
        println!();
    }
    if let Some(floor) = runs.iter().find(|run| run.name == "floor") {
        for run in runs.iter().filter(|run| run.name != "floor") {
            let Ratios {
                cpu,
                last_p50,
                last_p99,
                player_p99,
            } = Ratios::of(run, floor);
            println!(
                "{} : floor   CPU per delivery {cpu:.2}, to the last socket p50 {last_p50:.2} p99 {last_p99:.2}, player p99 {player_p99:.2}",
                run.name
            );
        }
    }
    for run in runs {
        if let Some(back) = &run.returned {
            println!(
                "{}: {} came back in {:.1} s, {:.0} µs of server CPU each; out of the room {}",
                run.name,
                back.sockets,
                back.seconds,
                back.cpu_us,
                delay(&back.delay)
            );
        }
        for (trouble, count) in &run.troubles {
            println!("{}: {trouble}: {count}", run.name);
        }
    }
    if runs.iter().any(|run| !run.machine.release) {
        println!(
            "This is a debug build: its figures say nothing about speed (make load builds a release)."
        );
    }
}

/// What took part, by the first line that each program says of itself.
pub fn versions() -> BTreeMap<&'static str, String> {
    let mut versions = BTreeMap::from([("rookery", env!("CARGO_PKG_VERSION").to_owned())]);
    for program in ["redis-server", "node"] {
        let output = std::process::Command::new(program)
            .arg("--version")
            .output();
        if let Ok(output) = output {
            let text = String::from_utf8_lossy(&output.stdout);
            let first = text.lines().next().unwrap_or_default();
            versions.insert(program, first.to_owned());
        }
    }
    versions
}

/// Runs beyond so many are kept without what happened from moment to moment: a report that is kept must be small.
const SERIES_MAX: usize = 6;

/// Writes `NAME.json` and `NAME.html` into this folder.
pub fn write(folder: &Path, name: &str, runs: &[Figures]) -> anyhow::Result<()> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let mut kept = runs.to_vec();
    if kept.len() > SERIES_MAX {
        for run in &mut kept {
            run.series.clear();
        }
    }
    let whole = serde_json::json!({
        "command": format!("load {}", command.join(" ")),
        "versions": versions(),
        "runs": kept,
    });
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let json = folder.join(format!("{name}.json"));
    let text = serde_json::to_string(&whole)?;
    std::fs::write(&json, text).with_context(|| format!("{}", json.display()))?;
    let html = folder.join(format!("{name}.html"));
    std::fs::write(&html, page(runs, &command.join(" "))?)
        .with_context(|| format!("{}", html.display()))?;
    println!("{} {}", json.display(), html.display());
    Ok(())
}

fn page(runs: &[Figures], command: &str) -> anyhow::Result<String> {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Rookery under load</title><style>\
         body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;background:#fff;color:#111}\
         table{border-collapse:collapse}td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:right}\
         td:first-child,th:first-child{text-align:left}svg{max-width:100%;height:auto}code{background:#eee;padding:.1rem .3rem}</style>\
         <h1>Rookery under load</h1>",
    );
    if let Some(run) = runs.first() {
        let machine = &run.machine;
        write!(
            page,
            "<p><code>load {}</code><br>{} cores of {}, {} GiB, Linux {}{}</p>",
            escape(command),
            machine.cores,
            escape(&machine.cpu),
            machine.memory_gib,
            escape(&machine.linux),
            if machine.release {
                ""
            } else {
                "; a debug build, whose figures say nothing about speed"
            },
        )?;
    }
    page.push_str("<table><tr><th></th>");
    for run in runs {
        write!(page, "<th>{}</th>", escape(&run.name))?;
    }
    page.push_str("</tr>");
    for (name, cell) in ROWS {
        write!(page, "<tr><td>{name}</td>")?;
        for run in runs {
            write!(page, "<td>{}</td>", escape(&cell(run)))?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    let curves = |pick: fn(&Figures) -> &Delay| -> Vec<(String, Vec<(f64, f64)>)> {
        let runs = runs.iter().filter(|run| !pick(run).curve.is_empty());
        runs.map(|run| (run.name.clone(), pick(run).curve.clone()))
            .collect()
    };
    let over_time = |value: fn(&Sample) -> f64| -> Vec<(String, Vec<(f64, f64)>)> {
        let line = |run: &Figures| run.series.iter().map(|s| (s.second, value(s))).collect();
        runs.iter()
            .map(|run| (run.name.clone(), line(run)))
            .collect()
    };
    let plots = [
        (
            "Delay to each spectator by percentile, ms",
            curves(|f| &f.spectator),
        ),
        (
            "Delay to the last socket by percentile, ms",
            curves(|f| &f.last_socket),
        ),
        (
            "Delay to each player by percentile, ms",
            curves(|f| &f.player),
        ),
        ("Connections over seconds", over_time(|s| s.ready as f64)),
        (
            "CPU seconds of the servers over seconds",
            over_time(|s| s.cpu),
        ),
        (
            "Resident memory of the servers over seconds, MiB",
            over_time(|s| s.memory as f64 / 1_048_576.0),
        ),
    ];
    for (title, lines) in plots {
        if lines.iter().any(|(_, points)| points.len() > 1) {
            page.push_str(&plot(title, &lines)?);
        }
    }
    page.push_str("</html>");
    Ok(page)
}

/// Lines in one frame, as SVG.
pub fn plot(title: &str, lines: &[(String, Vec<(f64, f64)>)]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let max = |pick: fn(&(f64, f64)) -> f64| points().map(pick).fold(0.0, f64::max) * 1.05;
        let (x_max, y_max) = (max(|p| p.0), max(|p| p.1));
        let area = SVGBackend::with_string(&mut svg, PLOT_SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..x_max.max(1e-9), 0.0..y_max.max(1e-9))?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (number, (name, points)) in lines.iter().enumerate() {
            let color = COLORS[number % COLORS.len()];
            chart
                .draw_series(LineSeries::new(
                    points.iter().copied(),
                    color.stroke_width(2),
                ))?
                .label(name.clone())
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(TRANSPARENT)
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// Values as lying bars, as SVG.
pub fn bars(title: &str, values: &[(String, f64)]) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let most = values.iter().map(|(_, value)| *value).fold(1e-9, f64::max) * 1.15;
        let rows = values.len().max(1);
        let height = u32::try_from(60 + 26 * rows)?;
        let area = SVGBackend::with_string(&mut svg, (PLOT_SIZE.0, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(10)
            .build_cartesian_2d(-0.35 * most..most, 0.0..rows as f64)?;
        for (row, (name, value)) in values.iter().enumerate() {
            let (bottom, top) = ((rows - row) as f64 - 0.85, (rows - row) as f64 - 0.15);
            let color = if name.starts_with("rookery") {
                COLORS[5]
            } else {
                COLORS[0]
            };
            let text = |x, text: String| Text::new(text, (x, top - 0.05), ("sans-serif", 13));
            chart.draw_series([Rectangle::new(
                [(0.0, bottom), (*value, top)],
                color.filled(),
            )])?;
            chart.draw_series([text(-0.35 * most, name.clone())])?;
            chart.draw_series([text(value + 0.01 * most, format!("{value:.2}"))])?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_whole_svg_with_all_its_lines() {
        let lines = [
            ("one".to_owned(), vec![(0.0, 1.0), (1.0, 2.0)]),
            ("two".to_owned(), vec![(0.0, 3.0), (1.0, 1.0)]),
        ];
        let svg = plot("Title", &lines).expect("it is drawn");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for word in ["Title", "one", "two"] {
            assert!(svg.contains(word), "{word}");
        }
    }
}
