//! Keeps the versions that last came into force on this host: a small registry with one version per country, in a
//! folder beside the data. Written like a registry, so that a crash leaves the previous version or this one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use async_trait::async_trait;
use citas_core::model::{Artifact, Channel, CountryCode, Manifest};
use citas_core::ports::{LastGood, Registry as _, RegistryError};

use super::registry::{Files, FolderRegistry, unavailable};
use citas_core::release::layout;

/// Last good versions in a folder that no other process writes.
#[derive(Clone, Debug)]
pub struct LastGoodFolder(FolderRegistry);

impl LastGoodFolder {
    /// Keeps versions in `folder`, which may be absent until there is one.
    pub fn new(folder: &Path) -> Self {
        Self(FolderRegistry::private(folder))
    }
}

#[async_trait]
impl LastGood for LastGoodFolder {
    async fn countries(&self) -> Result<Vec<CountryCode>, RegistryError> {
        self.0.countries().await
    }

    async fn remember(&self, channel: &Channel, artifact: &Artifact) -> Result<(), RegistryError> {
        let (channel, artifact) = (channel.clone(), artifact.clone());
        self.0.run(Some(artifact.manifest.country), move |files| remember(files, &channel, &artifact)).await
    }

    async fn recall(&self, country: CountryCode) -> Result<Option<(Channel, Artifact)>, RegistryError> {
        let Some(channel) = self.0.channel(country).await? else { return Ok(None) };
        let artifact = self.0.fetch(country, &channel.current).await?;
        Ok(Some((channel, artifact)))
    }
}

/// Writes the version first, then the channel that names it, and removes other versions last. Writes nothing if
/// everything is there already.
fn remember(files: &Files, channel: &Channel, artifact: &Artifact) -> Result<(), RegistryError> {
    let Manifest { country, ref version, .. } = artifact.manifest;
    if files.fetch(country, version).ok().as_ref() != Some(artifact) {
        // The stored version is damaged, or comes from another registry that was followed before.
        remove(&files.path(&layout::version(country, version)))?;
        files.publish(artifact)?;
    }
    let kept = files.channel(country);
    if kept.is_err() {
        // The path may hold something that no file can replace.
        remove(&files.path(&layout::channel(country)))?;
    }
    if kept.ok().flatten().as_ref() != Some(channel) {
        files.write_channel(country, channel)?;
    }
    for other in files.versions(country)?.iter().filter(|other| *other != version) {
        remove(&files.path(&layout::version(country, other)))?;
    }
    Ok(())
}

/// Removes a file, a link or a folder, if there is one.
fn remove(path: &Path) -> Result<(), RegistryError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable(&error)),
        _ => Ok(()),
    }
}
