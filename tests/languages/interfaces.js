
// The interfaces that a country may leave out.
export const factRules = {
  beforeBooking(context, request) {
    return [{ name: "live", of: "patient", key: patientKey(request), phases: ["booked", "no-show"], since: context.now, until: undefined, atMost: 2 }];
  },
  beforeAction() {
    return [];
  },
};

export const slotRules = {
  openings() {
    return [];
  },
  offers(context, place, current, openings) {
    const room = (number) => ({ claims: [{ key: `room/${number}`, places: 2, personal: false }], attributes: [] });
    const request = [{ path: "/doctor", value: { tag: "text", val: place.doctor } }];
    const offers = openings.map(({ slot }, opening) => ({ opening, slot, claims: [], choices: [room(1), room(2)], request }));
    return offers.length > 1 ? { offers, reason: undefined } : { offers: [], reason: violation("/date", "date.too-far", { latest: "" }) };
  },
};

export const privacyRules = {
  due(context, demand, received) {
    return received + (demand === "erasure" ? 10 : 20) * 86400;
  },
};
