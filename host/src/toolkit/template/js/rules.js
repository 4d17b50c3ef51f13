// The rules of `{{code}}`: bookings, later actions, and the view for clients. When a topic grows, give it a module of
// its own. docs/rules.md explains every term.
//
// Every fact arrives as an argument. There is no clock and no network, and Math.random returns the same numbers in
// every call.

import { version } from "../package.json";
import appointmentSchema from "./schema/appointment.json";
import cancelSchema from "./schema/cancel.json";
import requestSchema from "./schema/request.json";
import { civil, claims, clockOf, dayText, instantOf, localSeconds, minuteText, secondsOf, text, withText } from "./facts.js";

// IANA time zones, the most common one first.
const ZONES = ["{{zone}}"];

// Languages of the messages (BCP 47), the default first.
const LOCALES = ["en"];

// Number of hours before the start until which a patient may cancel.
const CANCEL_HOURS = 24;

// Length of an appointment in minutes. Appointments start on a multiple of it, counted from the full hour.
const MINUTES = 30;

const LEAD_MINUTES = 60;

const HORIZON_DAYS = 90;

// Opening hours by the day of the week, from Sunday on. An appointment may end at closing time.
const WEEKDAY = ["08:00", "18:00"];
const SATURDAY = ["09:00", "13:00"];
const WEEK = [undefined, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, SATURDAY];

// Public holidays by month and day, each with its law.
const HOLIDAYS = { "01-01": "New Year's Day" };

// Texts of each message code, one for each of LOCALES.
const WORDS = {
  "{{code}}.date.nonexistent": ["That date does not exist in the calendar."],
  "{{code}}.date.holiday": ["That day is a public holiday ({holiday}). Please choose another date."],
  "{{code}}.date.too-far": ["That date cannot be booked yet. Choose one no later than {latest}."],
  "{{code}}.time.off-grid": ["Appointments start every {every} minutes from the full hour."],
  "{{code}}.time.closed": ["Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}."],
  "{{code}}.time.too-soon": ["That is too soon. The appointment can start from {earliest} on."],
  "{{code}}.cancel.too-late": ["You can cancel the appointment until {hours} hours before it."],
  "{{code}}.cancel.not-allowed-now": ["The appointment can no longer be cancelled (it is {phase})."],
  "{{code}}.action.unknown": ["There is no action {action}."],
};

export const appointmentRules = {
  describe() {
    return {
      country: "{{code}}",
      version,
      zones: ZONES,
      locales: LOCALES,
      requestSchema: JSON.stringify(requestSchema),
      appointmentSchema: JSON.stringify(appointmentSchema),
      actions: [
        { name: "cancel", roles: ["patient", "staff", "platform"], inputSchema: JSON.stringify(cancelSchema) },
      ],
      messages: Object.entries(WORDS).flatMap(([code, texts]) =>
        texts.map((text, index) => ({ code, locale: LOCALES[index], text })),
      ),
    };
  },

  // Throws the list of violations: everything that is wrong, at once.
  book(context, request) {
    const clock = clockOf(context, ZONES[0]);
    const [date, time] = [text(request, "/date"), text(request, "/time")];
    const start = localSeconds(date, time);
    const broken =
      start === undefined
        ? [violation("/date", "date.nonexistent"), ...offGrid(time.slice(3))]
        : against(context, clock, start);
    if (broken.length > 0) {
      throw broken;
    }
    const [doctor, patient] = [text(request, "/doctor"), patientKey(request)];
    return {
      phase: "booked",
      slot: { start: civil(start), minutes: MINUTES, zone: clock.zone },
      claims: [`doctor/${doctor}`, `patient/${patient}`].flatMap((holder) =>
        claims(holder, instantOf(clock, start), MINUTES, MINUTES),
      ),
      patient,
      doctor,
      hospital: text(request, "/hospital"),
      attributes: request,
      events: [],
    };
  },

  act(context, current, action, input) {
    if (action !== "cancel") {
      throw [violation("", "action.unknown", { action })];
    }
    if (!["requested", "pending", "booked", "arrived"].includes(current.phase)) {
      throw [violation("", "cancel.not-allowed-now", { phase: current.phase })];
    }
    const { start, zone } = current.slot;
    const begins = instantOf(clockOf(context, zone), secondsOf(start));
    if (context.role === "patient" && begins - Number(context.now) < CANCEL_HOURS * 3600) {
      throw [violation("", "cancel.too-late", { hours: CANCEL_HOURS })];
    }
    const attributes = withText(current.attributes, "/cancellation/reason", text(input, "/reason"));
    return {
      phase: "cancelled",
      slot: current.slot,
      claims: [],
      patient: patientKey(attributes),
      doctor: text(attributes, "/doctor"),
      hospital: text(attributes, "/hospital"),
      attributes,
      events: [],
    };
  },

  present(appointments) {
    return appointments.map((appointment) => appointment.attributes);
  },
};

// Returns the violations of every rule that a start breaks, in the order of the form.
function against(context, clock, start) {
  const broken = [];
  const day = dayText(start);
  const holiday = HOLIDAYS[day.slice(5)];
  if (holiday) {
    broken.push(violation("/date", "date.holiday", { holiday }));
  }
  const { year, month, day: today } = clock.now;
  const latest = dayText(Date.UTC(year, month - 1, today + HORIZON_DAYS) / 1000);
  if (day > latest) {
    broken.push(violation("/date", "date.too-far", { latest }));
  }
  const minutes = Math.floor(start / 60);
  broken.push(...offGrid(minutes % 60));
  const hours = WEEK[new Date(start * 1000).getUTCDay()];
  const [opens, closes] = (hours ?? ["24:00", "00:00"]).map((time) => time.slice(0, 2) * 60 + Number(time.slice(3)));
  if (minutes % 1440 < opens || (minutes % 1440) + MINUTES > closes) {
    const [weekdays, saturday] = [WEEKDAY, SATURDAY].map((hours) => hours.join("–"));
    broken.push(violation("/time", "time.closed", { weekdays, saturday }));
  }
  const earliest = Number(context.now) + LEAD_MINUTES * 60;
  const begins = instantOf(clock, start);
  if (begins < earliest) {
    const local = earliest + 59 + (start - begins);
    broken.push(violation("/time", "time.too-soon", { earliest: minuteText(local, " ") }));
  }
  return broken;
}

function offGrid(minute) {
  return minute % MINUTES === 0 ? [] : [violation("/time", "time.off-grid", { every: MINUTES })];
}

// Returns the key by which the patient's appointments are found.
function patientKey(fields) {
  return `id:${text(fields, "/patient")}`;
}

function violation(path, what, params = {}) {
  return { path, code: `{{code}}.${what}`, params: Object.entries(params).map(([name, value]) => [name, String(value)]) };
}
