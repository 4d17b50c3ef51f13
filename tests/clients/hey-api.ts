// Books, lists, moves and cancels in every country with the client of @hey-api/openapi-ts.

import { strict as assert } from "node:assert";
import { BASE, HEADERS, example } from "./common.ts";
import { client } from "./generated/hey-api/client.gen.ts";
import {
  clBook, clCancel, clList, clReschedule, coBook, coCancel, coConfirm, listCountries, peBook, peCancel, peGet, peHistory, peList, peReschedule,
} from "./generated/hey-api/sdk.gen.ts";
import type { ClRequest, ClRescheduleInput, CoRequest, PeRequest, PeRescheduleInput } from "./generated/hey-api/types.gen.ts";

client.setConfig({ baseUrl: BASE, headers: HEADERS });

async function peru(): Promise<void> {
  const body: PeRequest = { ...(await example<PeRequest>("PeRequest")), doctor: "52001" };
  const headers = { "Idempotency-Key": crypto.randomUUID() };
  const booked = await peBook({ body, headers });
  assert(booked.data, JSON.stringify(booked.error));
  const path = { id: booked.data.id };
  assert.equal(booked.data.rules.version.split(".").length, 3);

  const repeated = await peBook({ body, headers });
  assert.equal(repeated.data?.id, path.id);
  const again = await peBook({ body });
  assert.equal(again.error?.type, "/problems/slot-taken");

  const page = await peList({ query: { doctor: "52001" } });
  assert(page.data?.items.some((item) => item.id === path.id));

  const input = await example<PeRescheduleInput>("PeRescheduleInput");
  const moved = await peReschedule({ path, body: input, headers: { "If-Match": '"1"' } });
  assert.equal(moved.data?.date, input.date);
  assert.equal((await peGet({ path })).data?.revision, 2);

  const cancelled = await peCancel({ path });
  assert.equal(cancelled.data?.phase, "cancelled");
  const history = await peHistory({ path });
  assert.deepEqual(history.data?.items.map((entry) => entry.by.role), ["patient", "patient", "patient"]);
}

async function chile(): Promise<void> {
  const body: ClRequest = { ...(await example<ClRequest>("ClRequest")), doctor: "52001" };
  const booked = await clBook({ body });
  assert(booked.data, JSON.stringify(booked.error));
  const path = { id: booked.data.id };

  const page = await clList({ query: { limit: 100 } });
  assert(page.data?.items.some((item) => item.id === path.id));

  const input = await example<ClRescheduleInput>("ClRescheduleInput");
  const moved = await clReschedule({ path, body: input });
  assert.equal(moved.data?.time, input.time);

  const cancelled = await clCancel({ path, body: { reason: "other" } });
  assert.equal(cancelled.data?.cancellation?.reason, "other");
}

async function colombia(): Promise<void> {
  const body = await example<CoRequest>("CoRequest");
  const requested = await coBook({ body });
  assert.equal(requested.data?.phase, "requested", JSON.stringify(requested.error));
  const again = await coBook({ body });
  assert.equal(again.error?.type, "/problems/slot-taken");

  const path = { id: requested.data.id };
  const early = await coConfirm({ path });
  assert.equal(early.error?.type, "/problems/not-allowed-now");
  const cancelled = await coCancel({ path });
  assert.equal(cancelled.data?.phase, "cancelled");
}

const countries = await listCountries();
assert.deepEqual(countries.data?.items.map((country) => country.country), ["cl", "co", "pe"]);
await peru();
await chile();
await colombia();
