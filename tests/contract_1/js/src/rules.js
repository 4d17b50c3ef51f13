// The country of ../../src/lib.rs in JavaScript. Its rules.toml names no contract, as those from before there was another.

import { version } from "../package.json";
import appointmentSchema from "../../src/schema/appointment.json";
import cancelSchema from "../../src/schema/cancel.json";
import requestSchema from "../../src/schema/request.json";

export const appointmentRules = {
  describe() {
    const [roles, locale] = [["patient", "staff", "platform"], "en"];
    return {
      country: "ut",
      version,
      zones: ["Etc/UTC"],
      locales: [locale],
      requestSchema: JSON.stringify(requestSchema),
      appointmentSchema: JSON.stringify(appointmentSchema),
      actions: [{ name: "cancel", roles, inputSchema: JSON.stringify(cancelSchema) }],
      messages: [
        { code: "ut.time.closed", locale, text: "Closed before {opens}." },
        { code: "ut.cancel.not-allowed-now", locale, text: "The appointment is cancelled already." },
      ],
    };
  },

  book(context, request) {
    const [doctor, date, time] = ["/doctor", "/date", "/time"].map((path) => text(request, path));
    if (time < "08:00") {
      throw [{ path: "/time", code: "ut.time.closed", params: [["opens", "08:00"]] }];
    }
    return plan("booked", [`doctor/${doctor}/${date}T${time}Z`], request, "booked");
  },

  act(context, current) {
    if (current.phase !== "booked") {
      throw [{ path: "", code: "ut.cancel.not-allowed-now", params: [] }];
    }
    return plan("cancelled", [], current.attributes, "cancelled");
  },

  present(appointments) {
    return appointments.map((appointment) => appointment.attributes);
  },
};

function plan(phase, claims, attributes, event) {
  const [year, month, day] = text(attributes, "/date").split("-").map(Number);
  const [hour, minute] = text(attributes, "/time").split(":").map(Number);
  return {
    phase,
    slot: { start: { year, month, day, hour, minute }, minutes: 30, zone: "Etc/UTC" },
    claims,
    patient: `id:${text(attributes, "/patient")}`,
    doctor: text(attributes, "/doctor"),
    hospital: undefined,
    attributes,
    events: [event],
  };
}

function text(fields, path) {
  return fields.find((field) => field.path === path).value.val;
}
