//! The terminal's table and the CSV.

use super::super::report::report_test::report;
use super::*;

#[test]
fn columns_are_aligned_and_everything_is_there() {
    let text = text(&report());
    for wanted in [
        "browser, cold visit, over 50mbit 40ms",
        "×floor",
        "qemu",
        "broken: built for amd64",
        "wasi: not measured",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
    // A table's right edge: the head and the row of "large" in the first one end alike.
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert!(lines[0].starts_with("image") && lines[2].starts_with("large"), "{text}");
    let column = |line: &str, word: &str| line.find(word).map(|at| line[..at + word.len()].chars().count());
    assert_eq!(column(lines[0], "size"), column(lines[2], "900.0 MB"), "{text}");
}

#[test]
fn csv_has_one_line_for_each_sample_and_the_same_cells_in_all() {
    let report = report();
    let csv = csv(&report);
    let samples: usize = report.series.iter().map(|series| series.samples.len()).sum();
    assert_eq!(csv.lines().count(), samples + 1);
    let cells = |line: &str| {
        let mut inside = false;
        let commas = line.chars().filter(|&c| {
            inside ^= c == '"';
            c == ',' && !inside
        });
        commas.count() + 1
    };
    let head = csv.lines().next().expect("a head");
    assert!(head.starts_with("subject,kind,image_bytes,"), "{head}");
    assert!(head.ends_with(",download_ms,compile_ms,first_output_ms"), "{head}");
    for line in csv.lines() {
        assert_eq!(cells(line), cells(head), "{line}");
    }
    assert!(csv.contains("\n\"a \"\"<b>\"\", c\",app,2000000,7,"), "{csv}");
    assert!(csv.contains(",browser,\"50mbit,40ms\",cold,1,"), "{csv}");
}
