// Reads the host's input: the leaves of a document, and the clock of a zone. A local time is in seconds, as the Unix
// time that it would be if the zone were UTC. An instant is a Unix time in seconds.

// Returns the text at a JSON Pointer; undefined if there is none.
export function text(fields, path) {
  return fields.find((field) => field.path === path && field.value.tag === "text")?.value.val;
}

// Returns the same leaves with this text at this path.
export function withText(fields, path, val) {
  return [...fields.filter((field) => field.path !== path), { path, value: { tag: "text", val } }];
}

// Returns the clock of one of the zones of `describe`.
export function clockOf(context, zone) {
  return context.clocks.find((clock) => clock.zone === zone);
}

// Returns the local time of a date and a time (`2026-12-01`, `09:30`); undefined if the calendar has no such day.
export function localSeconds(date, time) {
  const at = new Date(`${date}T${time}:00Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(date) ? at.getTime() / 1000 : undefined;
}

// Returns the instant of a local time, the earlier one if there are two. The host refuses a time that the clocks skip.
export function instantOf({ shifts }, local) {
  let skipped = local;
  for (const [index, shift] of shifts.entries()) {
    const instant = local - shift.offsetMinutes * 60;
    const ended = index + 1 < shifts.length && instant >= shifts[index + 1].at;
    if (!ended && (index === 0 || instant >= shift.at)) {
      return instant;
    }
    skipped = ended ? instant : skipped;
  }
  return skipped;
}

// Converts a local time to the contract's date and time.
export function civil(local) {
  const at = new Date(local * 1000);
  const [hour, minute] = [at.getUTCHours(), at.getUTCMinutes()];
  return { year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, day: at.getUTCDate(), hour, minute };
}

// Formats a date: `2026-12-01`.
export function dayText(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

// Formats a date and a time with a text between them: `2026-12-01`, `between`, `09:30`.
export function minuteText(seconds, between) {
  return `${dayText(seconds)}${between}${new Date(seconds * 1000).toISOString().slice(11, 16)}`;
}

// Returns one claim for each cell of `grid` minutes, in UTC, that the appointment touches. Two that overlap always
// share one.
export function claims(holder, instant, minutes, grid, { places = 1, personal = false } = {}) {
  const [cell, cells] = [grid * 60, []];
  for (let at = Math.floor(instant / cell) * cell; at < instant + minutes * 60; at += cell) {
    cells.push({ key: `${holder}/${minuteText(at, "T")}Z`, places, personal });
  }
  return cells;
}
