"""What a tag rule means: one condition on members, and the words that say it. Other apps add what they know.

A condition is a condition of the ORM on Member, so a rule is one statement over everybody or over a few.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import BigIntegerField, Case, Count, Exists, F, OuterRef, Q, QuerySet, Sum, When
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core import clock
from core.money import yuan
from crm.errors import WrongTagRule
from crm.models import Activity, ChannelCode, Member, TagRule


@dataclass(frozen=True)
class Choices:
    """What an app offers for a kind of rule: its choices (value, label), and who fits one of them.

    `fits(choice, since, times, member_ids)` gives ids of members, as a subquery; of these members only, if given.
    """

    offered: Callable[[], list[tuple[str, str]]]
    fits: Callable[[str, dt.datetime | None, int, list[int] | None], Any] | None = None


MOST_DAYS = 3_650
MOST_CHOICES = 2_000

_choices: dict[str, Choices] = {}


def offer_choices(kind: str, choices: Choices) -> None:
    """An app says what a kind of rule can be about; called once when it starts."""
    _choices[kind] = choices


def _codes() -> list[tuple[str, str]]:
    """Every channel code by its subject, the newest first."""
    rows = ChannelCode.objects.order_by("-pk").values_list("pk", "name")
    return [(f"code:{pk}", name) for pk, name in rows[:MOST_CHOICES]]


offer_choices(TagRule.SCAN, Choices(_codes))


def choices_of(kind: str) -> list[tuple[str, str]]:
    return _choices[kind].offered() if kind in _choices else []


def words_of(rule: TagRule) -> list[str]:
    return [
        word.strip() for word in rule.words.replace("，", ",").replace("、", ",").split(",") if word.strip()
    ]


def check(rule: TagRule) -> None:
    """Raises WrongTagRule for what the kind needs and the rule has not."""
    if (rule.days is not None and not 1 <= rule.days <= MOST_DAYS) or not 1 <= rule.times <= MOST_DAYS:
        raise WrongTagRule(_("Days and times are numbers from 1 to %(most)d.") % {"most": MOST_DAYS})
    if rule.kind == TagRule.SPEND and rule.amount_fen < 1:
        raise WrongTagRule(_("Say from which amount on."))
    if rule.kind == TagRule.SCAN and rule.choice and rule.choice not in dict(choices_of(TagRule.SCAN)):
        raise WrongTagRule(_("Choose which code, or any."))
    if rule.kind == TagRule.PURCHASE and rule.choice not in dict(choices_of(TagRule.PURCHASE)):
        raise WrongTagRule(_("Choose the category."))
    if rule.kind == TagRule.LINK and rule.choice and rule.choice not in dict(choices_of(TagRule.LINK)):
        raise WrongTagRule(_("Choose whose links, or all."))
    if rule.kind == TagRule.KEYWORD and not words_of(rule):
        raise WrongTagRule(_("Write at least one word."))
    if rule.kind == TagRule.TIME and not rule.days:
        raise WrongTagRule(_("Say after how many days."))


def condition_of(rule: TagRule, member_ids: list[int] | None = None) -> Q:
    """The rule as a condition on Member, from the shop's calendar days: a window of 1 is today.

    `member_ids`: it is asked about these only, so that one buyer does not cost a sum over all facts.
    """
    since = clock.day_start(clock.today() - dt.timedelta(days=rule.days - 1)) if rule.days else None
    match rule.kind:
        case TagRule.SPEND if since is None:
            return Q(stats__paid_fen__gte=F("stats__refunded_fen") + rule.amount_fen)
        case TagRule.SPEND:
            back = Case(
                When(kind=Activity.REFUNDED, then=-F("amount_fen")),
                default=F("amount_fen"),
                output_field=BigIntegerField(),
            )
            paid = _facts([Activity.PAID], since, member_ids)
            hers = paid.filter(member=OuterRef("member"), subject=OuterRef("subject"))
            moved = (
                _facts([Activity.PAID, Activity.REFUNDED], since, member_ids)
                .filter(
                    Q(kind=Activity.PAID) | Q(Exists(hers))
                )  # a refund of what was paid before is none of it
                .values("member")
                .annotate(fen=Sum(back))
            )
            return Q(pk__in=moved.filter(fen__gte=rule.amount_fen).values("member"))
        case TagRule.PURCHASE:
            offered = _choices.get(TagRule.PURCHASE)
            if offered is None or offered.fits is None:
                return Q(pk__in=[])
            return Q(pk__in=offered.fits(rule.choice, since, rule.times, member_ids))
        case TagRule.LINK | TagRule.SCAN:
            kind = Activity.OPENED if rule.kind == TagRule.LINK else Activity.SCANNED
            facts = _facts([kind], since, member_ids)
            return _often(facts.filter(subject=rule.choice) if rule.choice else facts, rule.times)
        case TagRule.KEYWORD:
            said = Q()
            for word in words_of(rule):
                said |= Q(data__text__icontains=word)
            return _often(_facts([Activity.MESSAGE], since, member_ids).filter(said), rule.times)
    return _past(rule)


def _facts(kinds: list[str], since: dt.datetime | None, member_ids: list[int] | None) -> QuerySet[Activity]:
    facts = Activity.objects.filter(kind__in=kinds).order_by()
    if member_ids is not None:
        facts = facts.filter(member__in=member_ids)
    return facts.filter(at__gte=since) if since else facts


def _often(facts: QuerySet[Activity], times: int) -> Q:
    if times <= 1:
        return Q(Exists(facts.filter(member=OuterRef("pk"))))
    return Q(pk__in=facts.values("member").annotate(n=Count("pk")).filter(n__gte=times).values("member"))


def _past(rule: TagRule) -> Q:
    """At least so many whole days of the shop since the moment."""
    before = clock.day_start(clock.today() - dt.timedelta(days=(rule.days or 1) - 1))
    if rule.moment == TagRule.JOINED:
        return Q(created_at__lt=before)
    if rule.moment == TagRule.ACTIVE:
        return Q(stats__last_active_at__lt=before) | Q(
            stats__last_active_at__isnull=True, created_at__lt=before
        )
    return Q(stats__last_paid_at__lt=before)


def members_of(rule: TagRule, member_ids: list[int] | None = None) -> QuerySet[Member]:
    """The living members (of these, if given) for whom it is true now; of who was erased nothing is judged any more."""
    known = Member.objects.known()
    members = known.filter(condition_of(rule, member_ids)).order_by()
    return members if member_ids is None else members.filter(pk__in=member_ids)


def in_words(rule: TagRule) -> str:
    """The condition as a sentence's part: "paid at least ¥500.00 in the last 90 days"."""
    text: str | Promise
    if rule.kind == TagRule.SPEND:
        text = _("paid at least ¥%(yuan)s") % {"yuan": yuan(rule.amount_fen)}
    elif rule.kind == TagRule.PURCHASE:
        name = dict(choices_of(TagRule.PURCHASE)).get(rule.choice, rule.choice)
        text = _("bought from “%(name)s”") % {"name": name}
    elif rule.kind == TagRule.LINK:
        name = dict(choices_of(TagRule.LINK)).get(rule.choice, rule.choice)
        text = _("opened a link of “%(name)s”") % {"name": name} if name else _("opened a link")
    elif rule.kind == TagRule.SCAN:
        name = dict(choices_of(TagRule.SCAN)).get(rule.choice, rule.choice)
        text = _("scanned the code “%(name)s”") % {"name": name} if name else _("scanned a code")
    elif rule.kind == TagRule.KEYWORD:
        text = _("wrote “%(words)s”") % {"words": "” / “".join(words_of(rule))}
    else:
        moments = {
            TagRule.ORDER: _("%(days)d days since the last order"),
            TagRule.ACTIVE: _("%(days)d days since her last doing"),
            TagRule.JOINED: _("%(days)d days since she became a member"),
        }
        return moments[rule.moment] % {"days": rule.days or 0}
    if rule.times > 1:
        text = _("%(what)s, %(times)d times") % {"what": text, "times": rule.times}
    if rule.days:
        text = _("%(what)s in the last %(days)d days") % {"what": text, "days": rule.days}
    return str(text)
