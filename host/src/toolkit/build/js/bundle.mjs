// Bundles a country's src/rules with all that it imports, and with a check of its answers.

import { readFileSync } from "node:fs";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { decode } from "@jridgewell/sourcemap-codec";
import { build } from "esbuild";

const CONTRACTS = JSON.parse(readFileSync(new URL("contract.json", import.meta.url)));

// Stands in the bundle for its places, which are known once it is made.
const PLACES = "the places of this bundle";

// Returns the name of a member or a function in JavaScript.
export function camel(name) {
  return name.replace(/-[a-z]/g, (letters) => letters[1].toUpperCase());
}

// Returns the places of a bundle for `place` of faults.mjs: the country's own files, and from which line and column of the
// bundle on which file follows, so many lines ahead. One entry stands for all lines on which both go on side by side.
function placesIn(folder, text, map) {
  const { mappings, sources } = JSON.parse(map);
  const names = sources.map((source) => relative(folder, resolve(folder, source)));
  const files = names.filter((name) => !/^\.\.|^<|node_modules/.test(name));
  const [lines, entries] = [text.split("\n"), []];
  for (const [index, segments] of decode(mappings).entries()) {
    const indent = lines[index].search(/\S/);
    // Those of the space before the code are of other lines.
    for (const [column, source, line] of segments.filter((_, number) => !(segments[number + 1]?.[0] <= indent))) {
      const file = files.indexOf(names[source]);
      const ahead = file === -1 ? 0 : line - index;
      if (file !== entries.at(-1)?.[2] || ahead !== entries.at(-1)?.[3]) {
        entries.push([index + 1, column + 1, file, ahead]);
      }
    }
  }
  return { files, entries };
}

// Returns the functions of an interface as the checks read them. Numbers of 64 bits are doubles in JavaScript.
function typed(functions) {
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
  const call = ([name, { answer, error }]) => {
    const refusal = of(error)?.cases?.violations ?? (error?.kind === "list" ? of(error) : undefined);
    return [camel(name), { answer: of(answer), refusal, fault: error?.kind }];
  };
  return Object.fromEntries(Object.entries(functions).map(call));
}

// Returns an expression that is true if a value has a type. Adds the functions that it calls to `named`.
function fits(type, value, named) {
  const within = (of, part) => fits(of, part, named);
  const called = (body) => {
    const name = `is${type.name.replace(/(^|-)[a-z]/g, (letters) => letters.at(-1).toUpperCase())}`;
    named.set(name, body());
    return `${name}(${value})`;
  };
  switch (type.kind) {
    case "integer":
      return `Number.isInteger(${value}) && ${value} >= ${type.least} && ${value} <= ${type.most}`;
    case "text":
      return `typeof ${value} === "string" && ${value}.isWellFormed()`;
    case "flag":
      return `typeof ${value} === "boolean"`;
    case "option":
      return `(${value} == null || ${within(type.of, value)})`;
    case "list":
      return `every(${value}, (it) => ${within(type.of, "it")})`;
    case "tuple":
      return `Array.isArray(${value}) && ${value}.length === ${type.of.length} && ${type.of.map((of, index) => within(of, `${value}[${index}]`)).join(" && ")}`;
    case "enum":
      return called(() => `(it) => ${type.names.map((name) => `it === "${name}"`).join(" || ")}`);
    case "record":
      return called(() => {
        const members = type.members.map(([name, of]) => within(of, `it.${name}`)).join(" && ");
        const options = type.members.filter(([, of]) => of.kind === "option").map(([name]) => `"${name}" in it`);
        const names = JSON.stringify(type.members.map(([name]) => name));
        // Only where an option is absent may another member be a misspelt one.
        const known = options.length > 0 ? ` && (${options.join(" && ")} || stray(it, ${names}) === undefined)` : "";
        return `(it) => typeof it === "object" && it !== null && ${members}${known}`;
      });
    case "variant": {
      const cases = () => Object.entries(type.cases).map(([tag, of]) => `case "${tag}": return ${within(of, "it.val")};`);
      return called(() => `(it) => { switch (it?.tag) { ${cases().join(" ")} } return false; }`);
    }
  }
}

// Returns the source text of the functions of an interface: a quick test of their answers, and their types as JSON, which
// is read where something is wrong. Objects would take more of each instance's memory.
function checks(functions, named) {
  const json = (type) => type && JSON.stringify(JSON.stringify(type));
  const call = ([name, { answer, refusal, fault }]) =>
    `${name}: { fits: (it) => ${fits(answer, "it", named)}, answer: ${json(answer)}, refusal: ${json(refusal)}, fault: ${JSON.stringify(fault)} }`;
  return `{ ${Object.entries(functions).map(call).join(", ")} }`;
}

// Ends the program, with words, if the module exports something else than the contract has.
function requireExports({ exports: exported, entryPoint }, contract, names) {
  const misspelt = exported.filter((name) => /rules?$/i.test(name) && !names.includes(name));
  if (misspelt.length > 0 || !exported.includes("appointmentRules")) {
    const found = misspelt.join(", ") || exported.join(", ") || "nothing";
    console.error(`${entryPoint} exports ${found}; the host calls ${names.join(", ")} in contract ${contract}, of which appointmentRules is required`);
    process.exit(1);
  }
}

// Returns the text of the bundle, its places, and the interfaces that it exports, by the names of their exports.
// `wrapper` is the function of faults.mjs or contract.mjs that makes an export of an interface. Ends the program with
// words if there is something wrong with the sources.
export async function bundle(folder, contract, wrapper, options) {
  const common = { absWorkingDir: folder, bundle: true, target: "es2023", outfile: "rules.js", write: false, logLevel: "error" };
  const mapped = { sourcemap: "external", sourcesContent: false };
  const ended = () => process.exit(1); // It has said why.
  const sources = await build({ ...common, entryPoints: ["./src/rules"], format: "esm", metafile: true }).catch(ended);
  const output = sources.metafile.outputs["rules.js"];
  const all = Object.fromEntries(Object.keys(CONTRACTS[contract]).map((name) => [camel(name), name]));
  requireExports(output, contract, Object.keys(all));
  const interfaces = Object.fromEntries(Object.entries(all).filter(([name]) => output.exports.includes(name)));
  const named = new Map();
  const wrapped = Object.entries(interfaces).map(([name, known]) => {
    return `export const ${name} = ${wrapper}("${name}", rules.${name}, ${checks(typed(CONTRACTS[contract][known]), named)}, places);`;
  });
  const contents = [
    `import { checked, every, stray } from ${JSON.stringify(fileURLToPath(new URL("contract.mjs", import.meta.url)))};`,
    `import { worded } from ${JSON.stringify(fileURLToPath(new URL("faults.mjs", import.meta.url)))};`,
    `import * as rules from "./src/rules";`,
    `const places = () => JSON.parse("${PLACES}");`,
    ...[...named].map(([name, body]) => `const ${name} = ${body};`),
    ...wrapped,
  ].join("\n");
  const { outputFiles } = await build({ ...common, ...mapped, stdin: { contents, resolveDir: folder }, ...options }).catch(ended);
  const text = (ending) => outputFiles.find(({ path }) => path.endsWith(ending))?.text;
  const places = placesIn(folder, text(".js"), text(".map"));
  return { text: text(".js").replace(`"${PLACES}"`, () => JSON.stringify(JSON.stringify(places))), places, interfaces };
}
