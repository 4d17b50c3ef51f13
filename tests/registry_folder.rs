//! The registry in a folder: the contract, and foreign entries in the folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use citas::local::registry::FolderRegistry;
use citas_core::ports::{Registry, RegistryError};
use tempfile::TempDir;

use crate::registry_contract::{
    Foreign, KINDS, artifact, channel, hostile_registry_contract, registry_contract, version,
};
use crate::support::appointments::{cl, pe};
use crate::support::hostile::{HOSTILE, pipe, remove};

#[expect(clippy::unused_async, reason = "other adapters' wait for a server")]
mod contract {
    use super::*;

    async fn open() -> (Arc<dyn Registry>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(FolderRegistry::new(&folder.path().join("not yet there"))), folder)
    }

    registry_contract!(open);
}

#[expect(clippy::unused_async, reason = "other adapters' wait for a server")]
mod hostile_contract {
    use super::*;

    struct Folder(TempDir);

    #[async_trait]
    impl Foreign for Folder {
        fn registry(&self) -> Arc<dyn Registry> {
            Arc::new(FolderRegistry::new(self.0.path()))
        }

        async fn put(&self, key: &str, content: Vec<u8>) {
            fs::write(self.0.path().join(key), content).unwrap();
        }
    }

    async fn open() -> (Arc<dyn Foreign>, ()) {
        (Arc::new(Folder(tempfile::tempdir().unwrap())), ())
    }

    hostile_registry_contract!(open);
}

/// Maximum time to read a folder, whatever it contains.
const READ_WITHIN: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(READ_WITHIN, work).await.unwrap_or_else(|_| panic!("{what}: nothing after {READ_WITHIN:?}"))
}

/// Creates a registry with Peru's 1.0.0 in use.
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

#[tokio::test]
async fn what_is_no_regular_file_is_refused_in_every_files_place() {
    let (registry, folder) = peru().await;
    registry.publish(&artifact(cl(), "1.0.0", b"chile")).await.unwrap();
    registry.set_channel(cl(), None, &channel("1.0.0", None, 1)).await.unwrap();
    for (key, _) in KINDS {
        let path = folder.path().join(key);
        let whole = fs::read(&path).unwrap();
        for hostile in &HOSTILE {
            let what = format!("{} as {key}", hostile.what);
            remove(&path);
            (hostile.put)(&path);
            let read = async {
                match registry.channel(pe()).await {
                    Ok(_) => registry.fetch(pe(), &version("1.0.0")).await.map(drop),
                    Err(error) => Err(error),
                }
            };
            let refused = soon(&what, read).await.expect_err(&what).to_string();
            assert!(refused.contains(&format!("`{key}`")) && refused.contains(hostile.why), "{what}: {refused}");
            assert_eq!(soon(&what, registry.countries()).await.unwrap(), [cl(), pe()], "{what}");
            soon(&what, registry.versions(pe())).await.unwrap();
            soon(&what, registry.fetch(cl(), &version("1.0.0"))).await.unwrap();
        }
        remove(&path);
        fs::write(&path, whole).unwrap();
        registry.channel(pe()).await.unwrap();
        registry.fetch(pe(), &version("1.0.0")).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_folder_is_refused_in_every_folders_place() {
    for key in ["pe", "pe/versions", "pe/versions/1.0.0"] {
        for hostile in HOSTILE.iter().filter(|hostile| hostile.what != "a folder") {
            let what = format!("{} as {key}", hostile.what);
            let (registry, folder) = peru().await;
            remove(&folder.path().join(key));
            (hostile.put)(&folder.path().join(key));
            soon(&what, registry.fetch(pe(), &version("1.0.0"))).await.expect_err(&what);
            assert_eq!(soon(&what, registry.countries()).await.unwrap(), [pe()], "{what}");
            let _ = soon(&what, registry.versions(pe())).await;
            soon(&what, registry.publish(&artifact(pe(), "1.0.0", b"component"))).await.expect_err(&what);
        }
    }
}

#[tokio::test]
async fn a_folder_that_leads_out_is_neither_read_nor_written() {
    let (registry, folder) = peru().await;
    let outside = tempfile::tempdir().unwrap();
    let pe_outside = outside.path().join("pe");
    fs::rename(folder.path().join("pe"), &pe_outside).unwrap();
    symlink(&pe_outside, folder.path().join("pe")).unwrap();
    let before = fs::read_dir(&pe_outside).unwrap().count();
    let first = channel("1.0.0", None, 1);
    for refused in [
        registry.channel(pe()).await.unwrap_err(),
        registry.versions(pe()).await.unwrap_err(),
        registry.fetch(pe(), &version("1.0.0")).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("a symbolic link leads out of the registry"), "{refused}");
    }
    registry.publish(&artifact(pe(), "1.1.0", b"component")).await.unwrap_err();
    registry.set_channel(pe(), Some(&first), &channel("1.0.0", None, 2)).await.unwrap_err();
    assert_eq!(fs::read_dir(&pe_outside).unwrap().count(), before);
    assert_eq!(fs::read_dir(pe_outside.join("versions")).unwrap().count(), 1);
}

#[tokio::test]
async fn links_that_stay_inside_are_followed_as_deployments_switch_them() {
    let (published, folder) = peru().await;
    let at = |key: &str| folder.path().join(key);
    let artifact = published.fetch(pe(), &version("1.0.0")).await.unwrap();
    // A Kubernetes volume looks like this: each entry links into `..data`, which links to the latest copy.
    fs::create_dir(at("..2026_11_26")).unwrap();
    fs::rename(at("pe"), at("..2026_11_26/pe")).unwrap();
    symlink("..2026_11_26", at("..data")).unwrap();
    symlink("..data/pe", at("pe")).unwrap();
    // The registry itself is a link too.
    let link = tempfile::tempdir().unwrap();
    symlink(folder.path(), link.path().join("current")).unwrap();
    let registry = FolderRegistry::new(&link.path().join("current"));
    assert_eq!(registry.countries().await.unwrap(), [pe()]);
    assert_eq!(registry.versions(pe()).await.unwrap(), [version("1.0.0")]);
    assert_eq!(registry.fetch(pe(), &version("1.0.0")).await.unwrap(), artifact);
    let second = channel("1.0.0", None, 2);
    registry.set_channel(pe(), Some(&channel("1.0.0", None, 1)), &second).await.unwrap();
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(second));
    assert!(at("..2026_11_26/pe/channel.json").is_file());
}

