"""Keeping tag rules true: for one member when she did something, for everybody once a day."""

from collections.abc import Iterable

import structlog
from django.db import transaction
from django.db.models import Q

from core import clock
from core.errors import Refusal
from core.wakeups import wake
from crm import tagrules
from crm.models import Member, MemberTag, TagRule
from crm.services.tags import add_tags, remove_tags

log = structlog.get_logger(__name__)

AT_ONCE = 5_000
# What each kind of doing can change; a rule of time changes by the calendar alone, and by what ends the wait.
BY_PURCHASE = (TagRule.SPEND, TagRule.PURCHASE, TagRule.TIME)
BY_LINK = (TagRule.LINK,)
BY_MESSAGE = (TagRule.KEYWORD,)


@transaction.atomic
def save_tag_rule(*, rule: TagRule, by_id: int | None = None) -> TagRule:
    """Make or change a rule; it runs over everybody soon after. Raises WrongTagRule and writes nothing then."""
    tagrules.check(rule)
    if rule.pk is None:
        rule.created_at, rule.created_by_id = clock.now(), by_id
    rule.ran_at, rule.error = None, ""
    rule.save()
    wake("crm.tasks.run_tag_rules", queue="bulk")
    return rule


def judge_tag_rules(*, member_id: int, kinds: Iterable[str]) -> int:
    """She did something: put and take off what the rules of these kinds say of her; returns how many tags changed.

    One statement when there are no such rules. Idempotent: only what is not so yet is changed.
    """
    member = Member.objects.filter(pk=member_id).values_list("pk", "merged_into_id").first()
    rules = list(TagRule.objects.filter(is_active=True, kind__in=list(kinds)).order_by("pk"))
    if member is None or not rules:
        return 0
    return sum(_run(rule, [member[1] or member[0]]) for rule in rules)


def run_tag_rules(*, limit: int = 100) -> int:
    """Run over everybody what has not run since the shop's day began; returns how many rules ran.

    A rule is claimed by a conditional update of its last run, so several workers share the work and a second call
    does nothing. A rule that fails says why on its page and does not stop the others.
    """
    today = clock.day_start(clock.today())
    due = TagRule.objects.filter(Q(ran_at__isnull=True) | Q(ran_at__lt=today), is_active=True)
    ran = 0
    for rule in due.order_by("pk")[:limit]:
        as_seen = Q(ran_at__isnull=True) if rule.ran_at is None else Q(ran_at=rule.ran_at)
        if TagRule.objects.filter(as_seen, pk=rule.pk).update(ran_at=clock.now()):
            ran += 1
            run_tag_rule(rule_id=rule.pk)
    return ran


def run_tag_rule(*, rule_id: int) -> int:
    """Run one rule over everybody now; returns how many tags changed. Keeps its error on the row."""
    rule = TagRule.objects.get(pk=rule_id)
    changed, error = 0, ""
    try:
        changed = _run(rule, None)
    except Refusal as refusal:
        error = refusal.message
    except Exception as problem:
        log.exception("tag rule failed", rule=rule.pk)
        error = f"{type(problem).__name__}: {problem}"
    TagRule.objects.filter(pk=rule.pk).update(
        ran_at=clock.now(),
        error=error[:300],
        members_count=MemberTag.objects.filter(tag=rule.tag_id, origin=rule.origin).count(),
    )
    return changed


def _run(rule: TagRule, member_ids: list[int] | None) -> int:
    """In pieces of some thousand members, each a transaction of its own."""
    carried = MemberTag.objects.filter(tag=rule.tag_id)
    if member_ids is not None:
        carried = carried.filter(member__in=member_ids)
    fits, hers = tagrules.members_of(rule, member_ids), carried.filter(origin=rule.origin)
    missing = fits.exclude(pk__in=carried.values("member")).values_list("pk", flat=True)
    changed = 0
    for piece in _pieces(list(missing.order_by("pk"))):
        changed += add_tags(member_ids=piece, tag_ids=[rule.tag_id], origin=rule.origin)
    if rule.removes:
        gone = hers.exclude(member__in=fits.values("pk"))
        for piece in _pieces(list(gone.order_by("member").values_list("member_id", flat=True))):
            changed += _take_off(rule, piece)
    return changed


@transaction.atomic
def _take_off(rule: TagRule, member_ids: list[int]) -> int:
    """Only what this rule has put; another rule of the same tag gives it to whom it is true for."""
    still_its = MemberTag.objects.filter(tag=rule.tag_id, origin=rule.origin, member__in=member_ids)
    ids = list(still_its.values_list("member_id", flat=True))
    removed = remove_tags(member_ids=ids, tag_ids=[rule.tag_id], origin=rule.origin)
    for other in TagRule.objects.filter(tag=rule.tag_id, is_active=True).exclude(pk=rule.pk):
        heirs = tagrules.members_of(other, ids).values_list("pk", flat=True)
        add_tags(member_ids=list(heirs), tag_ids=[rule.tag_id], origin=other.origin)
    return removed


def _pieces(ids: list[int]) -> Iterable[list[int]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def tag_rule_preview(rule: TagRule) -> tuple[int, int, int]:
    """(members it is true for, how many of them get the tag, how many lose it) if it ran now. Writes nothing."""
    tagrules.check(rule)
    fits = tagrules.members_of(rule)
    carried = MemberTag.objects.filter(tag=rule.tag_id)
    new = fits.exclude(pk__in=carried.values("member")).count()
    lost = 0
    if rule.pk and rule.removes:
        lost = carried.filter(origin=rule.origin).exclude(member__in=fits.values("pk")).count()
    return fits.count(), new, lost
