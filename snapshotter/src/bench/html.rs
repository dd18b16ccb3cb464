//! The report as one HTML file that needs nothing else: no script, no font, no
//! address outside of it.

use std::fmt::Write as _;

use super::chart::{self, STAGES, escape};
use super::report::{Kind, Place, Report};
use super::table::{bytes, failures};
use crate::progress::size;

/// Colours of the stages: Paul Tol's "bright" scheme, told apart by people who see colours differently.
const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --quiet: #656d76; --line: #d8dee4; --ground: #fff; --accent: #0b62c4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --quiet: #9198a1; --line: #30363d; --ground: #0d1117; --accent: #5aa9ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.about, .note { color: var(--quiet); }
code { font: .92em ui-monospace, monospace; overflow-wrap: anywhere; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: .5rem 1.5rem; }
figure { margin: 0; }
figcaption { font-weight: 600; margin: .75rem 0 .25rem; }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--quiet); } svg .grid { stroke: var(--line); }
svg .tick, svg .name, svg .quiet { fill: var(--quiet); } svg .mark-label { fill: var(--ink); paint-order: stroke; stroke: var(--ground); stroke-width: 3px; }
svg .mark-label.quiet { fill: var(--quiet); }
svg .floor { stroke: var(--quiet); stroke-dasharray: 4 3; } svg .versus { stroke: #ee6677; stroke-dasharray: 4 3; }
svg .spread { stroke: var(--accent); stroke-width: 2; } svg .point { fill: var(--accent); }
.s0 { fill: #9aa7b5; background: #9aa7b5; } .s1 { fill: #4477aa; background: #4477aa; }
.s2 { fill: #66ccee; background: #66ccee; } .s3 { fill: #228833; background: #228833; }
.s4 { fill: #ccbb44; background: #ccbb44; } .s5 { fill: #ee6677; background: #ee6677; }
.s6 { fill: #bbbbbb; background: #bbbbbb; } .s7 { fill: #aa3377; background: #aa3377; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .5rem 0 0; list-style: none; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
";

/// The whole file.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    let _ =
        writeln!(out, "<title>Start-up of container images</title>\n<style>{STYLE}</style>\n</head>\n<body>");
    about(&mut out, report);
    against_size(&mut out, report);
    stages(&mut out, report);
    images(&mut out, report);
    figures(&mut out, report);
    troubles(&mut out, report);
    method(&mut out, report);
    out.push_str("</body>\n</html>\n");
    out
}

fn about(out: &mut String, report: &Report) {
    let machine = &report.machine;
    let memory = machine.memory_bytes.map(|bytes| format!(", {} of memory", size(bytes))).unwrap_or_default();
    let hosts: Vec<String> = report.hosts.iter().map(|(_, what)| escape(what)).collect();
    let rounds =
        if report.runs == 1 { "1 round".to_string() } else { format!("medians of {} rounds", report.runs) };
    let _ = writeln!(
        out,
        "<h1>Start-up of container images</h1>\n<p class=\"about\">{}, {rounds}. {}, {} cores{memory}, {}. {}.</p>\n\
         <p><code>{}</code></p>",
        escape(&report.date),
        escape(&machine.cpu),
        machine.cores,
        escape(&machine.system),
        hosts.join("; "),
        escape(&report.command)
    );
}

fn against_size(out: &mut String, report: &Report) {
    for (figure, what, note) in [
        (
            chart::CPU,
            "CPU time to first output",
            "Of the host's whole process tree; the figure that other work on the machine disturbs least.",
        ),
        (chart::WALL, "Wall time to first output", "From the start of the process, or from navigation."),
    ] {
        let panel = |place: &&Place| {
            let svg = chart::against_size(report, place, figure, what)?;
            Some(format!("<figure><figcaption>{}</figcaption>{svg}</figure>\n", escape(&place.title())))
        };
        let panels: String = report.places().iter().filter_map(panel).collect();
        if !panels.is_empty() {
            let _ = writeln!(
                out,
                "<h2>{what} against image size</h2>\n<p class=\"note\">{note} Points are medians, bars their \
                 quartiles; dashed: the floor, an empty page with a worker or an empty module in the same rounds.</p>\n\
                 <div class=\"panels\">\n{panels}</div>"
            );
        }
    }
}

fn stages(out: &mut String, report: &Report) {
    let told = |place: &Place| {
        report.at(place).any(|(_, series)| series.summary.as_ref().is_some_and(|s| s.stages_ms.len() > 1))
    };
    let places: Vec<&Place> = report.places().into_iter().filter(|place| told(place)).collect();
    if places.is_empty() {
        return;
    }
    out.push_str("<h2>Where the time goes</h2>\n<ul class=\"legend\">");
    for (_, words, class) in STAGES {
        let _ = write!(out, "<li><i class=\"{class}\"></i>{words}</li>");
    }
    out.push_str("</ul>\n");
    for place in places {
        if let Some(svg) = chart::stages(report, place) {
            let title = escape(&place.title());
            let _ = writeln!(out, "<figure><figcaption>{title}</figcaption>{svg}</figure>");
        }
    }
}

fn row(out: &mut String, tag: &str, cells: &[String]) {
    let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
    let _ = writeln!(out, "<tr>{cells}</tr>");
}

fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    out.push_str("<div class=\"scroll\"><table>\n<thead>\n");
    row(out, "th", &head.iter().map(ToString::to_string).collect::<Vec<_>>());
    out.push_str("</thead>\n<tbody>\n");
    rows.for_each(|cells| row(out, "td", &cells));
    out.push_str("</tbody>\n</table></div>\n");
}

fn images(out: &mut String, report: &Report) {
    out.push_str("<h2>Images</h2>\n<p class=\"note\">Hot: code and frozen memory, needed at every opening. Cold: file contents, read on demand.</p>\n");
    let head = [
        "image",
        "size",
        "files",
        "frozen at",
        "layout",
        "app.wasm",
        "hot",
        "cold",
        "pack",
        "pack CPU",
        "pack memory",
    ];
    let dash = || "–".to_string();
    let seconds = |ms: f64| format!("{:.1} s", ms / 1e3);
    let apps = report.subjects.iter().filter(|subject| subject.kind == Kind::App);
    let rows = apps.map(|subject| {
        let of =
            |figure: fn(&super::report::Sizes) -> String| subject.sizes.as_ref().map_or_else(dash, figure);
        let pack = subject.pack;
        vec![
            subject.name.clone(),
            of(|sizes| size(sizes.image)),
            of(|sizes| sizes.files.to_string()),
            of(|sizes| sizes.freeze.clone()),
            of(|sizes| sizes.layout.to_string()),
            of(|sizes| size(sizes.app)),
            of(|sizes| size(sizes.code + sizes.hot)),
            of(|sizes| size(sizes.cold)),
            pack.map_or_else(dash, |pack| seconds(pack.wall_ms)),
            pack.and_then(|pack| pack.cpu_ms).map_or_else(dash, seconds),
            pack.and_then(|pack| pack.peak_memory_bytes).map_or_else(dash, size),
        ]
    });
    table(out, &head, rows);
}

fn figures(out: &mut String, report: &Report) {
    out.push_str("<h2>Figures</h2>\n");
    let ratio = |value: Option<f64>| value.map_or_else(|| "–".to_string(), |value| format!("{value:.2}"));
    for place in report.places() {
        let _ = writeln!(out, "<h3>{}</h3>", escape(&place.title()));
        let browser = place.host == "browser";
        let mut head = vec!["", "CPU", "× floor", "wall", "× floor", "quartiles", "memory"];
        if browser {
            head.extend(["bytes before output", "bytes of the visit"]);
        }
        let rows = report.at(place).map(|(_, series)| {
            let mut cells = vec![series.subject.clone()];
            let Some(summary) = &series.summary else {
                cells.push("failed".to_string());
                cells.resize(head.len(), String::new());
                return cells;
            };
            let wall = summary.wall_ms;
            cells.extend([
                summary.cpu_ms.map_or_else(|| "–".to_string(), |cpu| chart::ms(cpu.median)),
                ratio(summary.cpu_over_floor),
                chart::ms(wall.median),
                ratio(summary.wall_over_floor),
                format!("{:.0} to {:.0}", wall.q1, wall.q3),
                bytes(summary.memory_bytes),
            ]);
            if browser {
                cells.extend([bytes(summary.bytes_before_output), bytes(summary.bytes)]);
            }
            cells
        });
        table(out, &head, rows);
    }
}

fn troubles(out: &mut String, report: &Report) {
    let failed = failures(report);
    if failed.is_empty() && report.missing.is_empty() {
        return;
    }
    out.push_str("<h2>What was not measured</h2>\n<ul>\n");
    for (name, reason) in &failed {
        let _ = writeln!(out, "<li>{}: {}</li>", escape(name), escape(reason));
    }
    for (name, reason) in report.missing_by_reason() {
        let _ = writeln!(out, "<li>{}: {}</li>", escape(&name), escape(reason));
    }
    out.push_str("</ul>\n");
}

fn method(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "<h2>How it was measured</h2>\n<p class=\"note\">In each of {} rounds everything was opened once, one after the \
         other, beginning with another one each time. A browser is a new profile in each round; a cold visit is the \
         first to its address, and stays two and a half seconds; a warm one is the second. All bytes pass a relay on \
         this machine that counts them and plays bandwidth and delay, for the floor too; it plays no packet loss and \
         no slow start. Memory is what the processes alone have and have written to: of a page its renderer's after \
         its output, of a command its process tree's at its first output. Stages end at the page's performance \
         marks.</p>",
        report.runs
    );
}

#[cfg(test)]
#[path = "html_test.rs"]
mod html_test;
