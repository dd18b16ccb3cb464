//! Writes image files for tests: OCI layouts and what `docker save` writes.

use std::io::Write as _;

use super::draft_tar::Draft;
use super::source::sha256;

/// What a draft image is built for, unless it says otherwise.
pub(crate) const RISCV: &str = "riscv64";

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 1).unwrap()
}

pub(crate) fn config(architecture: &str, layers: &[Vec<u8>]) -> String {
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", sha256(layer))).collect();
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Entrypoint":["/bin/sh"],"Cmd":null,"Env":["A=b"],
        "WorkingDir":"/w","User":"1:2","ExposedPorts":{{"80/tcp":{{}}}},"StopSignal":"SIGINT","Labels":{{"k":"v"}}}},
        "rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        diff_ids.join(",")
    )
}

/// What `docker save` of an old engine writes. Layers are not compressed.
pub(crate) fn docker_save(architecture: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(architecture, layers);
    let name = format!("{}.json", sha256(config.as_bytes()));
    let mut draft = Draft::default();
    let mut names = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        let path = format!("{i:064}/layer.tar");
        draft = draft.directory(&format!("{i:064}/"));
        draft = match layers[..i].iter().position(|other| other == layer) {
            Some(first) => draft.symlink(&path, &format!("../{first:064}/layer.tar")),
            None => draft.file(&path, layer),
        };
        names.push(format!("\"{path}\""));
    }
    let manifest =
        format!(r#"[{{"Config":"{name}","RepoTags":["test:latest"],"Layers":[{}]}}]"#, names.join(","));
    draft.file(&name, config.as_bytes()).file("manifest.json", manifest.as_bytes()).end()
}

/// An OCI layout being written.
#[derive(Default)]
pub(crate) struct Oci {
    pub(crate) blobs: Vec<(String, Vec<u8>)>,
    pub(crate) index: Vec<String>,
}

impl Oci {
    /// A blob; its digest and a descriptor.
    pub(crate) fn blob(&mut self, kind: &str, bytes: &[u8], more: &str) -> String {
        let digest = sha256(bytes);
        self.blobs.push((digest.clone(), bytes.to_vec()));
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{digest}","size":{}{more}}}"#,
            bytes.len()
        )
    }

    /// An image; its manifest's descriptor. `layers` as stored and as decompressed.
    pub(crate) fn image(&mut self, architecture: &str, layers: &[(Vec<u8>, Vec<u8>)], more: &str) -> String {
        let plain: Vec<Vec<u8>> = layers.iter().map(|(_, plain)| plain.clone()).collect();
        let config = self.blob("config.v1+json", config(architecture, &plain).as_bytes(), "");
        let layers: Vec<String> =
            layers.iter().map(|(stored, _)| self.blob("layer.v1.tar", stored, "")).collect();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        self.blob("manifest.v1+json", manifest.as_bytes(), more)
    }

    pub(crate) fn tar(&self) -> Vec<u8> {
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.index.join(","));
        let mut draft = Draft::default().file("./oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        for (digest, bytes) in &self.blobs {
            draft = draft.file(&format!("./blobs/sha256/{digest}"), bytes);
        }
        draft.file("./index.json", index.as_bytes()).end()
    }
}

/// An OCI layout with one riscv64 image of these layers.
pub(crate) fn oci(layers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut oci = Oci::default();
    let manifest = oci.image(RISCV, layers, "");
    oci.index.push(manifest);
    oci.tar()
}
