// Makes a component of a country's JavaScript or TypeScript: `node build.mjs <folder> <contract> <output>`. Runs the
// bundle once, and keeps what stands in memory then beside the interpreter, QuickJS.

import { readFile, writeFile } from "node:fs/promises";
import { componentize } from "componentize-qjs";
import { bundle } from "./bundle.mjs";
import { place } from "./faults.mjs";

const [folder, contract, output] = process.argv.slice(2);

const { text, places, interfaces } = await bundle(folder, contract, "worded", { format: "esm" });

// The world is what the module exports.
const exported = Object.values(interfaces).map((name) => `export ${name};`);
const wit = await readFile(new URL(`rules-${contract}.wit`, import.meta.url), "utf8");
const witPath = `${output}.wit`;
await writeFile(witPath, `${wit}\nworld sources { ${exported.join(" ")} }\n`);

try {
  // No asynchronous interface, nothing of WASI: a call that would need it traps.
  const { component } = await componentize({ witPath, world: "sources", jsSource: text, sync: true, stubWasi: true });
  await writeFile(output, component);
} catch (error) {
  // What the modules' own code said, with its places in the sources.
  const lines = error.message.replace(/^.*module evaluation: /, "").split("\n").flatMap((line) => {
    const at = /user\.js:(\d+):(\d+)/.exec(line);
    const own = at && place(places, +at[1], +at[2]);
    return at ? (own ? [`    at ${own}`] : []) : [line];
  });
  console.error(lines.join("\n"));
  process.exit(1);
}
