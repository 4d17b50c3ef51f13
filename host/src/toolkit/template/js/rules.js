// The rules of `{{code}}`: bookings, later actions, the view for clients, and mails. When a topic grows, give it a module
// of its own. docs/rules.md explains every term.
//
// Every fact arrives as an argument. There is no clock and no network, and Math.random returns the same numbers in
// every call.

import { version } from "../package.json";
import appointmentSchema from "./schema/appointment.json";
import cancelSchema from "./schema/cancel.json";
import emptySchema from "./schema/empty.json";
import requestSchema from "./schema/request.json";
import { civil, claims, clockOf, dayText, instantOf, localSeconds, minuteText, text, withText } from "./facts.js";

// IANA time zones, the most common one first.
const ZONES = ["{{zone}}"];

// Languages of the messages (BCP 47), the default first.
const LOCALES = ["en"];

// Number of hours before the start until which a patient may cancel.
const CANCEL_HOURS = 24;

// Number of hours before the start at which the patient is reminded.
const REMINDER_HOURS = 24;

// Length of an appointment in minutes. Appointments start on a multiple of it, counted from the full hour.
const MINUTES = 30;

// Number of patients in a group session: a booking without a doctor.
const GROUP_PLACES = 10;

const LEAD_MINUTES = 60;

const HORIZON_DAYS = 90;

// Opening hours by the day of the week, from Sunday on. An appointment may end at closing time.
const WEEKDAY = ["08:00", "18:00"];
const SATURDAY = ["09:00", "13:00"];
const WEEK = [undefined, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, WEEKDAY, SATURDAY];

// Public holidays by month and day, each with its law.
const HOLIDAYS = { "01-01": "New Year's Day" };

// Phases that hold their claims.
const LIVE = ["requested", "pending", "booked", "arrived"];

// Actions with their roles and phases. An action for the role `clock` alone is not part of the API.
const ACTIONS = {
  cancel: { roles: ["patient", "staff", "platform"], phases: LIVE, schema: cancelSchema },
  arrive: { roles: ["staff"], phases: ["booked"], schema: emptySchema },
  complete: { roles: ["staff"], phases: ["arrived"], schema: emptySchema },
  remind: { roles: ["clock"], phases: ["booked"], schema: emptySchema },
};

// The message for a taken claim, by the beginning of its key.
const TAKEN = [
  { prefix: "doctor/", path: "/time", code: "{{code}}.doctor.taken" },
  { prefix: "group/", path: "/time", code: "{{code}}.group.full" },
  { prefix: "patient/", path: "/time", code: "{{code}}.patient.taken" },
];

// Texts of each message code, one for each of LOCALES.
const WORDS = {
  "{{code}}.date.nonexistent": ["That date does not exist in the calendar."],
  "{{code}}.date.holiday": ["That day is a public holiday ({holiday}). Please choose another date."],
  "{{code}}.date.too-far": ["That date cannot be booked yet. Choose one no later than {latest}."],
  "{{code}}.time.off-grid": ["Appointments start every {every} minutes from the full hour."],
  "{{code}}.time.closed": ["Closed at that time. Monday to Friday: {weekdays}; Saturday: {saturday}."],
  "{{code}}.time.too-soon": ["That is too soon. The appointment can start from {earliest} on."],
  "{{code}}.doctor.taken": ["The doctor is not free at that time. Please choose another time."],
  "{{code}}.group.full": ["The group session is full. Please choose another time."],
  "{{code}}.patient.taken": ["The patient has another appointment at that time."],
  "{{code}}.cancel.too-late": ["You can cancel the appointment until {hours} hours before it."],
  "{{code}}.cancel.not-allowed-now": ["The appointment can no longer be cancelled (it is {phase})."],
  "{{code}}.arrive.not-allowed-now": ["Only a booked appointment can begin (this one is {phase})."],
  "{{code}}.complete.not-allowed-now": ["Only a patient who has arrived can be seen (the appointment is {phase})."],
  "{{code}}.remind.not-allowed-now": ["There is nothing to remind of (the appointment is {phase})."],
  "{{code}}.action.unknown": ["There is no action {action}."],
};

// The spellings of each key.
const [CODE, NUMBER] = [/^[0-9A-Z-]{1,20}$/, /^[0-9]{1,10}$/];
const KEYS = { patient: CODE, doctor: NUMBER, hospital: CODE };

