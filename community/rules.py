"""What changed in a group between two reads of it, and when a failed read is repeated. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

# A notice comes before the platform's own data has settled; several notices in this time cost one read.
SETTLE = timedelta(seconds=2)
LEASE = timedelta(minutes=1)
FIRST_PAUSE = timedelta(seconds=10)
MAX_ATTEMPTS = 8


@dataclass(frozen=True)
class Presence:
    """Somebody who is in the group now, as the platform tells."""

    platform_id: str
    joined_at: datetime


@dataclass
class Difference:
    arrived: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    came_back: list[str] = field(default_factory=list)  # left and joined again between two reads


def difference(known: Mapping[str, datetime], present: Iterable[Presence]) -> Difference:
    """Compare open stays (platform id → joined at) with who is there now."""
    now_there = {person.platform_id: person.joined_at for person in present}
    found = Difference(left=[person for person in known if person not in now_there])
    for person, joined_at in now_there.items():
        if person not in known:
            found.arrived.append(person)
        elif joined_at > known[person]:
            found.came_back.append(person)
    return found


def pause_after(attempts: int) -> timedelta | None:
    """10 s, 20 s … between failed reads; None when an operator has to look."""
    return None if attempts >= MAX_ATTEMPTS else FIRST_PAUSE * 2 ** (attempts - 1)
