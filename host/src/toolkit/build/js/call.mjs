// Repeats one call of a bundle, without what a component lacks, and says what is wrong with it. A thread of replay.mjs.

import vm from "node:vm";
import { parentPort, workerData } from "node:worker_threads";
import { camel } from "./bundle.mjs";
import { words } from "./faults.mjs";

const TIMEOUT = 5_000; // Milliseconds, of the modules and of the call.

const { text, places, interfaces, call } = workerData;

// What an interpreter of JavaScript without a system has. Node.js has more.
const KEPT = new Set(
  `Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol Date Promise RegExp Error
  AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis JSON Math Atomics Reflect
  Iterator ArrayBuffer SharedArrayBuffer Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array Float16Array
  Float32Array Float64Array Uint8ClampedArray BigUint64Array BigInt64Array DataView Map BigInt Set WeakMap WeakSet WeakRef
  FinalizationRegistry Proxy decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape eval isFinite
  isNaN`.split(/\s+/),
);

// Takes the clock away, once the modules have run.
const WITHOUT_CLOCK = `{
  const absent = () => { throw new Error("a component has no clock; \`context.now\` has the time, and \`context.clocks\` the local times"); };
  const { Date } = globalThis;
  globalThis.Date = new Proxy(Date, {
    apply: absent,
    construct: (target, given, made) => (given.length === 0 ? absent() : Reflect.construct(target, given, made)),
  });
  Date.now = absent;
  Date.prototype.constructor = globalThis.Date;
}`;

// Names the members of an argument as JavaScript does.
function argument(value) {
  if (Array.isArray(value)) {
    return value.map(argument);
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [camel(name), argument(member)]));
}

function told(error) {
  if (error?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT") {
    return `it does not end within ${TIMEOUT / 1000} s outside the component either; is there a loop without an end?`;
  }
  return words(error, places);
}

function repeated({ function: name, arguments: given }) {
  const call = camel(name);
  const context = vm.createContext({});
  const run = (code) => vm.runInContext(code, context, { timeout: TIMEOUT });
  const names = run("Object.getOwnPropertyNames(globalThis)");
  run(names.filter((name) => !KEPT.has(name)).map((name) => `delete globalThis[${JSON.stringify(name)}];`).join(""));
  try {
    new vm.Script(text, { filename: "user.js" }).runInContext(context, { timeout: TIMEOUT });
    run(WITHOUT_CLOCK);
    const home = Object.keys(interfaces).find((found) => run(`"${call}" in __rules.${found}`));
    const thrown = run(`try { __rules.${home}.${call}(...${JSON.stringify(argument(given))}); } catch (error) { error instanceof Error ? error : undefined }`);
    return thrown && "stack" in thrown ? told(thrown) : `the call works in Node.js ${process.version}`;
  } catch (error) {
    return told(error);
  }
}

parentPort.postMessage(repeated(call));
