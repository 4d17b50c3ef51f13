// Makes a component of a country's JavaScript or TypeScript: `node build.mjs <folder> <wit> <output>`. Runs the bundle
// once, and keeps what stands in memory then beside the interpreter, QuickJS.

import { writeFile } from "node:fs/promises";
import { componentize } from "componentize-qjs";
import { bundle, placesIn } from "./bundle.mjs";

const [folder, witPath, output] = process.argv.slice(2);

// The engine cuts a number to its type without a word. Any other wrong value ends the call.
function guarded(rules, functions) {
  const call = ([name, { answer }]) => {
    return `${name}(...given) { const answer = ${rules}.${name}(...given); ${guard(answer, "answer")} return answer; }`;
  };
  return `{ ${Object.entries(functions).map(call).join(", ")} }`;
}

// Returns statements that end the call if a number within a value does not fit its type; none if it has no numbers.
function guard(type, value) {
  const within = (inner, of, around) => {
    const statements = guard(of, inner);
    return statements && around(statements);
  };
  switch (type?.kind) {
    case "integer":
      return `if (!(Number.isInteger(${value}) && ${value} >= ${type.least} && ${value} <= ${type.most})) throw new RangeError("${value}");`;
    case "record":
      return type.members.map(([name, of]) => guard(of, `${value}.${name}`)).join("");
    case "variant":
      return Object.entries(type.cases).map(([tag, of]) => within(`${value}.val`, of, (inner) => `if (${value}.tag === "${tag}") { ${inner} }`)).join("");
    case "option":
      return within(value, type.of, (inner) => `if (${value} != null) { ${inner} }`);
    case "list": {
      const item = `${/\w+/.exec(value)[0]}_`;
      return within(item, type.of, (inner) => `for (const ${item} of ${value}) { ${inner} }`);
    }
    default:
      return "";
  }
}

const { text, map, interfaces } = await bundle(folder, guarded, { format: "esm" });

// The optional interfaces are those that the module exports.
const worlds = { "": "country", s: "country-with-slots", n: "country-with-notices", sn: "full-country" };
const world = worlds[`${interfaces.includes("slotRules") ? "s" : ""}${interfaces.includes("noticeRules") ? "n" : ""}`];

try {
  // No asynchronous interface, nothing of WASI: a call that would need it traps.
  const { component } = await componentize({ witPath, world, jsSource: text, sync: true, stubWasi: true });
  await writeFile(output, component);
} catch (error) {
  // What the modules' own code said, with its places in the sources.
  const place = placesIn(folder, map);
  const lines = error.message.replace(/^.*module evaluation: /, "").split("\n").flatMap((line) => {
    const at = /user\.js:(\d+):(\d+)/.exec(line);
    const own = at && place(at[1], at[2]);
    return at ? (own ? [`    at ${own}`] : []) : [line];
  });
  console.error(lines.join("\n"));
  process.exit(1);
}
