//! The JSON documents of images, as far as they matter here.
//!
//! OCI image-spec `config.md`, `manifest.md`, `image-index.md`; Docker's
//! image-spec v1.2 for `manifest.json`. Unknown members are ignored, as the
//! specifications ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// What an image says about running it. Names and meaning are Docker's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `riscv64`, or empty when the image does not say.
    pub architecture: String,
    /// `linux`, or empty.
    pub os: String,
    /// First words of the command.
    pub entrypoint: Vec<String>,
    /// The rest of the command, replaced by what the user gives.
    pub cmd: Vec<String>,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory; empty means `/`.
    pub working_dir: String,
    /// `user[:group]`; empty means root.
    pub user: String,
    /// `80/tcp`, sorted.
    pub exposed_ports: Vec<String>,
    /// `SIGTERM` or a number; empty means SIGTERM.
    pub stop_signal: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// null and a missing member are the same.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The config blob.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ConfigFile {
    #[serde(deserialize_with = "nullable")]
    architecture: String,
    #[serde(deserialize_with = "nullable")]
    os: String,
    #[serde(deserialize_with = "nullable")]
    config: Execution,
    #[serde(deserialize_with = "nullable")]
    pub(super) rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Execution {
    #[serde(deserialize_with = "nullable")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    working_dir: String,
    #[serde(deserialize_with = "nullable")]
    user: String,
    #[serde(deserialize_with = "nullable")]
    exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "nullable")]
    stop_signal: String,
    #[serde(deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(deserialize_with = "nullable")]
    pub(super) diff_ids: Vec<String>,
}

impl ConfigFile {
    pub(super) fn image(self) -> (ImageConfig, RootFs) {
        let run = self.config;
        let config = ImageConfig {
            architecture: self.architecture,
            os: self.os,
            entrypoint: run.entrypoint,
            cmd: run.cmd,
            env: run.env,
            working_dir: run.working_dir,
            user: run.user,
            exposed_ports: run.exposed_ports.into_keys().collect(),
            stop_signal: run.stop_signal,
            labels: run.labels,
        };
        (config, self.rootfs)
    }

    /// Of a `docker save` image, before it is chosen.
    pub(super) fn platform(&self) -> Platform {
        Platform { architecture: self.architecture.clone(), os: self.os.clone() }
    }
}

/// An OCI image manifest or index; which of the two, its members say.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Document {
    #[serde(deserialize_with = "nullable")]
    pub(super) manifests: Vec<Descriptor>,
    pub(super) config: Option<Descriptor>,
    #[serde(deserialize_with = "nullable")]
    pub(super) layers: Vec<Descriptor>,
}

/// Points to a blob.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(deserialize_with = "nullable")]
    pub(super) media_type: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) digest: String,
    pub(super) platform: Option<Platform>,
    #[serde(deserialize_with = "nullable")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What something is built for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    #[serde(deserialize_with = "nullable")]
    pub(super) architecture: String,
    #[serde(deserialize_with = "nullable")]
    pub(super) os: String,
}

impl Platform {
    /// Can this machine run it? What does not say is given a chance: its ELF files will tell.
    pub(super) fn fits(&self) -> bool {
        matches!(self.architecture.as_str(), "riscv64" | "") && matches!(self.os.as_str(), "linux" | "")
    }

    /// As docker prints it, without `linux/`.
    pub(super) fn name(&self) -> String {
        super::clean(&match self.os.as_str() {
            "linux" | "" => self.architecture.clone(),
            os => format!("{os}/{}", self.architecture),
        })
    }
}

/// One image in Docker's `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    pub(super) config: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) repo_tags: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(super) layers: Vec<String>,
}
