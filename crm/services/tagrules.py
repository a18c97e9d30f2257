"""Keeping tag rules true: for one member when she did something, for everybody once a day."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet

from core import clock
from core.errors import Refusal
from core.wakeups import wake
from crm import tagrules
from crm.models import Member, MemberTag, TagRule, TagRuleHit
from crm.services.tags import add_tags, remove_tags

log = structlog.get_logger(__name__)

AT_ONCE = 5_000
# A run that has not said anything for so long has died; one that failed is tried again after so long.
LEASE = timedelta(minutes=5)
PAUSE = timedelta(hours=1)
PUT_ASIDE = "INSERT INTO crm_tagrulehit (rule_id, puts, member_id) SELECT %s, %s, id FROM ({found}) found(id)"
# What each kind of doing can change; a rule of time changes by the calendar alone, and by what ends the wait.
BY_PURCHASE = (TagRule.SPEND, TagRule.PURCHASE, TagRule.TIME)
BY_LINK = (TagRule.LINK,)
BY_SCAN = (TagRule.SCAN,)
BY_MESSAGE = (TagRule.KEYWORD,)


@transaction.atomic
def save_tag_rule(*, rule: TagRule, by_id: int | None = None) -> TagRule:
    """Make or change a rule; it runs over everybody soon after. Raises WrongTagRule and writes nothing then."""
    tagrules.check(rule)
    if rule.pk is None:
        rule.created_at, rule.created_by_id = clock.now(), by_id
    rule.ran_at, rule.running_until, rule.error = None, None, ""
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


@transaction.atomic
def want_tag_rules(*, rule_ids: Iterable[int]) -> int:
    """These active rules shall run over everybody again, soon; returns how many."""
    rules = TagRule.objects.filter(pk__in=list(rule_ids), is_active=True)
    count = rules.update(ran_at=None, running_until=None)
    if count:
        wake("crm.tasks.run_tag_rules", queue="bulk")
    return count


def run_tag_rules(*, limit: int = 100) -> int:
    """Run over everybody what has not run since the shop's day began; returns how many rules ran.

    A rule is claimed by a conditional update (a lease), so several workers share the work and a second call does
    nothing; its day is booked when it is through, so what died is run again. A rule that fails says why on its page
    and does not stop the others.
    """
    due = TagRule.objects.filter(_is_due(), is_active=True).order_by("pk")
    ran = 0
    for rule_id in list(due.values_list("pk", flat=True)[:limit]):
        ran += _run_claimed(rule_id, _is_due()) is not None
    return ran


def _is_due() -> Q:
    today = clock.day_start(clock.today())
    return (Q(ran_at__isnull=True) | Q(ran_at__lt=today)) & _is_free()


def _is_free() -> Q:
    return Q(running_until__isnull=True) | Q(running_until__lte=clock.now())


def run_tag_rule(*, rule_id: int) -> int:
    """Run one rule over everybody now; returns how many tags changed, none while another run is at it."""
    return _run_claimed(rule_id, _is_free()) or 0


def _run_claimed(rule_id: int, condition: Q) -> int | None:
    """Claim, run, book; None when the rule is not to be had. An error stays on its row, and it is tried again later."""
    began_at = clock.now()
    claim = began_at + LEASE
    if not TagRule.objects.filter(condition, pk=rule_id).update(running_until=claim):
        return None
    rule = TagRule.objects.get(pk=rule_id)
    run = _Run(rule, claim)
    try:
        _put_aside(rule)
        run.puts()
        run.takes()
    except _Overtaken:
        return run.changed
    except Exception as problem:
        words = problem.message if isinstance(problem, Refusal) else f"{type(problem).__name__}: {problem}"
        log.exception("tag rule failed", rule=rule.pk)
        run.end(running_until=clock.now() + PAUSE, error=words[:300])
        return run.changed
    carried = MemberTag.objects.filter(tag=rule.tag_id, origin=rule.origin)
    run.end(ran_at=began_at, running_until=None, error="", members_count=carried.count())
    return run.changed


class _Overtaken(Exception):
    """The rule was edited, or another run has it: this one stops without booking anything."""


class _Run:
    """One run of one rule over everybody, in pieces of some thousand members, each a transaction of its own."""

    def __init__(self, rule: TagRule, claim: datetime) -> None:
        self.rule, self.claim, self.changed = rule, claim, 0

    def end(self, **values: object) -> bool:
        """Write the rule's row, if it is still as this run has claimed it."""
        return bool(TagRule.objects.filter(pk=self.rule.pk, running_until=self.claim).update(**values))

    def puts(self) -> None:
        while self._piece(puts=True):
            pass

    def takes(self) -> None:
        while self._piece(puts=False):
            pass

    @transaction.atomic
    def _piece(self, *, puts: bool) -> int:
        until = clock.now() + LEASE
        if not self.end(running_until=until):
            raise _Overtaken
        self.claim = until
        hits = TagRuleHit.objects.filter(rule=self.rule.pk, puts=puts)
        ids = list(hits.order_by("member_id").values_list("member_id", flat=True)[:AT_ONCE])
        if not ids:
            return 0
        hits.filter(member_id__in=ids).delete()
        # What they did since they were put aside counts.
        if puts:
            still = list(_missing(self.rule, ids).values_list("pk", flat=True))
            self.changed += add_tags(member_ids=still, tag_ids=[self.rule.tag_id], origin=self.rule.origin)
        else:
            gone = list(_gone(self.rule, ids).values_list("member_id", flat=True))
            self.changed += _take_off(self.rule, gone)
        return len(ids)


