//! The report's sums, and a report for the tests of its views.

use super::*;

fn sample(wall_ms: f64, cpu_ms: f64) -> Sample {
    let stages = [("friscy:download", 0.2), ("friscy:compile", 0.3), ("friscy:first-output", 1.0)];
    Sample {
        wall_ms,
        cpu_ms: Some(cpu_ms),
        memory_bytes: Some(20_000_000),
        bytes_before_output: Some(1_500_000),
        bytes: Some(2_000_000),
        stages: stages.map(|(name, part)| (name.to_string(), part * wall_ms)).to_vec(),
    }
}

fn subject(name: &str, kind: Kind, image: Option<u64>) -> Subject {
    let sizes = image.map(|image| Sizes {
        image,
        files: 7,
        app: 3_000_000,
        layout: "single",
        code: 1_000_000,
        hot: 500_000,
        cold: image / 3,
        freeze: "entry".to_string(),
    });
    Subject {
        name: name.to_string(),
        kind,
        from: format!("{name}.tar"),
        app: None,
        pack: None,
        sizes,
        error: None,
    }
}

/// Two images, one that does not pack, a command and the floor, natively and in a browser.
pub(in crate::bench) fn report() -> Report {
    let mut report = Report {
        schema: SCHEMA,
        friscy_snap: "0.0.0".to_string(),
        command: "friscy-snap bench 'a <b>.tar' c.tar".to_string(),
        date: utc(0),
        machine: Machine {
            cpu: "a & b".to_string(),
            cores: 2,
            memory_bytes: None,
            system: "linux".to_string(),
        },
        runs: 3,
        hosts: vec![("native".to_string(), "friscy-snap".to_string())],
        missing: vec![("wasi".to_string(), "neither wasmtime nor Node.js is installed".to_string())],
        subjects: vec![
            subject("floor", Kind::Floor, None),
            subject("a \"<b>\", c", Kind::App, Some(2_000_000)),
            subject("large", Kind::App, Some(900_000_000)),
            subject("broken", Kind::App, None),
            subject("qemu", Kind::Command, None),
        ],
        series: Vec::new(),
    };
    report.subjects[3].error = Some("built for amd64".to_string());
    let native = Place { host: "native".to_string(), network: None, visit: None };
    let browser = Place {
        host: "browser".to_string(),
        network: Some("50mbit,40ms".to_string()),
        visit: Some("cold".to_string()),
    };
    for (place, factor) in [(native, 1.0), (browser, 4.0)] {
        for (name, base) in [("floor", 10.0), ("a \"<b>\", c", 13.0), ("large", 14.0)] {
            for noise in [0.0, 1.0, 40.0] {
                let opened = sample(factor * base + noise, factor * base);
                report.series_of(name, &place).samples.push(opened);
            }
        }
        if place.host == "native" {
            report.series_of("qemu", &place).samples.push(sample(25.0, 20.0));
        } else {
            report.series_of("broken", &place).error = Some("no output".to_string());
        }
    }
    report.summarise();
    report
}

#[test]
fn figures_are_medians_over_those_of_the_floor_in_the_same_place() {
    let report = report();
    let of = |subject: &str, host: &str| {
        let series = report.series.iter().find(|s| s.subject == subject && s.place.host == host);
        series.and_then(|series| series.summary.clone()).expect("measured")
    };
    let native = of("a \"<b>\", c", "native");
    assert_eq!(native.wall_ms.median, 14.0);
    assert!((native.wall_over_floor.expect("a floor") - 14.0 / 11.0).abs() < 1e-9);
    assert!((native.cpu_over_floor.expect("a floor") - 1.3).abs() < 1e-9);
    assert!((of("large", "browser").cpu_over_floor.expect("a floor") - 1.4).abs() < 1e-9);
    assert_eq!(of("floor", "browser").wall_over_floor, Some(1.0));
    assert_eq!(native.bytes_before_output, Some(1_500_000.0));
}

#[test]
fn stages_follow_each_other_and_sum_to_the_whole() {
    let report = report();
    let series = report.series.iter().find(|s| s.subject == "qemu").expect("measured");
    let stages = &series.summary.as_ref().expect("measured").stages_ms;
    let names: Vec<&str> = stages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["download", "compile", "first-output"]);
    assert!((stages.iter().map(|(_, ms)| ms).sum::<f64>() - 25.0).abs() < 1e-9);
}

#[test]
fn one_that_does_not_pack_makes_the_run_fail() {
    let mut report = report();
    assert!(report.failed());
    report.subjects[3].error = None;
    report.series.retain(|series| series.error.is_none());
    assert!(!report.failed());
}

#[test]
fn things_that_miss_for_one_reason_are_told_together() {
    let mut report = report();
    report.missing =
        [("a", "no"), ("b", "never"), ("c", "no")].map(|(a, b)| (a.to_string(), b.to_string())).to_vec();
    let told = report.missing_by_reason();
    assert_eq!(told, [("a; c".to_string(), "no"), ("b".to_string(), "never")]);
}

#[test]
fn dates_are_of_the_gregorian_calendar() {
    assert_eq!(utc(0), "1970-01-01T00:00:00Z");
    assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
    assert_eq!(utc(1_795_268_096), "2026-11-21T13:34:56Z");
}

#[test]
fn json_has_the_shape_that_its_version_promises() {
    let json = serde_json::to_value(report()).expect("it can be written");
    let keys = |value: &serde_json::Value| {
        value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(json["schema"], 1);
    assert_eq!(keys(&json), "command date friscy_snap hosts machine missing runs schema series subjects");
    assert_eq!(keys(&json["subjects"][1]), "error from kind name pack sizes");
    assert_eq!(keys(&json["subjects"][1]["sizes"]), "app code cold files freeze hot image layout");
    assert_eq!(keys(&json["series"][0]), "error place samples subject summary");
    let sample = "bytes bytes_before_output cpu_ms memory_bytes stages wall_ms";
    assert_eq!(keys(&json["series"][0]["samples"][0]), sample);
    let summary =
        "bytes bytes_before_output cpu_ms cpu_over_floor memory_bytes stages_ms wall_ms wall_over_floor";
    assert_eq!(keys(&json["series"][0]["summary"]), summary);
}
