"""What becomes of a tag that a platform and we both keep, when a reading shows it there or not, and what it is called.

No Django, no clock.
"""

from dataclasses import dataclass
from datetime import datetime

OURS, THEIRS = "ours", "theirs"


@dataclass(frozen=True)
class Known:
    """A mark: what we want there, what we last knew of it, when we changed it and when both last agreed."""

    wanted: bool
    known: bool | None
    changed_at: datetime
    seen_at: datetime | None


@dataclass(frozen=True)
class Verdict:
    """What the mark shall say. `follows`: theirs stands, so the member gets or loses the tag here as it is there;
    `conflict` names the winner when both sides had changed it.
    """

    wanted: bool
    known: bool
    at: datetime
    follows: bool = False
    conflict: str = ""

    @property
    def is_due(self) -> bool:
        return self.wanted != self.known


def judge(
    mark: Known | None, *, theirs: bool, here: bool, began_at: datetime, edited_at: datetime | None = None
) -> Verdict | None:
    """A reading that began at `began_at` shows it (`theirs`), the member carries it (`here`); None: nothing to do.

    The last writer wins. `edited_at` is when they changed it, where the platform tells; of a change whose moment
    nobody knows, ours stands.
    """
    if mark is None:  # the first meeting: who has it gives it to the other
        return Verdict(True, theirs, began_at, follows=theirs) if theirs or here else None
    if mark.changed_at > began_at or (mark.seen_at is not None and mark.seen_at > began_at):
        return None  # asked, or told to the platform, after this reading began: it shows what was before
    if theirs == mark.wanted:
        return Verdict(theirs, theirs, began_at)
    if theirs == mark.known:
        return None  # only we changed it: the call is on its way
    if mark.seen_at is not None and mark.changed_at <= mark.seen_at:
        return Verdict(theirs, theirs, began_at, follows=True)  # only they changed it
    if edited_at is not None and mark.seen_at is not None and edited_at <= mark.seen_at:
        edited_at = None
    if mark.known is None and (not theirs or edited_at is None):
        return Verdict(
            mark.wanted, theirs, mark.changed_at
        )  # it was never there, so nobody there took it off
    if edited_at is not None and edited_at > mark.changed_at:
        return Verdict(theirs, theirs, began_at, follows=True, conflict=THEIRS)
    return Verdict(mark.wanted, theirs, mark.changed_at, conflict=OURS)


@dataclass(frozen=True)
class Names:
    """`was`: as both sides called it last ("": nobody knows). The moments: who renamed it when, where it is known."""

    was: str
    ours: str
    theirs: str
    ours_at: datetime | None
    theirs_at: datetime | None


def later_name(names: Names) -> str:
    """Whose name stands, "" when both call it the same. Of two renamings the later one; ours where no moment is known.

    What was never agreed on (it was shared before names were kept) is called as it is called there.
    """
    if names.ours == names.theirs:
        return ""
    if not names.was or names.ours == names.was:
        return THEIRS
    if names.theirs == names.was:
        return OURS
    if names.theirs_at is not None and (names.ours_at is None or names.theirs_at > names.ours_at):
        return THEIRS
    return OURS
