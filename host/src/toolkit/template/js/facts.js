// Reads what the host gives: the leaves of a document, and a zone's clock. Times on the wall are the seconds that would be
// the instant if the zone were UTC; instants are Unix seconds.

// The text at a JSON Pointer; undefined where there is none.
export function text(fields, path) {
  return fields.find((field) => field.path === path && field.value.tag === "text")?.value.val;
}

// The same leaves with this text at that place.
export function withText(fields, path, val) {
  return [...fields.filter((field) => field.path !== path), { path, value: { tag: "text", val } }];
}

// The clock of one of the zones of `describe`.
export function clockOf(context, zone) {
  return context.clocks.find((clock) => clock.zone === zone);
}

// `2026-12-01` and `09:30` on the wall; undefined where the calendar has no such day.
export function localSeconds(date, time) {
  const at = new Date(`${date}T${time}:00Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(date) ? at.getTime() / 1000 : undefined;
}

// When a zone's clocks show that: of two instants the earlier. A time that the clocks skip is the host's to refuse.
export function instantOf({ shifts }, local) {
  let skipped = local;
  for (const [index, shift] of shifts.entries()) {
    const instant = local - shift.offsetMinutes * 60;
    const ended = index + 1 < shifts.length && instant >= Number(shifts[index + 1].at);
    if (!ended && (index === 0 || instant >= Number(shift.at))) {
      return instant;
    }
    skipped = ended ? instant : skipped;
  }
  return skipped;
}

// From what the contract has, and to it.
export function secondsOf({ year, month, day, hour, minute }) {
  return Date.UTC(year, month - 1, day, hour, minute) / 1000;
}

export function civil(local) {
  const at = new Date(local * 1000);
  const [hour, minute] = [at.getUTCHours(), at.getUTCMinutes()];
  return { year: at.getUTCFullYear(), month: at.getUTCMonth() + 1, day: at.getUTCDate(), hour, minute };
}

// `2026-12-01`
export function dayText(seconds) {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

// `2026-12-01`, what stands between, `09:30`
export function minuteText(seconds, between) {
  return `${dayText(seconds)}${between}${new Date(seconds * 1000).toISOString().slice(11, 16)}`;
}

// One claim for each cell of `grid` minutes, in UTC, that the stretch touches: two that overlap always share one.
export function claims(holder, instant, minutes, grid) {
  const [cell, cells] = [grid * 60, []];
  for (let at = Math.floor(instant / cell) * cell; at < instant + minutes * 60; at += cell) {
    cells.push(`${holder}/${minuteText(at, "T")}Z`);
  }
  return cells;
}
