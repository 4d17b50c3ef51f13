//! The registry in a folder: the contract, and what may lie in a folder beside what belongs there.

use std::fs;
use std::sync::Arc;

use citas::registry::folder::FolderRegistry;
use citas_core::registry::{Registry, RegistryError};
use tempfile::TempDir;

use crate::registry_contract::{artifact, channel, registry_contract, version};
use crate::support::appointments::pe;

#[expect(clippy::unused_async, reason = "other adapters' wait for a server")]
mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Registry>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(FolderRegistry::new(&folder.path().join("not yet there"))), folder)
    }

    registry_contract!(open);
}

/// A registry with Peru's 1.0.0 in use.
async fn peru() -> (FolderRegistry, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let registry = FolderRegistry::new(folder.path());
    registry.publish(&artifact(pe(), "1.0.0", b"component")).await.unwrap();
    registry.set_channel(pe(), None, &channel("1.0.0", None, 1)).await.unwrap();
    (registry, folder)
}

#[tokio::test]
async fn the_files_have_the_architectures_names_and_nothing_else_is_left() {
    let (_registry, folder) = peru().await;
    let names = |path: &str| {
        let entries = fs::read_dir(folder.path().join(path)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names("pe"), [".lock", "channel.json", "versions"]);
    assert_eq!(names("pe/versions"), ["1.0.0"]);
    assert_eq!(names("pe/versions/1.0.0"), ["cases.json", "manifest.json", "manifest.json.minisig", "rules.wasm"]);
    assert_eq!(fs::read(folder.path().join("pe/versions/1.0.0/rules.wasm")).unwrap(), b"component");
}

#[tokio::test]
async fn half_written_leftovers_are_ignored() {
    let (registry, folder) = peru().await;
    let versions = folder.path().join("pe/versions");
    fs::create_dir_all(versions.join(".new-abc")).unwrap();
    fs::write(versions.join(".new-abc/rules.wasm"), "half").unwrap();
    fs::create_dir_all(versions.join("2.0.0")).unwrap();
    fs::write(versions.join("2.0.0/rules.wasm"), "half").unwrap();
    fs::write(folder.path().join("pe/.new-channel"), "{").unwrap();
    fs::create_dir_all(folder.path().join("cl")).unwrap();
    fs::write(folder.path().join("cl/.new-channel"), "{").unwrap();
    fs::write(folder.path().join("README.md"), "hello").unwrap();

    assert_eq!(registry.countries().await.unwrap(), [pe()]);
    assert_eq!(registry.versions(pe()).await.unwrap(), [version("1.0.0")]);
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(channel("1.0.0", None, 1)));
    let half = registry.set_channel(pe(), Some(&channel("1.0.0", None, 1)), &channel("2.0.0", None, 2)).await;
    assert!(matches!(half, Err(RegistryError::Absent { .. })), "{half:?}");
    registry.publish(&artifact(pe(), "3.0.0", b"whole")).await.unwrap();
}

#[tokio::test]
async fn a_version_is_never_written_over_even_where_it_is_not_whole() {
    let (registry, folder) = peru().await;
    let cases = folder.path().join("pe/versions/1.0.0/cases.json");
    fs::remove_file(&cases).unwrap();
    let again = registry.publish(&artifact(pe(), "1.0.0", b"other")).await;
    assert!(matches!(again, Err(RegistryError::Exists { .. })), "{again:?}");
    assert!(!cases.exists());
    let unreadable = registry.fetch(pe(), &version("1.0.0")).await.unwrap_err();
    assert!(unreadable.to_string().starts_with("`pe/versions/1.0.0/cases.json` in the registry cannot be read: "));
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let (registry, folder) = peru().await;
    let path = |key: &str| folder.path().join(key);
    fs::write(path("pe/channel.json"), r#"{"current":"1.0.0","sequence":1,"colour":"red"}"#).unwrap();
    let unreadable = registry.channel(pe()).await.unwrap_err().to_string();
    assert!(unreadable.starts_with("`pe/channel.json` in the registry cannot be read: "), "{unreadable}");

    fs::write(path("pe/versions/1.0.0/manifest.json"), "{").unwrap();
    let unreadable = registry.fetch(pe(), &version("1.0.0")).await.unwrap_err().to_string();
    assert!(unreadable.starts_with("`pe/versions/1.0.0/manifest.json` in the registry"), "{unreadable}");
}

#[tokio::test]
async fn a_manifest_that_is_about_another_version_is_unreadable() {
    let (registry, folder) = peru().await;
    let versions = folder.path().join("pe/versions");
    fs::rename(versions.join("1.0.0"), versions.join("1.0.1")).unwrap();
    let unreadable = registry.fetch(pe(), &version("1.0.1")).await.unwrap_err().to_string();
    assert!(unreadable.ends_with("it is about version 1.0.0 of pe"), "{unreadable}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_published_version_can_be_read_by_whom_the_umask_lets_in() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_registry, folder) = peru().await;
    let plain = folder.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&folder.path().join("pe/versions/1.0.0")), mode(&plain));
}
