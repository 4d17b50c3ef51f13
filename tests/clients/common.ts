// What the programs share: the host, a token, and the examples of the host's own description.

import { strict as assert } from "node:assert";

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

export const BASE = setting("BASE");
export const HEADERS = { Authorization: `Bearer ${setting("TOKEN")}` };

/** Returns the first example of a schema in the description that the host serves now. */
export async function example<T>(name: string): Promise<T> {
  const description = await (await fetch(`${BASE}/openapi.json`)).json();
  return description.components.schemas[name].examples[0] as T;
}
