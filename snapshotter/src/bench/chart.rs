//! The two charts of the report as SVG: start-up against image size, and the
//! stages of each start. Colours are classes, so that the page's style decides
//! them, in light and in dark.

use std::fmt::Write as _;

use super::report::{Kind, Place, Report, Series};
use super::stats::Spread;

/// A view of one figure of a series.
pub(super) type Figure = fn(&Series) -> Option<Spread>;

/// Median CPU time.
pub(super) const CPU: Figure = |series| series.summary.as_ref()?.cpu_ms;
/// Median wall time.
pub(super) const WALL: Figure = |series| Some(series.summary.as_ref()?.wall_ms);

/// Width of a panel with an image on the x axis, and where its plot lies.
const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 400.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 216.0;
/// Height of a line of text in a plot.
const LINE: f64 = 13.0;
/// About the width of a letter in a plot.
const LETTER: f64 = 6.2;

/// Text in XML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Round steps from 0 that cover `max`: the step and how many.
fn steps(max: f64) -> (f64, u32) {
    let rough = (max / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= rough);
    let step = step.unwrap_or(10.0 * power);
    let count = (1..=10).find(|&count| f64::from(count) * step >= max).unwrap_or(10);
    (step, count)
}

/// A number without useless zeros.
fn plain(value: f64) -> String {
    if value.fract().abs() < 1e-9 { format!("{value:.0}") } else { format!("{value}") }
}

/// Something to write beside the plot's marks, as near to `y` as others leave room.
struct Label {
    x: f64,
    y: f64,
    anchor: &'static str,
    text: String,
    class: &'static str,
}

impl Label {
    fn span(&self) -> (f64, f64) {
        #[expect(clippy::cast_precision_loss, reason = "letters of a name")]
        let width = self.text.chars().count() as f64 * LETTER;
        match self.anchor {
            "end" => (self.x - width, self.x),
            "middle" => (self.x - width / 2.0, self.x + width / 2.0),
            _ => (self.x, self.x + width),
        }
    }

    fn hits(&self, other: &Label) -> bool {
        let ((a, b), (c, d)) = (self.span(), other.span());
        a < d && c < b && (self.y - other.y).abs() < LINE
    }
}

/// Moves labels up or down until none lies on another.
fn place_labels(labels: Vec<Label>) -> Vec<Label> {
    let mut placed: Vec<Label> = Vec::new();
    for mut label in labels {
        let wanted = label.y;
        let shifts = (0..40).map(|n| f64::from((n + 1) / 2) * LINE * if n % 2 == 0 { 1.0 } else { -1.0 });
        for shift in shifts {
            label.y = wanted + shift;
            let inside = (TOP..BOTTOM).contains(&label.y);
            if inside && placed.iter().all(|other| !label.hits(other)) {
                break;
            }
        }
        placed.push(label);
    }
    placed
}

