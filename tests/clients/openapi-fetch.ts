// Books, lists, moves and cancels in both countries with openapi-fetch, over the types of openapi-typescript.

import { strict as assert } from "node:assert";
import createClient from "openapi-fetch";
import { BASE, HEADERS, example } from "./common.ts";
import type { components, paths } from "./generated/schema.ts";

type Schemas = components["schemas"];

const client = createClient<paths>({ baseUrl: BASE, headers: HEADERS });

async function peru(): Promise<void> {
  const body: Schemas["PeRequest"] = { ...(await example<Schemas["PeRequest"]>("PeRequest")), doctor: "51001" };
  const booked = await client.POST("/v1/pe/appointments", { body });
  assert(booked.data, JSON.stringify(booked.error));
  const { id, phase, revision, doctor } = booked.data;
  assert.deepEqual([phase, revision, doctor], ["booked", 1, "51001"] satisfies [Schemas["Phase"], number, string]);
  const path = { id };

  const again = await client.POST("/v1/pe/appointments", { body });
  const free: Schemas["FreeSlot"][] = again.error?.freeSlots ?? [];
  assert.equal(again.error?.type, "/problems/slot-taken" satisfies Schemas["ProblemType"]);
  assert(free.length > 0 && free.every((slot) => slot.minutes > 0));

  const page = await client.GET("/v1/pe/appointments", { params: { query: { doctor: "51001", limit: 10 } } });
  assert(page.data?.items.some((item) => item.id === id));

  const query = { doctor: "51001", district: body.district };
  const slots = await client.GET("/v1/pe/slots", { params: { query } });
  const first = slots.data?.items[0];
  assert(first && "slot" in first && first.slot.length > 0);
  const byToken = await client.POST("/v1/pe/appointments", { body: { slot: first.slot, dni: "10117410" } });
  assert.equal(byToken.response.status, 422, "the other members are missing");
  const held = await client.POST("/v1/pe/holds", { body: { slot: first.slot } });
  assert(held.data && held.data.startsAt === first.startsAt, JSON.stringify(held.error));
  const byHold = await client.POST("/v1/pe/appointments", { body: { hold: held.data.id, dni: "10117410" } });
  assert.equal(byHold.response.status, 422, "the other members are missing");
  const released = await client.DELETE("/v1/pe/holds/{id}", { params: { path: { id: held.data.id } } });
  assert.equal(released.response.status, 204);

  const input = await example<Schemas["PeRescheduleInput"]>("PeRescheduleInput");
  const etag = booked.response.headers.get("ETag");
  assert(etag);
  const moved = await client.POST("/v1/pe/appointments/{id}/reschedule", {
    params: { path, header: { "If-Match": etag } },
    body: input,
  });
  assert.equal(moved.data?.date, input.date);

  const cancelled = await client.POST("/v1/pe/appointments/{id}/cancel", { params: { path }, body: { reason: "Viaje" } });
  assert.equal(cancelled.data?.phase, "cancelled");

  const history = await client.GET("/v1/pe/appointments/{id}/history", { params: { path } });
  assert.deepEqual(history.data?.items.map((entry) => entry.action), ["book", "reschedule", "cancel"]);

  const refused = await client.POST("/v1/pe/appointments", { body: { ...body, email: "nobody" } });
  const violations: Schemas["Violation"][] = refused.error?.violations ?? [];
  assert.equal(violations[0]?.pointer, "/email");
}

async function chile(): Promise<void> {
  const body: Schemas["ClRequest"] = { ...(await example<Schemas["ClRequest"]>("ClRequest")), doctor: "51001" };
  const booked = await client.POST("/v1/cl/appointments", { body, headers: { "Idempotency-Key": crypto.randomUUID() } });
  assert(booked.data, JSON.stringify(booked.error));
  const path = { id: booked.data.id };

  const page = await client.GET("/v1/cl/appointments", { params: { query: { phase: ["booked", "arrived"] } } });
  assert(page.data?.items.some((item) => item.id === path.id));

  const input = await example<Schemas["ClRescheduleInput"]>("ClRescheduleInput");
  const moved = await client.POST("/v1/cl/appointments/{id}/reschedule", { params: { path }, body: input });
  assert.equal(moved.data?.time, input.time);

  const cancelled = await client.POST("/v1/cl/appointments/{id}/cancel", { params: { path }, body: { reason: "patient" } });
  assert.equal(cancelled.data?.phase, "cancelled");
}

await peru();
await chile();
