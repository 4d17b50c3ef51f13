// Checks the functions of a country's interfaces, and what they answer, against the contract.

// Stands for a value whose name the contract does not have.
const UNKNOWN = Symbol("the contract has no such member");

// Returns an interface with a check of all that its functions answer.
export function checked(name, rules, functions) {
  const names = Object.keys(functions);
  const absent = names.find((call) => typeof rules?.[call] !== "function");
  if (absent) {
    throw new TypeError(`\`${name}\` has no function \`${absent}\`; the contract asks for ${names.join(", ")}`);
  }
  const call = ([name, types]) => [name, (...given) => answer(name, types, () => rules[name](...given))];
  return Object.fromEntries(Object.entries(functions).map(call));
}

// True for a list of values that all pass a test.
export function every(list, test) {
  if (!Array.isArray(list)) {
    return false;
  }
  for (const item of list) {
    if (!test(item)) {
      return false;
    }
  }
  return true;
}

// Returns the name of a member that a record does not have in the contract; undefined if there is none.
export function stray(record, names) {
  return Object.keys(record).find((name) => !names.includes(name));
}

function answer(call, types, run) {
  let answered;
  try {
    answered = run();
  } catch (thrown) {
    refuse(call, types.refusal, thrown);
    throw thrown;
  }
  if (!types.fits(answered)) {
    require(call, "returns", types.answer, answered);
  }
  return answered;
}

// Passes an error on, and a list of violations of a function that may refuse. Nothing else may be thrown.
function refuse(call, refusal, thrown) {
  if (thrown instanceof Error) {
    return;
  }
  if (!refusal) {
    throw new TypeError(`\`${call}\` throws ${shown(thrown)}; only \`book\` and \`act\` may refuse`);
  }
  require(call, "throws", refusal, thrown);
  if (thrown.length === 0) {
    throw new TypeError(`\`${call}\` throws an empty list; a refusal has at least one violation`);
  }
}

function require(call, verb, json, value) {
  const type = JSON.parse(json);
  const found = wrong(type, value);
  if (found) {
    const [path, actual, expected] = found;
    const root = type.name ?? (verb === "throws" ? "violations" : "answer");
    const place = path === "" ? `\`${call}\` ${verb}` : `\`${call}\` ${verb} \`${root}${path}\`:`;
    throw new TypeError(`${place} ${actual === undefined && path === "" ? "nothing" : shown(actual)}; expected ${words(expected)}`);
  }
}

// Returns the path of the first value that is wrong, the value and the type that it should have.
function wrong(type, value) {
  switch (type.kind) {
    case "record":
      return isRecord(value) ? members(type, value) : ["", value, type];
    case "list":
      return Array.isArray(value) ? items(value, () => type.of) : ["", value, type];
    case "tuple":
      return Array.isArray(value) && value.length === type.of.length ? items(value, (index) => type.of[index]) : ["", value, type];
    case "option":
      return value === undefined || value === null ? undefined : wrong(type.of, value);
    case "variant": {
      const of = type.cases[value?.tag];
      return of ? below(".val", wrong(of, value.val)) : typeof value === "object" && value ? [".tag", value.tag, type] : ["", value, type];
    }
    default:
      return isRight(type, value) ? undefined : ["", value, type];
  }
}

// True for an object that is no list and no promise.
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) && typeof value.then !== "function";
}

function members(type, value) {
  for (const [name, of] of type.members) {
    const found = wrong(of, value[name]);
    if (found) {
      return below(`.${name}`, found);
    }
  }
  const isAbsent = ([name, of]) => of.kind === "option" && !(name in value);
  const unknown = type.members.some(isAbsent) ? stray(value, type.members.map(([name]) => name)) : undefined;
  return unknown === undefined ? undefined : [`.${unknown}`, UNKNOWN, type];
}

function items(list, typeAt) {
  for (let index = 0; index < list.length; index++) {
    const found = wrong(typeAt(index), list[index]);
    if (found) {
      return below(`[${index}]`, found);
    }
  }
}

function below(step, found) {
  return found && [step + found[0], found[1], found[2]];
}

function isRight(type, value) {
  switch (type.kind) {
    case "integer":
      return Number.isInteger(value) && value >= type.least && value <= type.most;
    case "text":
      return typeof value === "string" && value.isWellFormed();
    case "flag":
      return typeof value === "boolean";
    case "enum":
      return type.names.includes(value);
  }
}

function words(type) {
  switch (type.kind) {
    case "integer":
      return `a whole number from ${type.least} to ${type.most}`;
    case "text":
      return "a text";
    case "flag":
      return "true or false";
    case "enum":
      return `one of ${type.names.join(", ")}`;
    case "variant":
      return `{ tag, val } with a tag of ${Object.keys(type.cases).join(", ")}`;
    case "list":
      return `a list${type.of.name ? ` of ${type.of.name}s` : ""}`;
    case "tuple":
      return `a list of ${type.of.length}`;
    case "record":
      return `an object with ${type.members.map(([name]) => name).join(", ")}`;
  }
}

function shown(value) {
  if (value === UNKNOWN) {
    return UNKNOWN.description;
  }
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value);
  }
  if (typeof value === "bigint") {
    return `${value}n, a BigInt`;
  }
  if (typeof value?.then === "function") {
    return "a promise (rules wait for nothing: the function must not be async)";
  }
  if (Array.isArray(value)) {
    return value.length === 0 ? "an empty list" : `a list of ${value.length}`;
  }
  const kinds = { undefined: "it is missing", function: "a function", object: value === null ? "null" : "an object" };
  return kinds[typeof value] ?? String(value);
}
