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
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 370.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 216.0;
/// Height of a line of text in a plot.
const LINE: f64 = 13.0;
/// About the width of a letter in a plot.
const LETTER: f64 = 6.8;

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

/// A box of one line of text in a plot, or of a mark that text must not lie on.
#[derive(Debug, Clone, Copy)]
struct Spot {
    from: f64,
    to: f64,
    y: f64,
}

impl Spot {
    /// Text of `letters` letters that begins at `x`, or ends there.
    fn text(x: f64, y: f64, ends: bool, letters: usize) -> Spot {
        #[expect(clippy::cast_precision_loss, reason = "letters of a name")]
        let width = letters as f64 * LETTER;
        if ends { Spot { from: x - width, to: x, y } } else { Spot { from: x, to: x + width, y } }
    }

    fn hits(self, other: Spot) -> bool {
        self.from < other.to && other.from < self.to && (self.y - other.y).abs() < LINE
    }

    /// This, moved up or down as little as it takes to hit nothing of `taken`.
    fn moved(self, taken: &[Spot]) -> Spot {
        let shift = |n: i32| f64::from((n + 1) / 2) * LINE / 2.0 * if n % 2 == 0 { 1.0 } else { -1.0 };
        let tries = (0..80).map(|n| Spot { y: self.y + shift(n), ..self });
        let free =
            |place: &Spot| (TOP..BOTTOM).contains(&place.y) && taken.iter().all(|other| !place.hits(*other));
        tries.into_iter().find(free).unwrap_or(self)
    }
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
    // A little room beside the first and the last point.
    let smallest = points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min) / 1.5;
    let largest = points.iter().map(|point| point.1).fold(0.0, f64::max) * 1.5;
    if points.is_empty() {
        return None;
    }
    let (first, last) = (smallest.log10(), largest.log10());
    let x = |bytes: f64| LEFT + (bytes.log10() - first) / (last - first) * (RIGHT - LEFT);
    let y = |ms: f64| BOTTOM - ms / max * (BOTTOM - TOP);

    let mut svg = open(WIDTH, HEIGHT, &format!("{what} against image size, {}", place.title()));
    for number in 0..=count {
        let (value, at) = (f64::from(number) * step, y(f64::from(number) * step));
        let class = if number == 0 { "axis" } else { "grid" };
        let _ = write!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        text(&mut svg, LEFT - 6.0, at + 4.0, "end", "tick", &plain(value));
    }
    let mut decade = first.ceil();
    while decade <= last {
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
    // Lines are named in the margin, points beside themselves.
    let mut taken: Vec<Spot> = Vec::new();
    for (name, kind, spread) in &lines {
        let (at, class) = (y(spread.median), if *kind == Kind::Floor { "floor" } else { "versus" });
        let _ = write!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1}" y2="{at:.1}"/>"#);
        let said = format!("{} {}", shortened(name, 8), ms(spread.median));
        let place = Spot::text(RIGHT + 5.0, at + 4.0, false, said.chars().count()).moved(&taken);
        text(&mut svg, place.from, place.y, "start", "mark-label quiet", &said);
        taken.push(place);
    }
    taken.extend(points.iter().map(|(_, bytes, spread)| {
        let at = x(*bytes);
        Spot { from: at - 5.0, to: at + 5.0, y: y(spread.median) + 4.0 }
    }));
    for (name, bytes, spread) in &points {
        let (at, middle) = (x(*bytes), y(spread.median));
        let said = format!("{} {}", shortened(name, 18), ms(spread.median));
        // On the side with more room.
        let ends = at > f64::midpoint(LEFT, RIGHT);
        let edge = if ends { at - 9.0 } else { at + 9.0 };
        let place = Spot::text(edge, middle + 4.0, ends, said.chars().count()).moved(&taken);
        let moved = (place.y - middle - 4.0).abs() > LINE;
        if moved {
            let (x2, y2) = (if ends { edge + 2.0 } else { edge - 2.0 }, place.y - 4.0);
            let _ = write!(
                svg,
                r#"<line class="axis" x1="{at:.1}" y1="{middle:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
            );
        }
        let _ = write!(
            svg,
            r#"<line class="spread" x1="{at:.1}" x2="{at:.1}" y1="{:.1}" y2="{:.1}"/><circle class="point" cx="{at:.1}" cy="{middle:.1}" r="4"><title>{}</title></circle>"#,
            y(spread.q1),
            y(spread.q3),
            escape(&format!("{name}: {} ({} to {})", ms(spread.median), ms(spread.q1), ms(spread.q3)))
        );
        text(&mut svg, edge, place.y, if ends { "end" } else { "start" }, "mark-label", &said);
        taken.push(place);
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
pub(super) const STAGES: [(&str, &str, &str); 8] = [
    ("download", "page and download", "s0"),
    ("compile", "compile", "s1"),
    ("instantiate", "instantiate", "s2"),
    ("thaw", "thaw", "s3"),
    ("first-instruction", "to the first instruction", "s4"),
    ("first-output", "run to the first output", "s5"),
    ("drawn", "to its place on the screen", "s7"),
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
        text(&mut svg, BARS_LEFT - 8.0, top + 14.0, "end", "mark-label", &shortened(name, 26));
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

/// A name of at most `letters` letters.
fn shortened(name: &str, letters: usize) -> String {
    if name.chars().count() <= letters {
        return name.to_string();
    }
    name.chars().take(letters - 1).chain(['…']).collect()
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
        let mut taken: Vec<Spot> = Vec::new();
        for y in [100.0, 101.0, 102.0, 214.0, 215.0] {
            let spot = Spot::text(100.0, y, false, 14).moved(&taken);
            assert!(taken.iter().all(|other| !spot.hits(*other)), "{spot:?} hits one of {taken:?}");
            taken.push(spot);
        }
    }
}