/// Start-up against image size at one place; `None` when nothing was measured there.
pub(super) fn against_size(report: &Report, place: &Place, figure: Figure, what: &str) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "a position on paper")]
    let points: Vec<(&str, f64, Spread)> = report
        .at(place)
        .filter_map(|(subject, series)| {
            let sizes = subject.sizes.as_ref()?;
            Some((subject.name.as_str(), sizes.image.max(1) as f64, figure(series)?))
        })
        .collect();
    let lines: Vec<(&str, Kind, Spread)> = report
        .at(place)
        .filter(|(subject, _)| subject.kind != Kind::App)
        .filter_map(|(subject, series)| Some((subject.name.as_str(), subject.kind, figure(series)?)))
        .collect();
    let top = points.iter().map(|point| point.2.q3).chain(lines.iter().map(|line| line.2.median));
    let (step, count) = steps(top.fold(0.0, f64::max) * 1.05);
    let max = step * f64::from(count);
    let (&(_, smallest, _), &(_, largest, _)) = (
        points.iter().min_by(|a, b| a.1.total_cmp(&b.1))?,
        points.iter().max_by(|a, b| a.1.total_cmp(&b.1))?,
    );
    let decades = (smallest.log10().floor(), largest.log10().ceil().max(smallest.log10().floor() + 1.0));
    let x = |bytes: f64| LEFT + (bytes.log10() - decades.0) / (decades.1 - decades.0) * (RIGHT - LEFT);
    let y = |ms: f64| BOTTOM - ms / max * (BOTTOM - TOP);

    let mut svg = open(WIDTH, HEIGHT, &format!("{what} against image size, {}", place.title()));
    for number in 0..=count {
        let (value, at) = (f64::from(number) * step, y(f64::from(number) * step));
        let class = if number == 0 { "axis" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        text(&mut svg, LEFT - 6.0, at + 4.0, "end", "tick", &plain(value));
    }
    let mut decade = decades.0;
    while decade <= decades.1 {
        let at = x(10f64.powf(decade));
        let _ = write!(
            svg,
            r#"<line class="axis" x1="{at:.1}" x2="{at:.1}" y1="{BOTTOM}" y2="{}"/>"#,
            BOTTOM + 4.0
        );
        text(&mut svg, at, BOTTOM + 17.0, "middle", "tick", &power_of_ten(decade));
        decade += 1.0;
    }
    text(
        &mut svg,
        f64::midpoint(LEFT, RIGHT),
        HEIGHT - 8.0,
        "middle",
        "name",
        "size of the image (log scale)",
    );
    let _ = write!(
        svg,
        r#"<text class="name" text-anchor="middle" transform="translate(12 {:.1}) rotate(-90)">{}, ms</text>"#,
        f64::midpoint(TOP, BOTTOM),
        escape(what)
    );
    let mut labels = Vec::new();
    for (name, kind, spread) in &lines {
        let (at, class) = (y(spread.median), if *kind == Kind::Floor { "floor" } else { "versus" });
        let _ = write!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        let said = format!("{name} {}", ms(spread.median));
        labels.push(Label {
            x: LEFT + 4.0,
            y: at - 4.0,
            anchor: "start",
            text: said,
            class: "mark-label quiet",
        });
    }
    for (name, bytes, spread) in &points {
        let (at, middle) = (x(*bytes), y(spread.median));
        let _ = write!(
            svg,
            r#"<line class="spread" x1="{at:.1}" x2="{at:.1}" y1="{:.1}" y2="{:.1}"/><circle class="point" cx="{at:.1}" cy="{middle:.1}" r="4"><title>{}</title></circle>"#,
            y(spread.q1),
            y(spread.q3),
            escape(&format!("{name}: {} ({} to {})", ms(spread.median), ms(spread.q1), ms(spread.q3)))
        );
        let said = format!("{name} {}", ms(spread.median));
        // Beside the point, on the side with more room.
        let right = at < f64::midpoint(LEFT, RIGHT);
        let (at, anchor) = if right { (at + 8.0, "start") } else { (at - 8.0, "end") };
        labels.push(Label { x: at, y: middle - 5.0, anchor, text: said, class: "mark-label" });
    }
    for label in place_labels(labels) {
        text(&mut svg, label.x, label.y, label.anchor, label.class, &label.text);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// 1e6 as `1 MB`.
fn power_of_ten(decade: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 12")]
    let decade = decade.max(0.0) as usize;
    let unit = units.get(decade / 3).unwrap_or(&"TB");
    format!("{} {unit}", ["1", "10", "100"][decade % 3])
}

/// Milliseconds for a label.
pub(super) fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

/// Stages as they are called in the legend: name of the mark, words, class.
pub(super) const STAGES: [(&str, &str, &str); 7] = [
    ("download", "page and download", "s0"),
    ("compile", "compile", "s1"),
    ("instantiate", "instantiate", "s2"),
    ("thaw", "thaw", "s3"),
    ("first-instruction", "to the first instruction", "s4"),
    ("first-output", "run to the first output", "s5"),
    ("", "all (no stages told)", "s6"),
];

fn stage_class(name: &str, alone: bool) -> &'static str {
    let wanted = if alone { "" } else { name };
    STAGES.iter().find(|(mark, _, _)| *mark == wanted).map_or("s6", |(_, _, class)| class)
}

/// Width of the bars' drawing, and where bars begin and end.
const BARS_WIDTH: f64 = 860.0;
const BARS_LEFT: f64 = 170.0;
const BARS_RIGHT: f64 = 780.0;
/// Height of a bar with its gap.
const ROW: f64 = 24.0;

/// Wall time of each start at one place, cut into stages; `None` when nothing was measured there.
pub(super) fn stages(report: &Report, place: &Place) -> Option<String> {
    let rows: Vec<(&str, Spread, Vec<(String, f64)>)> = report
        .at(place)
        .filter_map(|(subject, series)| {
            let summary = series.summary.as_ref()?;
            Some((subject.name.as_str(), summary.wall_ms, summary.stages_ms.clone()))
        })
        .collect();
    let longest = rows.iter().map(|(_, wall, stages)| wall.median.max(stages.iter().map(|s| s.1).sum()));
    let longest = longest.fold(0.0, f64::max);
    if rows.is_empty() || longest <= 0.0 {
        return None;
    }
    let (step, count) = steps(longest);
    let max = step * f64::from(count);
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let bottom = rows.len() as f64 * ROW + 6.0;
    let x = |ms: f64| BARS_LEFT + ms / max * (BARS_RIGHT - BARS_LEFT);
    let mut svg = open(BARS_WIDTH, bottom + 40.0, &format!("Stages of opening, {}", place.title()));
    for number in 0..=count {
        let (value, at) = (f64::from(number) * step, x(f64::from(number) * step));
        let class = if number == 0 { "axis" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x1="{at:.1}" x2="{at:.1}" y1="0" y2="{bottom:.1}"/>"#);
        text(&mut svg, at, bottom + 15.0, "middle", "tick", &plain(value));
    }
    text(&mut svg, f64::midpoint(BARS_LEFT, BARS_RIGHT), bottom + 34.0, "middle", "name", "wall time, ms");
    let mut top = 4.0;
    for (name, wall, stages) in &rows {
        text(&mut svg, BARS_LEFT - 8.0, top + 14.0, "end", "mark-label", &shortened(name));
        let alone = stages.len() < 2;
        let stages = if alone { vec![(String::new(), wall.median)] } else { stages.clone() };
        let mut from = 0.0;
        for (stage, length) in &stages {
            let (start, end) = (x(from), x(from + length));
            let words =
                STAGES.iter().find(|(mark, _, _)| mark == stage).map_or(stage.as_str(), |found| found.1);
            let _ = write!(
                svg,
                r#"<rect class="{}" x="{start:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"><title>{}</title></rect>"#,
                stage_class(stage, alone),
                end - start,
                ROW - 6.0,
                escape(&format!("{name}, {words}: {}", ms(*length)))
            );
            from += length;
        }
        text(&mut svg, x(from) + 6.0, top + 14.0, "start", "mark-label", &ms(wall.median));
        top += ROW;
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// A name that fits beside a bar.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 26 { name.to_string() } else { name.chars().take(25).chain(['…']).collect() }
}

fn open(width: f64, height: f64, title: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-label="{}">"#,
        escape(title)
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let words = escape(words);
    let _ =
        write!(svg, r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{words}</text>"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_steps_that_cover_all() {
        assert_eq!(steps(97.0), (20.0, 5));
        assert_eq!(steps(100.0), (20.0, 5));
        assert_eq!(steps(101.0), (50.0, 3));
        assert_eq!(steps(0.3), (0.1, 3));
        for max in [0.0, 1e-3, 7.0, 1234.5, 9e9] {
            let (step, count) = steps(max);
            assert!(step * f64::from(count) >= max && (1..=10).contains(&count), "{max}: {step} × {count}");
        }
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(power_of_ten(6.0), "1 MB");
        assert_eq!(power_of_ten(8.0), "100 MB");
        assert_eq!(power_of_ten(9.0), "1 GB");
    }

    #[test]
    fn labels_give_way() {
        let label = |y| Label { x: 100.0, y, anchor: "start", text: "the same place".into(), class: "" };
        let placed = place_labels(vec![label(100.0), label(101.0), label(102.0)]);
        for (at, one) in placed.iter().enumerate() {
            assert!(placed[at + 1..].iter().all(|other| !one.hits(other)));
        }
    }
}
