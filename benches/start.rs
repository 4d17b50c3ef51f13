//! What a start costs a country: its component compiled, and its native code taken from this machine's folder, each up to
//! rules that can be called. By turns, since others may use the machine.

use std::path::Path;

use citas::rules::{CachedEngine, WasmEngine};
use citas_core::limits::Limits;
use citas_core::loaded::LoadedRules;
use citas_core::rules::Engine;

use crate::platform::{component, engine, peru};
use crate::report::{Report, millis};
use crate::timing::{median, time};

const STARTS: usize = 15;

/// Of one country, in milliseconds.
const TARGET: f64 = 5.0;

pub fn measure(report: &mut Report) {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target folder");
    let kept = WasmEngine::clone(&engine());
    let kept = CachedEngine::new(kept, &data.path().join("native"));
    for (name, component) in [("pe", peru()), ("cl", &component("cl"))] {
        let load =
            |engine: &dyn Engine| LoadedRules::load(engine, component, &Limits::default(), 1).expect("a country");
        load(&kept);
        require_kept(&data.path().join("native"));
        let [mut natives, mut compiled] = [const { Vec::new() }; 2];
        for _ in 0..STARTS {
            natives.push(time(|| load(&kept)));
            compiled.push(time(|| load(&*engine())));
        }
        let (native, compiled) = (median(&mut natives), median(&mut compiled));
        let met = native.as_secs_f64() * 1e3 <= TARGET;
        report.target(format!("{name}: start from its .cwasm"), millis(native), "≤ 5 ms a country", met);
        report.figure(format!("{name}: start by compiling"), millis(compiled));
    }
}

/// Otherwise both would compile, and the figure would say so only by its size.
fn require_kept(folder: &Path) {
    let mut engines = std::fs::read_dir(folder).expect("a folder");
    let ours = engines.next().expect("an engine").expect("an engine").path();
    assert!(std::fs::read_dir(ours).expect("a folder").next().is_some(), "nothing was kept");
}
