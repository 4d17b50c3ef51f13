// Repeats calls that failed in the component: `node replay.mjs <folder> <contract> <calls> <output>`. Runs the same
// sources in Node.js, where an exception has a message and a place. Writes one text for each call.

import { readFile, writeFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { bundle } from "./bundle.mjs";

// Memory of one call, many times that of a component.
const MEGABYTES = 256;

const [folder, contract, calls, output] = process.argv.slice(2);

const bundled = await bundle(folder, contract, "checked", { format: "iife", globalName: "__rules" });

// Repeats a call in a thread of its own, as it has an instance of its own in the host.
function repeated(call) {
  const worker = new Worker(new URL("call.mjs", import.meta.url), {
    workerData: { ...bundled, call },
    resourceLimits: { maxOldGenerationSizeMb: MEGABYTES },
  });
  return new Promise((resolve) => {
    const words = { ERR_WORKER_OUT_OF_MEMORY: `it takes more than ${MEGABYTES} MB outside the component, too` };
    worker.on("message", resolve);
    worker.on("error", (error) => resolve(words[error.code] ?? String(error)));
    worker.on("exit", () => resolve("it ends Node.js, too"));
  });
}

const found = [];
for (const call of JSON.parse(await readFile(calls, "utf8"))) {
  found.push(await repeated(call));
}
await writeFile(output, JSON.stringify(found));
