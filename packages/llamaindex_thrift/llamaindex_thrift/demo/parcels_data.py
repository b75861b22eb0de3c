"""A carrier's records, made up from a parcel's number alone: the same parcel always has the same history."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

_STREETS = ("Harbour Street", "Mill Lane", "Station Road", "Orchard Close", "Kiln Yard")
_TOWNS = ("Norwick", "Easthaven", "Stowbridge", "Marlow Green")
_EVENTS = ("sorted", "loaded", "out for delivery", "held at customs", "returned to depot", "address checked")
_PLACES = ("behind the", "under the", "beside the", "on top of the")
_THINGS = ("blue water barrel", "old garden bench", "stacked firewood", "broken greenhouse", "tall recycling bin")
_CORNERS = ("near the back gate", "at the side door", "by the covered porch", "next to the cellar steps")


@dataclass(frozen=True, slots=True)
class Parcel:
    """What the carrier knows of one parcel.

    Attributes:
        id: its number, such as `PX-1004`.
        depot: the depot that handles it.
        is_overdue: whether a claim may be opened.
        spot: where the driver left it, in words.
        claim: the claim's number once one is opened.
    """

    id: str
    depot: str
    is_overdue: bool
    spot: str
    claim: str

    def record(self) -> str:
        """Return the carrier's record as JSON."""
        random = _random(self.id)
        record: dict[str, Any] = {
            "parcel_id": self.id,
            "service": random.choice(("standard", "express")),
            "status": "overdue" if self.is_overdue else "delivered",
            "depot_id": self.depot,
            "sender": {"name": "Tern & Daughters Ltd", "account": "AC-20417", "is_contract": True},
            "recipient": {
                "street": f"{random.randint(1, 99)} {random.choice(_STREETS)}",
                "town": random.choice(_TOWNS),
                "instructions": None,
            },
            "measures": {"weight_kg": random.randint(1, 300) / 10, "length_cm": 60, "width_cm": 40, "height_cm": 30},
            "charges": [
                {"kind": kind, "currency": "EUR", "net": random.randint(100, 900) / 100, "is_refundable": False}
                for kind in ("carriage", "fuel", "insurance")
            ],
        }
        return json.dumps(record)

    def scans(self) -> str:
        """Return the log of its scans."""
        random = _random(f"{self.id} scans")
        lines = [
            f"2026-10-{day:02d} {random.randint(0, 23):02d}:{random.randint(0, 59):02d} {self.depot} "
            f"belt {random.randint(1, 9)} {random.choice(_EVENTS)}"
            for day in range(1, 25)
        ]
        return "\n".join(lines)

    def notes(self) -> str:
        """Return the driver's diary of the round, in which the parcel is mentioned once."""
        random = _random(f"{self.id} notes")
        diary = [
            f"Stop {stop}: rang twice, waited, went on; {random.choice(('rain', 'wind', 'sun', 'fog'))} all the while."
            for stop in range(1, 30)
        ]
        diary.insert(random.randint(5, 25), f"This one was left {self.spot}, as nobody came to the door.")
        return "\n".join(diary)


def parcel(id_: str) -> Parcel:
    """Return the parcel of a number."""
    random = _random(f"{id_} parcel")
    return Parcel(
        id=id_,
        depot=f"DP-{random.randint(100, 999)}",
        is_overdue=random.random() < 0.5,
        spot=f"{random.choice(_PLACES)} {random.choice(_THINGS)} {random.choice(_CORNERS)}",
        claim=f"CL-{random.randint(10000, 99999)}",
    )


def depot(id_: str) -> str:
    """Return a depot's record as JSON."""
    random = _random(f"{id_} depot")
    hours = dict.fromkeys(("monday", "tuesday", "wednesday", "thursday", "friday"), "07:00-19:00")
    return json.dumps(
        {
            "depot_id": id_,
            "address": f"{random.randint(1, 99)} {random.choice(_STREETS)}, {random.choice(_TOWNS)}",
            "hours": hours,
            "takes_claims": True,
            "bays": random.randint(4, 40),
        }
    )


def _random(seed: str) -> Random:
    return Random(seed)  # noqa: S311 - made-up records, no secrets