#[tokio::test]
async fn a_lock_that_is_no_file_is_refused_and_what_it_leads_to_is_left_alone() {
    let (registry, folder) = peru().await;
    let lock = folder.path().join("pe/.lock");
    let precious = tempfile::NamedTempFile::new().unwrap();
    fs::write(precious.path(), "precious").unwrap();
    let (first, second) = (channel("1.0.0", None, 1), channel("1.0.0", None, 2));
    for what in ["a pipe", "a folder", "a link out", "a link to a device"] {
        remove(&lock);
        match what {
            "a pipe" => pipe(&lock),
            "a folder" => fs::create_dir(&lock).unwrap(),
            "a link out" => symlink(precious.path(), &lock).unwrap(),
            _ => symlink("/dev/tty", &lock).unwrap(),
        }
        let refused = soon(what, registry.set_channel(pe(), Some(&first), &second)).await.expect_err(what).to_string();
        assert!(refused.contains("`pe/.lock`"), "{what}: {refused}");
        assert_eq!(registry.channel(pe()).await.unwrap().as_ref(), Some(&first));
    }
    assert_eq!(fs::read_to_string(precious.path()).unwrap(), "precious");
    remove(&lock);
    registry.set_channel(pe(), Some(&first), &second).await.unwrap();
}

#[tokio::test]
async fn a_folder_with_too_many_entries_is_not_listed_and_hosts_do_without() {
    use std::os::unix::ffi::OsStrExt as _;
    let (registry, folder) = peru().await;
    let versions = folder.path().join("pe/versions");
    fs::write(versions.join(std::ffi::OsStr::from_bytes(b"1.0.\xff")), "not UTF-8").unwrap();
    assert_eq!(registry.versions(pe()).await.unwrap(), [version("1.0.0")]);
    let number = |number| versions.join(format!("{number}.0.1"));
    fs::write(number(0), "").unwrap();
    for entry in 1..=50_000 {
        fs::hard_link(number(0), number(entry)).or_else(|_| fs::write(number(entry), "")).unwrap();
    }
    let refused = soon("a full folder", registry.versions(pe())).await.unwrap_err().to_string();
    assert!(refused.starts_with("`pe/versions` in the registry has more than 50000 entries"), "{refused}");
    assert_eq!(registry.channel(pe()).await.unwrap(), Some(channel("1.0.0", None, 1)));
    registry.fetch(pe(), &version("1.0.0")).await.unwrap();
}
