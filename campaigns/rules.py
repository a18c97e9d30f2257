"""Which channel carries a message, what may be written on it, when a message is too late. Pure functions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

CUSTOM, SUBSCRIBE, TEMPLATE, MASS, WORK_MASS = "custom", "subscribe", "template", "mass", "work_mass"
AUTO = "auto"
CHANNELS = (CUSTOM, SUBSCRIBE, TEMPLATE, MASS, WORK_MASS)
# Most personal first; the monthly mass quota (4 a follower) and the guide's confirmation come last.
LADDER = (CUSTOM, SUBSCRIBE, MASS, WORK_MASS)

TEXT, LINK, TEMPLATE_MESSAGE = "text", "link", "template"
MARKETING, SERVICE = "marketing", "service"

# What one body can hold on each channel: mass and enterprise messages are one text for all receivers.
GROUPED = (MASS, WORK_MASS)
CARRIES = {
    CUSTOM: (TEXT, LINK),
    MASS: (TEXT, LINK),
    WORK_MASS: (TEXT, LINK),
    SUBSCRIBE: (TEMPLATE_MESSAGE,),
    TEMPLATE: (TEMPLATE_MESSAGE,),
}

# Bytes, as the platforms count them: the narrowest of custom messages and WeCom attachments.
TEXT_BYTES = 2048
TITLE_BYTES = 128
DESCRIPTION_BYTES = 512
URL_BYTES = 2048

CHUNK = 1_000
# So many messages may wait in the outbox; more are released as they leave, so that a pause stops the rest.
BACKLOG = 10_000
WINBACK_TRIES = 6
WINBACK_PAUSE = timedelta(hours=12)
ATTRIBUTION = timedelta(days=3)


@dataclass(frozen=True)
class Reach:
    """How one member can be reached at this moment. An empty address means: not there."""

    openid: str = ""
    external_userid: str = ""
    window_open: bool = False
    subscription_left: int = 0
    mass_left: int = 0


@dataclass(frozen=True)
class Choice:
    """A channel and the address on it, or the reason why there is none."""

    channel: str = ""
    to: str = ""
    reason: str = ""


def rungs(channel: str, *, has_template: bool, kind: str, ladder: Sequence[str] = LADDER) -> tuple[str, ...]:
    """The channels that may be tried, in order: a fixed one alone, or those of the ladder that can carry it.

    `has_template`: a subscription template stands beside the text or link, for the subscription rung.
    """
    wanted = tuple(ladder) if channel == AUTO else (channel,)
    held = {kind, TEMPLATE_MESSAGE} if has_template else {kind}
    return tuple(rung for rung in wanted if held & set(CARRIES.get(rung, ())))


def choose_channel(rungs: Sequence[str], reach: Reach) -> Choice:
    """The first rung on which the platform lets this member be reached now."""
    reason = "no_channel"
    for rung in rungs:
        if rung == CUSTOM:
            if reach.openid and reach.window_open:
                return Choice(CUSTOM, reach.openid)
            reason = "window_closed"
        elif rung == SUBSCRIBE:
            if reach.openid and reach.subscription_left > 0:
                return Choice(SUBSCRIBE, reach.openid)
            reason = "no_subscription"
        elif rung == TEMPLATE:
            if reach.openid:
                return Choice(TEMPLATE, reach.openid)
        elif rung == MASS:
            if reach.openid and reach.mass_left > 0:
                return Choice(MASS, reach.openid)
            reason = "mass_quota_used"
        elif rung == WORK_MASS:
            if reach.external_userid:
                return Choice(WORK_MASS, reach.external_userid)
            if len(rungs) == 1:
                reason = "not_a_contact"
    if not reach.openid and not reach.external_userid:
        reason = "no_channel"
    return Choice(reason=reason)


def without_lone_mass(
    going: dict[int, Choice], rungs: Sequence[str], reaches: Mapping[int, Reach]
) -> dict[int, Choice]:
    """The platform refuses a mass message with one receiver (40032): she gets the next rung, or a reason."""
    alone = [member_id for member_id, choice in going.items() if choice.channel == MASS]
    if len(alone) != 1:
        return going
    [member_id] = alone
    other = choose_channel([rung for rung in rungs if rung != MASS], reaches[member_id])
    return {**going, member_id: other if other.channel else Choice(reason="mass_needs_two")}


def content_faults(
    *,
    kind: str,
    channel: str,
    purpose: str,
    text: str,
    title: str,
    description: str,
    url: str,
    template_id: str,
    has_fields: bool,
) -> dict[str, str]:
    """What is wrong with a message, field → code; empty when it can be sent."""
    faults: dict[str, str] = {}
    if channel != AUTO and kind not in CARRIES[channel]:
        faults["channel"] = "channel_cannot_carry"
    if channel == TEMPLATE and purpose == MARKETING:
        # Service notices only: marketing in them costs the template, then the account.
        faults["channel"] = "template_is_service_only"
    if kind == TEXT:
        if not text.strip():
            faults["text"] = "empty"
        elif len(text.encode()) > TEXT_BYTES:
            faults["text"] = "too_long"
        if "{{url}}" in text and not url:
            faults["url"] = "empty"
    elif kind == LINK:
        if not title.strip():
            faults["title"] = "empty"
        elif len(title.encode()) > TITLE_BYTES:
            faults["title"] = "too_long"
        if len(description.encode()) > DESCRIPTION_BYTES:
            faults["description"] = "too_long"
        if not url:
            faults["url"] = "empty"
    elif kind == TEMPLATE_MESSAGE:
        if not template_id:
            faults["template_id"] = "empty"
        if not has_fields:
            faults["template_fields"] = "empty"
    if len(url.encode()) > URL_BYTES:
        faults["url"] = "too_long"
    return faults


def too_late(*, begins_at: datetime, patience_hours: int, at: datetime) -> bool:
    """A notice read after the sale ended is worth nothing: what could not go by then is skipped."""
    return at > begins_at + timedelta(hours=patience_hours)


def next_try(at: datetime, *, until: datetime | None, tries: int) -> datetime | None:
    """When a win-back that may not go now is tried again; None when the spell has had its tries."""
    if tries >= WINBACK_TRIES:
        return None
    return max(until, at) if until else at + WINBACK_PAUSE


def percent(part: int, whole: int) -> int:
    """0 to 100, 100 only when all of it is there."""
    if whole <= 0:
        return 100
    return 100 if part >= whole else min(99, part * 100 // whole)
