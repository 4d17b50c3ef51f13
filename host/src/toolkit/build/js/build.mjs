// Makes a component of a country's JavaScript or TypeScript: `node build.mjs <folder> <wit> <output>`. Bundles src/rules
// with all that it imports, runs it once, and keeps what stands in memory then beside the interpreter, QuickJS.

import { writeFile } from "node:fs/promises";
import { componentize } from "componentize-qjs";
import { build } from "esbuild";

const [folder, witPath, output] = process.argv.slice(2);

const bundle = await build({
  absWorkingDir: folder,
  entryPoints: ["./src/rules"],
  bundle: true,
  format: "esm",
  target: "es2023",
  outfile: "rules.js",
  write: false,
  metafile: true,
  logLevel: "error",
}).catch(() => process.exit(1)); // It has said why.

// The optional interfaces are those that the module exports.
const exported = new Set(bundle.metafile.outputs["rules.js"].exports);
const worlds = { "": "country", s: "country-with-slots", n: "country-with-notices", sn: "full-country" };
const world = worlds[`${exported.has("slotRules") ? "s" : ""}${exported.has("noticeRules") ? "n" : ""}`];

try {
  // No asynchronous interface, nothing of WASI: a call that would need it traps.
  const options = { witPath, world, jsSource: bundle.outputFiles[0].text, sync: true, stubWasi: true };
  const { component } = await componentize(options);
  await writeFile(output, component);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