// Texts of the mail about each event.
const SUBJECTS = {
  booked: "Your appointment is booked",
  cancelled: "Your appointment is cancelled",
  reminder: "Your appointment is tomorrow",
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
      actions: Object.entries(ACTIONS).map(([name, { roles, schema }]) => ({ name, roles, inputSchema: JSON.stringify(schema) })),
      messages: Object.entries(WORDS).flatMap(([code, texts]) =>
        texts.map((text, index) => ({ code, locale: LOCALES[index], text })),
      ),
      claims: TAKEN,
      keepDays: undefined,
      horizonDays: HORIZON_DAYS,
      adultAge: 18,
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
    const [slot, begins] = [{ start: civil(start), minutes: MINUTES, zone: clock.zone }, instantOf(clock, start)];
    return plan("booked", ["booked"], { slot, begins, attributes: request, wake: reminder(context, begins) });
  },

  act(context, current, action, input) {
    const { phases } = ACTIONS[action] ?? {};
    if (!phases) {
      throw [violation("", "action.unknown", { action })];
    }
    if (!phases.includes(current.phase)) {
      throw [{ ...violation("", `${action}.not-allowed-now`, { phase: current.phase }), conflict: true }];
    }
    const { slot, startsAt: begins, attributes } = current;
    const ended = { slot, begins, attributes };
    // The time was checked when it was booked.
    const kept = { ...ended, offAgenda: true };
    switch (action) {
      case "arrive":
        return plan("arrived", [], kept);
      case "complete":
        return plan("fulfilled", [], ended);
      case "remind":
        return plan("booked", ["reminder"], kept);
    }
    if (context.caller.role === "patient" && begins - context.now < CANCEL_HOURS * 3600) {
      throw [violation("", "cancel.too-late", { hours: CANCEL_HOURS })];
    }
    const explained = withText(attributes, "/cancellation/reason", text(input, "/reason"));
    return plan("cancelled", ["cancelled"], { ...ended, attributes: explained });
  },

  present(role, appointments) {
    return appointments.map((appointment) => appointment.attributes);
  },

  // Returns the key that a spelling means: `12345678` is the patient `id:12345678`.
  key(of, spelling) {
    const spelt = spelling.trim().toUpperCase();
    const bare = of === "patient" ? spelt.replace(/^ID:/, "") : spelt;
    const key = of === "patient" ? `id:${bare}` : bare;
    return KEYS[of].test(bare) ? key : undefined;
  },
};

export const noticeRules = {
  notices(event, { attributes }) {
    const subject = SUBJECTS[event];
    const [to, date, time, hospital] = ["/email", "/date", "/time", "/hospital"].map((path) => text(attributes, path));
    const words = `${subject}.\n\nDate: ${date}\nTime: ${time}\nPlace: ${hospital}\n`;
    return subject && to ? [{ to, locale: "en", subject, text: words, html: undefined, invite: event !== "reminder" }] : [];
  },
};

// Returns the plan of an appointment in a phase, with all that it holds there: a plan replaces the one before.
function plan(phase, events, { slot, begins, attributes, wake, offAgenda = false }) {
  const [doctor, hospital, patient] = [text(attributes, "/doctor"), text(attributes, "/hospital"), patientKey(attributes)];
  const where = doctor
    ? claims(`doctor/${doctor}`, begins, MINUTES, MINUTES)
    : claims(`group/${hospital}`, begins, MINUTES, MINUTES, { places: GROUP_PLACES });
  const whose = claims(`patient/${patient}`, begins, MINUTES, MINUTES, { personal: true });
  return {
    phase,
    slot,
    claims: LIVE.includes(phase) ? [...where, ...whose] : [],
    choices: [],
    patient,
    doctor,
    hospital,
    attributes,
    events,
    wake,
    offAgenda,
  };
}

// Returns the wake that reminds the patient; undefined if it is too late for it.
function reminder(context, begins) {
  const at = begins - REMINDER_HOURS * 3600;
  return at >= context.now + 60 ? { at, action: "remind" } : undefined;
}

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
  const earliest = context.now + LEAD_MINUTES * 60;
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
  const texts = Object.entries(params).map(([name, value]) => [name, String(value)]);
  return { path, code: `{{code}}.${what}`, params: texts, conflict: false };
}
