//! The page is well-formed, whole and alone.

use super::super::report::report_test::report;
use super::*;

/// Every tag of `html` is closed in order, and attributes are quoted; panics where not.
fn assert_well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let body = html.strip_prefix("<!doctype html>").expect("a doctype");
    // The style sheet is not markup.
    let (before, rest) = body.split_once("<style>").expect("a style");
    let (style, after) = rest.split_once("</style>").expect("its end");
    assert!(!style.contains('<'));
    for piece in [before, after] {
        for tag in piece.split('<').skip(1) {
            let (tag, text) = tag.split_once('>').unwrap_or_else(|| panic!("<{tag} has no end"));
            assert!(!text.contains('>'), "a > in text: {text}");
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).expect("a name");
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "<{tag}> closes another");
            } else {
                assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
                // Between the quotes anything goes; outside, each = begins a quoted value.
                let outside: Vec<&str> = tag.split('"').step_by(2).collect();
                let bare = |part: &&str| part.trim_end_matches('=').contains('=');
                assert!(!outside.iter().any(bare), "<{tag}>");
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
        }
    }
    assert_eq!(open, [""; 0], "never closed");
}

#[test]
fn it_is_well_formed_and_names_are_text() {
    let html = page(&report());
    assert_well_formed(&html);
    assert!(html.contains("a &quot;&lt;b&gt;&quot;, c"), "{html}");
}

#[test]
fn it_needs_nothing_from_outside() {
    let html = page(&report());
    for outside in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn it_shows_every_place_and_tells_what_is_missing() {
    let html = page(&report());
    // Two places: CPU and wall against size, and the stages.
    assert_eq!(html.matches("<svg").count(), 6, "{html}");
    for wanted in ["built for amd64", "neither wasmtime nor Node.js", "size of the image", "wall time, ms"] {
        assert!(html.contains(wanted), "{wanted}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf\""), "{html}");
}
