//! Measures the start of a country up to rules that can be called: by compiling its component, by judging it in a
//! process of its own, and by loading native code from this machine's folder. Judging is measured once; the other two
//! take turns, because others may use the machine.

use std::path::Path;
use std::sync::Arc;

use citas::wasm::judge::ChildJudge;
use citas::wasm::{ChildAdmission, WasmEngine};
use citas_core::model::{Limits, RulesPackage};
use citas_core::release::Admission as _;
use jiff::Timestamp;

use crate::platform::{component, engine, loaded, peru};
use crate::report::{Report, millis};
use crate::timing::{median, time};

const STARTS: usize = 15;

/// Maximum time to start one country, in milliseconds.
const TARGET: f64 = 5.0;

pub fn measure(report: &mut Report) {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let judge = ChildJudge::new(Path::new(env!("CARGO_BIN_EXE_citas")));
    let admission = ChildAdmission::new(WasmEngine::clone(&engine()), judge, data.path());
    for (name, component) in [("pe", peru()), ("cl", &component("cl"))] {
        let cases = "[]".to_owned();
        let package = Arc::new(RulesPackage { component: component.to_vec(), limits: Limits::default(), cases });
        let admit = || runtime.block_on(admission.admit(&package, Timestamp::now())).expect("a country");
        let judged = time(admit);
        require_kept(&data.path().join("native"));
        let [mut natives, mut compiled] = [const { Vec::new() }; 2];
        for _ in 0..STARTS {
            natives.push(time(admit));
            compiled.push(time(|| loaded(component)));
        }
        let (native, compiled) = (median(&mut natives), median(&mut compiled));
        let met = native.as_secs_f64() * 1e3 <= TARGET;
        report.target(format!("{name}: start from its .cwasm"), millis(native), "≤ 5 ms a country", met);
        report.figure(format!("{name}: start by compiling"), millis(compiled));
        report.figure(format!("{name}: judged by a process of its own"), millis(judged));
    }
}

/// Checks that native code was kept. Otherwise both starts would compile, and only the size of the figure would show
/// it.
fn require_kept(folder: &Path) {
    let mut engines = std::fs::read_dir(folder).expect("a folder");
    let ours = engines.next().expect("an engine").expect("an engine").path();
    assert!(std::fs::read_dir(ours).expect("a folder").next().is_some(), "nothing was kept");
}
