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
    """A member's tier now; `known`: the rules put her there; `is_over`: its protection has ended; `merit`: how many
    levels her value reaches (0: none, 1: the lowest …).
    """

    tier: str
    known: bool
    is_over: bool
    merit: int


@dataclass(frozen=True)
class Verdict:
    """`step`: stay, up, down, renew (the same tier, protected anew), note (given by hand: protected from now on)."""

    step: str
    tier: str


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


def waits(standing: Standing, levels: Sequence[Level]) -> str | None:
    """The tier she falls to when her protection ends, if nothing changes; None: she does not fall."""
    verdict = judge(Standing(standing.tier, True, True, standing.merit), levels)
    is_hers = any(level.name == standing.tier for level in levels)
    return verdict.tier if verdict.step == DOWN and is_hers else None
