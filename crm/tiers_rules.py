"""Pure rules of tiers: which one a value reaches, and whether a member moves. No Django, no clock, no database."""

from collections.abc import Sequence
from dataclasses import dataclass

STAY, UP, DOWN, RENEW, NOTE = "stay", "up", "down", "renew", "note"
MOVES = (UP, DOWN)


@dataclass(frozen=True)
class Level:
    """`threshold` in the policy's unit; levels are sorted by it."""

    name: str
    threshold: int


@dataclass(frozen=True)
class Standing:
    """The tier that a member earned; `known`: the rules put her there; `is_over`: its protection has ended; `merit`:
    how many levels her value reaches (0: none, 1: the lowest …). `worn`: the tier that she carries (None: the earned
    one); `paid`: how many levels a paid membership reaches now; `noted`: the tier that one gave her when last seen.
    """

    tier: str
    known: bool
    is_over: bool
    merit: int
    worn: str | None = None
    paid: int = 0
    noted: str = ""


@dataclass(frozen=True)
class Verdict:
    """`step`: stay, up, down, renew (the same tier, protected anew), note (given by hand: protected from now on)."""

    step: str
    tier: str


@dataclass(frozen=True)
class Outcome:
    """What becomes of her: `earned` by value, `paid` by membership ("": none), and `worn`, the higher of both."""

    step: str
    earned: str
    paid: str
    worn: str
    changes: bool


def outcome(standing: Standing, levels: Sequence[Level]) -> Outcome:
    """The verdict by her value, with a paid membership on top: it lifts her while it lasts and protects nothing after.

    A tier of another scheme, given by hand, is left alone, paid or not. Without a membership: `judge`.
    """
    verdict, names = judge(standing, levels), [level.name for level in levels]
    paid = names[standing.paid - 1] if standing.paid else ""
    rank = names.index(verdict.tier) + 1 if verdict.tier in names else 0
    is_foreign = bool(verdict.tier) and not rank
    worn = paid if standing.paid > rank and not is_foreign else verdict.tier
    before = standing.tier if standing.worn is None else standing.worn
    changes = verdict.step != STAY or worn != before or (paid != standing.noted and not is_foreign)
    return Outcome(verdict.step, verdict.tier, "" if is_foreign else paid, worn, changes)


def judge(standing: Standing, levels: Sequence[Level]) -> Verdict:
    """Up at once; down only when the protection is over; a tier of another scheme is left alone."""
    names = [level.name for level in levels]
    deserved = names[standing.merit - 1] if standing.merit else ""
    if not standing.tier:
        rank = 0
    elif standing.tier in names:
        rank = names.index(standing.tier) + 1
    elif standing.known:
        return Verdict(UP if deserved else DOWN, deserved)  # her level was abolished
    else:
        return Verdict(STAY, standing.tier)
    if standing.merit > rank:
        return Verdict(UP, deserved)
    if rank and not standing.known:
        return Verdict(NOTE, standing.tier)
    if standing.merit < rank:
        return Verdict(DOWN, deserved) if standing.is_over else Verdict(STAY, standing.tier)
    return Verdict(RENEW, standing.tier) if rank and standing.is_over else Verdict(STAY, standing.tier)


@dataclass(frozen=True)
class Fall:
    """What she falls to when nothing keeps her any more; `paid`: her membership has to end for it, not only her
    protection.
    """

    tier: str
    paid: bool


def waits(standing: Standing, levels: Sequence[Level]) -> Fall | None:
    """Where she ends when her protection and her paid membership are over, if nothing else changes; None: she does not
    fall. A tier of another scheme stays.
    """
    names = [level.name for level in levels]
    if standing.tier and standing.tier not in names:
        return None
    tier = judge(Standing(standing.tier, True, True, standing.merit), levels).tier
    if tier == outcome(standing, levels).worn:
        return None
    return Fall(tier, paid=standing.paid > (names.index(tier) + 1 if tier else 0))
