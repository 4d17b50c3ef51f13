// Gives the errors of a country's functions to the host as the contract has them: a refusal, or a fault in words.

import { checked } from "./contract.mjs";

const MAX_FRAMES = 3;

// Names that Node.js has.
const ELSEWHERE = /^(Buffer|Intl|TextDecoder|TextEncoder|URL|clear(Interval|Timeout)|console|crypto|fetch|performance|process|set(Interval|Timeout)|structuredClone)$/;

// Returns an interface whose functions throw what the contract has for errors. The functions of contract 1.0.0 pass on what
// they throw.
export function worded(name, rules, functions, places) {
  const own = checked(name, rules, functions);
  const call = ([name, { fault }]) => [name, (...given) => answer(() => own[name](...given), fault, places)];
  return Object.fromEntries(Object.entries(functions).map(call));
}

function answer(run, fault, places) {
  try {
    return run();
  } catch (thrown) {
    const isRefusal = Array.isArray(thrown);
    switch (fault) {
      case "variant":
        throw isRefusal ? { tag: "violations", val: thrown } : { tag: "fault", val: words(thrown, places()) };
      case "text":
        throw words(thrown, places());
      default:
        throw thrown;
    }
  }
}

// Returns what an error says, and where it comes from in the country's own sources, the innermost place first.
export function words({ name, message, stack }, places) {
  const all = [...String(stack).matchAll(/user\.js:(\d+):(\d+)/g)].map(([, line, column]) => place(places, +line, +column));
  const [innermost, ...callers] = all.filter((place) => place).slice(0, MAX_FRAMES);
  const missing = /^'?(\w+)'? is not defined$/.exec(message)?.[1];
  const hint = missing && ELSEWHERE.test(missing) ? " (Node.js has it; a component has not)" : "";
  const from = callers.length > 0 ? `, called from ${callers.join(", ")}` : "";
  return `${innermost ? `${innermost}: ${name}: ` : ""}${message}${hint}${from}`.toWellFormed();
}

// Returns the place of a bundle's line and column in the country's own sources, if it has one.
export function place({ files, entries }, line, column) {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const entry = entries[middle];
    if (entry[0] < line || (entry[0] === line && entry[1] <= column)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  const found = entries[low - 1];
  return found && files[found[2]] && `${files[found[2]]}:${line + found[3]}`;
}
