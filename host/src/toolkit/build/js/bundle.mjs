// Bundles a country's src/rules with all that it imports, and with a check of its answers.

import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const CONTRACT = JSON.parse(readFileSync(new URL("contract.json", import.meta.url)));

// Exports and their interfaces. All but the first are optional.
const INTERFACES = { appointmentRules: "appointment-rules", slotRules: "slot-rules", noticeRules: "notice-rules" };

// Returns the name of a member or a function in JavaScript.
export function camel(name) {
  return name.replace(/-[a-z]/g, (letters) => letters[1].toUpperCase());
}

// Returns a function from a line and a column of a bundle to their place in the country's own sources, if they have one.
export function placesIn(folder, map) {
  const entries = new SourceMap(JSON.parse(map));
  return (line, column) => {
    const { originalSource, originalLine, originalColumn } = entries.findEntry(line - 1, column - 1);
    const file = originalSource && relative(folder, resolve(folder, originalSource));
    const isOwn = file && !/^\.\.|^<|node_modules/.test(file);
    return isOwn ? `${file}:${originalLine + 1}:${originalColumn + 1}` : undefined;
  };
}

// Returns the functions of the contract as the check reads them. Numbers of 64 bits are doubles in JavaScript.
function checks(functions) {
  const of = (type) => {
    switch (type?.kind) {
      case "record":
        return { ...type, members: type.members.map(([name, member]) => [camel(name), of(member)]) };
      case "variant":
        return { ...type, cases: Object.fromEntries(type.cases.map(([name, val]) => [name, of(val)])) };
      case "tuple":
        return { ...type, of: type.of.map(of) };
      case "integer":
        return { ...type, least: Math.max(type.least, Number.MIN_SAFE_INTEGER), most: Math.min(type.most, Number.MAX_SAFE_INTEGER) };
      default:
        return type?.of ? { ...type, of: of(type.of) } : type;
    }
  };
  return Object.fromEntries(Object.entries(functions).map(([name, { answer, refusal }]) => [camel(name), { answer: of(answer), refusal: of(refusal) }]));
}

// Returns the text of the bundle, its source map, and the names of its exports. `wrap` gives the source text of an
// export: its interface with checks. Ends the program with words if there is something wrong with the sources.
export async function bundle(folder, wrap, options) {
  const common = { absWorkingDir: folder, bundle: true, target: "es2023", outfile: "rules.js", write: false, logLevel: "error" };
  const mapped = { sourcemap: "external", sourcesContent: false };
  const ended = () => process.exit(1); // It has said why.
  const sources = await build({ ...common, entryPoints: ["./src/rules"], format: "esm", metafile: true }).catch(ended);
  const { exports: exported, entryPoint } = sources.metafile.outputs["rules.js"];
  const misspelt = exported.filter((name) => /rules?$/i.test(name) && !(name in INTERFACES));
  if (misspelt.length > 0 || !exported.includes("appointmentRules")) {
    const names = Object.keys(INTERFACES).join(", ");
    console.error(`${entryPoint} exports ${misspelt.join(", ") || exported.join(", ") || "nothing"}; the host calls ${names}, of which appointmentRules is required`);
    process.exit(1);
  }
  const interfaces = Object.keys(INTERFACES).filter((name) => exported.includes(name));
  const wrapped = interfaces.map((name) => {
    const functions = checks(CONTRACT[INTERFACES[name]]);
    const names = JSON.stringify(Object.keys(functions));
    return `const own${name} = complete("${name}", rules.${name}, ${names}); export const ${name} = ${wrap(`own${name}`, functions)};`;
  });
  const contents = `import { complete, checked } from ${JSON.stringify(fileURLToPath(new URL("contract.mjs", import.meta.url)))};
import * as rules from "./src/rules";
${wrapped.join("\n")}`;
  const { outputFiles } = await build({ ...common, ...mapped, stdin: { contents, resolveDir: folder }, ...options }).catch(ended);
  const text = (ending) => outputFiles.find(({ path }) => path.endsWith(ending))?.text;
  return { text: text(".js"), map: text(".map"), interfaces };
}
