

# The interfaces that a country may leave out.
from wit_world.exports import FactRules as Facts, PrivacyRules as Privacy, SlotRules as Slots
from wit_world.exports.privacy_rules import Demand
from wit_world.exports.slot_rules import Offer, Offered
from wit_world.imports.types import Choice, Claim, Query, Value_Text


class FactRules(Facts):
    def before_booking(self, context, request):
        phases = [Phase.BOOKED, Phase.NO_SHOW]
        return [Query("live", Party.PATIENT, patient_key(request), phases, since=context.now, until=None, at_most=2)]

    def before_action(self, context, current, action, input):
        return []


class SlotRules(Slots):
    def openings(self, context, place, since, until):
        return []

    def offers(self, context, place, current, openings):
        rooms = [Choice([Claim(f"room/{number}", 2, False)], []) for number in (1, 2)]
        request = [Field("/doctor", Value_Text(place.doctor))]
        offers = [Offer(index, opening.slot, [], rooms, request) for index, opening in enumerate(openings)]
        return Offered(offers, None) if len(offers) > 1 else Offered([], violation("/date", "date.too-far", latest=""))


class PrivacyRules(Privacy):
    def due(self, context, demand, received):
        return received + (10 if demand == Demand.ERASURE else 20) * 86400
