// A booking that ends in the mistake that its hospital names. Each stands on one line, with the words that tell it.

import { appointmentRules as sound } from "./sound.js";

const MISTAKES = {
  "THROWN-ERROR": () => { throw new Error("the register is closed"); }, // @ Error: the register is closed
  "THROWN-TEXT": () => { throw "no"; }, // throws "no"; expected a list of violations
  "THROWN-OBJECT": () => { throw { path: "/date", code: "uy.x", params: [], conflict: false }; }, // throws an object; expected a list of violations
  "THROWN-NOTHING": () => { throw []; }, // throws an empty list; a refusal has at least one violation
  "THROWN-WITHOUT-CODE": () => { throw [{ path: "/date", params: [] }]; }, // throws `violations[0].code`: it is missing; expected a text
  "THROWN-SANS-PARAMS": () => { throw [{ path: "/date", code: "uy.x" }]; }, // throws `violations[0].params`: it is missing; expected a list
  "THROWN-SANS-CONFLICT": () => { throw [{ path: "/date", code: "uy.x", params: [] }]; }, // throws `violations[0].conflict`: it is missing; expected true or false
  "THROWN-REFUSAL": () => { throw { tag: "fault", val: "no" }; }, // throws an object; expected a list of violations
  "THROWN-PARAM-NUMBER": () => { throw [{ path: "/date", code: "uy.x", params: [["hours", 24]] }]; }, // throws `violations[0].params[0][1]`: 24; expected a text
  "THROWN-PARAMS-OBJECT": () => { throw [{ path: "/date", code: "uy.x", params: { hours: "24" } }]; }, // throws `violations[0].params`: an object; expected a list
  "WRONG-WORD": (plan) => ({ ...plan, phase: "reserved" }), // returns `plan.phase`: "reserved"; expected one of requested, waitlisted, pending
  "WRONG-CASE": (plan) => ({ ...plan, phase: "noShow" }), // returns `plan.phase`: "noShow"; expected one of requested, waitlisted, pending
  "WRONG-TAG": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "string", val: "x" } }] }), // returns `plan.attributes[0].value.tag`: "string"; expected { tag, val } with a tag of text
  "BARE-VALUE": (plan) => ({ ...plan, attributes: [{ path: "/a", value: "x" }] }), // returns `plan.attributes[0].value`: "x"; expected { tag, val } with a tag of text
  "MISSING": ({ claims, ...plan }) => plan, // returns `plan.claims`: it is missing; expected a list
  "MISSPELT": ({ attributes, ...plan }) => ({ ...plan, atributes: attributes }), // returns `plan.attributes`: it is missing; expected a list of fields
  "MISSPELT-OPTION": ({ wake, ...plan }) => ({ ...plan, wakes: wake }), // returns `plan.wakes`: the contract has no such member; expected an object with phase
  "SNAKE-OPTION": ({ doctor, ...plan }) => ({ ...plan, doctor_key: doctor }), // returns `plan.doctor_key`: the contract has no such member; expected an object with phase
  "MISSING-DEEP": (plan) => ({ ...plan, slot: { ...plan.slot, zone: undefined } }), // returns `plan.slot.zone`: it is missing; expected a text
  "SLOT-TEXT": (plan) => ({ ...plan, slot: "2026-12-01T09:30" }), // returns `plan.slot`: "2026-12-01T09:30"; expected an object with start, minutes, zone
  "NUMBER-AS-TEXT": (plan) => ({ ...plan, slot: { ...plan.slot, minutes: "30" } }), // returns `plan.slot.minutes`: "30"; expected a whole number from 0 to 65535
  "FRACTION": (plan) => ({ ...plan, slot: { ...plan.slot, minutes: 7.5 } }), // returns `plan.slot.minutes`: 7.5; expected a whole number from 0 to 65535
  "TOO-LARGE": (plan) => ({ ...plan, slot: { ...plan.slot, minutes: 65536 } }), // returns `plan.slot.minutes`: 65536; expected a whole number from 0 to 65535
  "NEGATIVE": (plan) => ({ ...plan, slot: { ...plan.slot, minutes: -30 } }), // returns `plan.slot.minutes`: -30; expected a whole number from 0 to 65535
  "NOT-A-NUMBER": (plan) => ({ ...plan, slot: { ...plan.slot, minutes: NaN } }), // returns `plan.slot.minutes`: NaN; expected a whole number from 0 to 65535
  "BIGINT": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "integer", val: 5n } }] }), // returns `plan.attributes[0].value.val`: 5n, a BigInt; expected a whole number
  "INEXACT": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "integer", val: 2 ** 53 } }] }), // returns `plan.attributes[0].value.val`: 9007199254740992; expected a whole number
  "INTEGER-FRACTION": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "integer", val: 0.5 } }] }), // returns `plan.attributes[0].value.val`: 0.5; expected a whole number
  "DECIMAL-NUMBER": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "decimal", val: 0.5 } }] }), // returns `plan.attributes[0].value.val`: 0.5; expected a text
  "FLAG-TEXT": (plan) => ({ ...plan, attributes: [{ path: "/a", value: { tag: "flag", val: "yes" } }] }), // returns `plan.attributes[0].value.val`: "yes"; expected true or false
  "TEXT-NUMBER": (plan) => ({ ...plan, patient: 12345678 }), // returns `plan.patient`: 12345678; expected a text
  "TEXT-NULL": (plan) => ({ ...plan, patient: null }), // returns `plan.patient`: null; expected a text
  "TEXT-FOR-LIST": (plan) => ({ ...plan, events: "booked" }), // returns `plan.events`: "booked"; expected a list
  "HOLE": (plan) => ({ ...plan, claims: [...plan.claims, undefined] }), // returns `plan.claims[2]`: it is missing; expected an object with key, places, personal
  "CLAIM-TEXT": (plan) => ({ ...plan, claims: ["doctor/1"] }), // returns `plan.claims[0]`: "doctor/1"; expected an object with key, places, personal
  "NO-PLACES": (plan) => ({ ...plan, claims: [{ key: "doctor/1", personal: false }] }), // returns `plan.claims[0].places`: it is missing; expected a whole number from 0 to 65535
  "WAKE-TEXT": (plan) => ({ ...plan, wake: { at: "2026-11-30", action: "remind" } }), // returns `plan.wake.at`: "2026-11-30"; expected a whole number
  "SET": (plan) => ({ ...plan, claims: new Set(plan.claims) }), // returns `plan.claims`: an object; expected a list
  "LIST-FOR-RECORD": (plan) => [plan], // returns a list of 1; expected an object with phase
  "SURROGATE": (plan) => ({ ...plan, patient: "\ud800" }), // returns `plan.patient`: "\ud800"; expected a text
  "NO-RETURN": () => {}, // returns nothing; expected an object with phase
  "NULL": () => null, // returns null; expected an object with phase
  "ASYNC": async (plan) => plan, // returns a promise (rules wait for nothing: the function must not be async); expected an object with phase
  "CONSOLE": (plan) => { console.log("here"); return plan; }, // @ ReferenceError: console is not defined (Node.js has it; a component has not)
  "DATE-NOW": (plan) => ({ ...plan, patient: `id:${Date.now()}` }), // @ Error: a component has no clock; `context.now` has the time
  "NEW-DATE": (plan) => ({ ...plan, patient: new Date().toISOString() }), // @ Error: a component has no clock; `context.now` has the time
  "UNDEFINED-FUNCTION": () => nowhere(), // @ ReferenceError: nowhere is not defined
  "NULL-MEMBER": (plan) => plan.nothing.at, // @ TypeError: cannot read property 'at' of undefined
  "NO-FUNCTION": (plan) => plan.claims.contains("x"), // @ TypeError: not a function
  "INVALID-DATE": () => new Date("x").toISOString(), // @ RangeError: Date value is NaN
  "FETCH": () => fetch("http://127.0.0.1"), // @ ReferenceError: fetch is not defined (Node.js has it; a component has not)
  "PROCESS": () => process.env.HOME, // @ ReferenceError: process is not defined (Node.js has it; a component has not)
  "TIMER": () => setTimeout(() => {}, 1), // @ ReferenceError: setTimeout is not defined (Node.js has it; a component has not)
  "INTL": () => new Intl.DateTimeFormat("es"), // @ ReferenceError: Intl is not defined (Node.js has it; a component has not)
  "JSON": () => JSON.parse("{"), // @ SyntaxError: Expected property name
  "RECURSION": function again(plan) { return again(plan); }, // @ RangeError: Maximum call stack size exceeded
  "HUGE": (plan) => ({ ...plan, claims: new Array(2 ** 32 - 1).fill("x") }), // the call used up its budget of fuel
  "LOOP": () => { for (;;); }, // the call used up its budget of fuel
};

export const appointmentRules = {
  ...sound,
  book(context, request) {
    const plan = sound.book(context, request);
    const mistake = MISTAKES[request.find(({ path }) => path === "/hospital").value.val];
    return mistake ? mistake(plan) : plan;
  },
  "act": (context, current, action, input) => input[0].value.val + current.slot.start.at.hour, // @ cannot read property 'hour' of undefined
};

export const slotRules = {
  openings: () => [],
  "offers": (context, place, current, openings) => openings.length ? openings.map(({ slot }) => place.doctor + slot.start.at.hour) : { offers: [] }, // @ cannot read property 'hour' of undefined
};

export const noticeRules = {
  "notices": (event, current) => (event === "reminder" ? [{ to: event, text: current.phase }] : []), // returns `answer[0].locale`: it is missing; expected a text
};