@transaction.atomic
def _put_aside(rule: TagRule) -> None:
    """Whom the rule gives its tag, and from whom it takes it: two statements, whatever their number."""
    TagRuleHit.objects.filter(rule=rule.pk).delete()
    _put_aside_of(rule, _missing(rule).values_list("pk"), puts=True)
    if rule.removes:
        _put_aside_of(rule, _gone(rule).values_list("member_id"), puts=False)


def _put_aside_of(rule: TagRule, members: QuerySet[Any, Any], *, puts: bool) -> None:
    sql, params = members.order_by().query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(PUT_ASIDE.format(found=sql), [rule.pk, puts, *params])


def _carried(rule: TagRule, **more: Any) -> QuerySet[MemberTag]:
    return MemberTag.objects.filter(tag=rule.tag_id, **more)


def _missing(rule: TagRule, member_ids: list[int] | None = None) -> QuerySet[Member]:
    """Those for whom it is true and who do not carry the tag."""
    return tagrules.members_of(rule, member_ids).filter(~Exists(_carried(rule, member=OuterRef("pk"))))


def _gone(rule: TagRule, member_ids: list[int] | None = None) -> QuerySet[MemberTag]:
    """The tags that this rule has put on whom it is not true for any more."""
    its = _carried(rule, origin=rule.origin)
    if member_ids is not None:
        its = its.filter(member__in=member_ids)
    fits = tagrules.members_of(rule, member_ids).filter(pk=OuterRef("member_id"))
    return its.filter(~Exists(fits))


def _run(rule: TagRule, member_ids: list[int]) -> int:
    """For these few members, at once."""
    missing = list(_missing(rule, member_ids).values_list("pk", flat=True))
    changed = add_tags(member_ids=missing, tag_ids=[rule.tag_id], origin=rule.origin) if missing else 0
    if rule.removes:
        gone = list(_gone(rule, member_ids).values_list("member_id", flat=True))
        changed += _take_off(rule, gone) if gone else 0
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


def tag_rule_preview(rule: TagRule) -> tuple[int, int, int]:
    """(members it is true for, how many of them get the tag, how many lose it) if it ran now. Writes nothing."""
    tagrules.check(rule)
    lost = _gone(rule).count() if rule.pk and rule.removes else 0
    return tagrules.members_of(rule).count(), _missing(rule).count(), lost
