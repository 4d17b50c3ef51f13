//! Native code that this machine keeps: the host uses it, and compiles again if the code is not as it was written.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use citas_core::model::{Limits, RulesPackage, digest};
use citas_core::release::{Admission, NotAdmitted};
use citas_core::rules::LoadedRules;
use jiff::Timestamp;
use tokio::runtime::Runtime;

use crate::support::components::{chaos, chaos_with, child_admission};
use crate::support::eventually::eventually;
use crate::support::process::{Process, publish, token};
use crate::support::requests::xx;

/// Returns the files of kept code below a folder, sorted.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let engines = fs::read_dir(folder).unwrap().map(|engine| engine.unwrap().path());
    let mut files: Vec<_> =
        engines.flat_map(|engine| fs::read_dir(engine).unwrap()).map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn is_code(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "cwasm")
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_start_takes_kept_code_and_a_changed_byte_means_a_fresh_compile() {
    let data = tempfile::tempdir().unwrap();
    publish(&data.path().join("registry"), &["xx"]);
    let start = |outcome: &str, number: usize| {
        let process = Process::start(&["serve", "--listen", "127.0.0.1:0", "--data", data.path().to_str().unwrap()]);
        let ana = process.client(&token(data.path(), &[]));
        assert_eq!(ana.booked("xx", &xx(number))["minutes"], 30);
        let metrics = ana.get("/metrics").expect(200).text;
        let counted: Vec<_> = metrics.lines().filter(|line| line.starts_with("citas_rules_native_total")).collect();
        assert_eq!(counted, [format!("citas_rules_native_total{{outcome=\"{outcome}\"}} 1")]);
        process
    };
    start("miss", 1);
    start("hit", 2);
    let file = kept(&data.path().join("native")).into_iter().find(|file| is_code(file)).unwrap();
    let good = fs::read(&file).unwrap();
    flip_a_byte(&file);
    let process = start("damaged", 3);
    eventually("its line in the log", Duration::from_secs(10), || {
        (process.log().matches("kept native code is damaged").count() == 1).then_some(())
    });
    assert_eq!(fs::read(&file).unwrap().len(), good.len(), "it is replaced");
    drop(process);
    start("hit", 4);
}

fn package(component: &[u8]) -> Arc<RulesPackage> {
    Arc::new(RulesPackage { component: component.to_vec(), limits: Limits::default(), cases: "[]".into() })
}

/// Returns a component's version, as admitted by a host on a data folder.
fn version(data: &Path, component: &[u8]) -> String {
    let admitted = admit(&*child_admission(data), &package(component));
    admitted.unwrap().id.version
}

fn admit(admission: &dyn Admission, package: &Arc<RulesPackage>) -> Result<LoadedRules, NotAdmitted> {
    Runtime::new().unwrap().block_on(admission.admit(package, Timestamp::now()))
}

#[test]
fn code_in_anothers_place_and_code_cut_short_are_not_taken() {
    let data = tempfile::tempdir().unwrap();
    let (folder, later) = (data.path().join("native"), chaos_with(&["later"]));
    assert_eq!([version(data.path(), chaos()), version(data.path(), &later)], ["1.0.0", "1.1.0"]);
    let file = |component: &[u8]| {
        let name = format!("{}.cwasm", digest(component));
        kept(&folder).into_iter().find(|file| file.ends_with(&name)).unwrap()
    };
    let [first, second] = [file(chaos()), file(&later)];
    fs::copy(&first, &second).unwrap();
    assert_eq!(version(data.path(), &later), "1.1.0");
    for length in [0, 7, 32, 40_000] {
        fs::File::options().write(true).open(&second).unwrap().set_len(length).unwrap();
        assert_eq!(version(data.path(), &later), "1.1.0");
        assert!(fs::metadata(&second).unwrap().len() > 40_000, "it is replaced");
    }
}

#[test]
fn a_folder_that_others_can_enter_or_replace_is_not_used() {
    for (name, mode) in [("native", 0o755), ("native", 0o770), (".", 0o777)] {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("native");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(data.path().join(name), Permissions::from_mode(mode)).unwrap();
        assert_eq!(version(data.path(), chaos()), "1.0.0");
        assert!(kept(&folder).is_empty(), "{name} {mode:o}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_costs_nothing_but_time() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("native");
    fs::write(&file, "in the way").unwrap();
    assert_eq!(version(data.path(), chaos()), "1.0.0");
}

#[test]
fn what_is_kept_is_for_its_owner_alone_and_another_engines_goes() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("native");
    let old = folder.join("wasmtime-1.0.0");
    fs::create_dir_all(&old).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    fs::write(old.join("sha256:00.cwasm"), "old").unwrap();
    version(data.path(), chaos());
    assert!(!old.exists());
    let [file, record] = kept(&folder).try_into().unwrap();
    for path in [folder.as_path(), file.parent().unwrap(), &file, &record] {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
    }
}
