//! Sealing and opening, and every way in which a file can be wrong.

use super::*;

/// A type section, a code-less module with a custom section of its own.
fn module() -> Vec<u8> {
    let mut module = HEADER.to_vec();
    module.extend([1, 4, 1, 0x60, 0, 0]);
    module.extend(custom_section("other", b"kept").unwrap());
    module
}

fn manifest() -> Manifest {
    let mut manifest =
        Manifest { format: FORMAT, engine: "9.9.9".into(), freeze: "entry".into(), ..Manifest::default() };
    manifest.entry.argv = vec!["/bin/sh".into(), "-c".into(), "grüße".into()];
    manifest.ports = vec!["80/tcp".into()];
    manifest
}

fn sealed() -> Vec<u8> {
    seal(&module(), &manifest(), Vec::new()).unwrap()
}

fn says(bytes: &[u8]) -> String {
    match open(bytes).and_then(|app| app.verify()) {
        Ok(()) => "fine".into(),
        Err(e) => e.to_string(),
    }
}

#[test]
fn what_is_sealed_opens() {
    let bytes = sealed();
    let app = open(&bytes).unwrap();
    app.verify().unwrap();
    assert_eq!(app.manifest, manifest());
    let names: Vec<_> =
        sections(&bytes).unwrap().map(|s| s.unwrap().name.unwrap_or("-").to_owned()).collect();
    assert_eq!(names, [MANIFEST_SECTION, "-", "other", SEAL_SECTION]);
    assert_eq!(seal(&bytes, &manifest(), Vec::new()).unwrap(), bytes, "sealing again changes nothing");
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = sealed();
    for len in 0..bytes.len() {
        let error = says(&bytes[..len]);
        let expected = match len {
            0 => "not a WebAssembly file",
            // Cut after the header, nothing says whose it was.
            8 => "not a friscy app",
            _ => "the file is truncated",
        };
        assert!(error.starts_with(expected), "{len}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut bytes = sealed();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert_ne!(says(&bytes), "fine", "byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn other_files_are_named() {
    assert!(says(b"#!/bin/sh").starts_with("not a WebAssembly file"));
    assert!(says(&module()).starts_with("not a friscy app"));
    assert!(says(b"\0asm\x0d\0\x01\0").contains("no core module"));
    let mut longer = sealed();
    longer.extend(custom_section("name", b"").unwrap());
    assert!(says(&longer).contains("something follows the seal"));
}

#[test]
fn another_version_is_named_whatever_else_its_manifest_has() {
    let mut app = HEADER.to_vec();
    app.extend(
        custom_section(MANIFEST_SECTION, br#"{"format": 7, "engine": "3.0.0", "freeze": {"new": []}}"#)
            .unwrap(),
    );
    let error = says(&app);
    assert!(error.starts_with("made by friscy-snap 3.0.0 (format 7), this is "), "{error}");
}

#[test]
fn hostile_lengths_end_the_walk() {
    for section in [
        &b"\x00\xff\xff\xff\xff\x7f"[..],
        b"\x00\xff\xff\xff\xff\xff\x01",
        b"\x00\x02\x05a",
        b"\x00\x00",
        b"\x7f\x00",
        b"\x00\x80",
    ] {
        let mut bytes = HEADER.to_vec();
        bytes.extend(section);
        let all: Vec<_> = sections(&bytes).unwrap().collect();
        assert!(all.len() == 1 && all[0].is_err(), "{section:?}");
    }
}

#[test]
fn the_chunk_store_has_a_digest_of_its_own() {
    let store = b"stored chunks";
    let mut wanted = manifest();
    wanted.chunks.digest = blake3::hash(store).to_hex().to_string();
    let mut bytes = HEADER.to_vec();
    bytes.extend(custom_section(MANIFEST_SECTION, &serde_json::to_vec(&wanted).unwrap()).unwrap());
    bytes.extend(custom_section("store", store).unwrap());
    let end = bytes.len() as u64;
    let place = end - store.len() as u64..end;
    let (front, rest) = bytes.split_at(place.start as usize);
    let contents = seal_of([front, &rest[store.len()..]], place.clone());
    bytes.extend(custom_section(SEAL_SECTION, &contents).unwrap());
    let app = open(&bytes).unwrap();
    app.verify().unwrap();
    assert_eq!(app.store(), place.start as usize..place.end as usize);
    app.verify_store(&bytes[app.store()]).unwrap();
    let mut damaged = bytes.clone();
    damaged[place.start as usize] ^= 1;
    let app = open(&damaged).unwrap();
    app.verify().unwrap();
    assert!(matches!(app.verify_store(&damaged[app.store()]), Err(AppError::Seal)));
    let far = seal_of([&bytes[..]], u64::MAX - 1..u64::MAX);
    let mut outside = HEADER.to_vec();
    outside.extend(custom_section(MANIFEST_SECTION, &serde_json::to_vec(&wanted).unwrap()).unwrap());
    outside.extend(custom_section(SEAL_SECTION, &far).unwrap());
    assert!(says(&outside).contains("not where the seal says"));
}
