"""How long things are kept: each room says what it can forget, an operator sets the months, a nightly task forgets."""

import calendar
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import F, Model, Q, QuerySet
from django.db.models.fields.files import FieldFile
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from core import clock
from core.models import Job
from core.uploads import ImportedFile
from crm.models import (
    Activity,
    DataRequest,
    Member,
    MemberFieldValue,
    MemberImport,
    MemberImportLine,
    PhoneLook,
    RetentionRule,
    Touch,
)
from wechat import services as wechat

BATCH = 2_000
BROWSING = (
    Activity.VISITED,
    Activity.VIEWED_PRODUCT,
    Activity.ADDED_TO_CART,
    Activity.MENU,
    Activity.MESSAGE,
    Activity.OPENED,
)


@dataclass(frozen=True)
class Clock:
    """One kind of rows that grow old. `remove(before, most)` takes at most so many and returns how many."""

    name: str
    label: str | Promise
    means: str | Promise
    count: Callable[[datetime], int]
    remove: Callable[[datetime, int], int]


_clocks: dict[str, Clock] = {}


def put_clock(one: Clock) -> None:
    """Say what a room can forget; called once when it starts."""
    _clocks[one.name] = one


def clocks() -> dict[str, Clock]:
    return dict(_clocks)


@transaction.atomic
def rules_for_all() -> list[RetentionRule]:
    """The rule of each clock, made without a number where there is none yet. Idempotent."""
    RetentionRule.objects.bulk_create([RetentionRule(name=name) for name in _clocks], ignore_conflicts=True)
    return list(RetentionRule.objects.filter(name__in=_clocks).order_by("name"))


@transaction.atomic
def keep_for(*, name: str, months: int | None) -> RetentionRule:
    """Set how many months one kind is kept; None: for ever."""
    rules_for_all()
    rule = RetentionRule.objects.get(name=name)
    rule.months = months
    rule.save(update_fields=["months"])
    return rule


def boundary(months: int) -> datetime:
    """Everything before this moment is older than so many months, in the shop's days."""
    today = clock.today()
    year, month = divmod(today.year * 12 + today.month - 1 - months, 12)
    day = min(today.day, calendar.monthrange(year, month + 1)[1])
    return clock.day_start(date(year, month + 1, day))


def overdue_counts() -> dict[str, int]:
    """Name → how many rows the next night would take; only rules with a number. Changes nothing."""
    rules = RetentionRule.objects.filter(name__in=_clocks, months__isnull=False)
    return {rule.name: _clocks[rule.name].count(boundary(rule.months or 0)) for rule in rules}


def keep_retention(*, most: int = 100_000) -> dict[str, int]:
    """Forget what is older than its rule, in batches of their own transactions; returns name → how many.

    Runs twice without harm: what is gone is not found again. `most`: of one kind in one run.
    """
    forgotten = {}
    for rule in rules_for_all():
        if rule.months is not None:
            forgotten[rule.name] = _forget(rule, boundary(rule.months), most)
    return forgotten


def _forget(rule: RetentionRule, before: datetime, most: int) -> int:
    gone = 0
    while gone < most:
        with transaction.atomic():
            count = _clocks[rule.name].remove(before, min(BATCH, most - gone))
            RetentionRule.objects.filter(pk=rule.pk).update(removed=F("removed") + count, ran_at=clock.now())
        gone += count
        if not count:
            break
    return gone


def _browsing(before: datetime, most: int) -> int:
    keys = Activity.objects.filter(kind__in=BROWSING, at__lt=before).values_list("at", "pk")[:most]
    found = list(keys)
    if not found:
        return 0
    return Activity.objects.filter(
        kind__in=BROWSING, at__in={at for at, _pk in found}, pk__in=[pk for _at, pk in found]
    ).delete()[0]


def _touches(before: datetime, most: int) -> int:
    keys = list(Touch.objects.filter(at__lt=before).values_list("pk", flat=True)[:most])
    return Touch.objects.filter(pk__in=keys).delete()[0]


def _looks(before: datetime, most: int) -> int:
    keys = list(PhoneLook.objects.filter(at__lt=before).values_list("pk", flat=True)[:most])
    return PhoneLook.objects.filter(pk__in=keys).delete()[0]


def _requests(before: datetime, most: int) -> int:
    old = DataRequest.objects.filter(done_at__lt=before).values_list("pk", flat=True)[:most]
    return DataRequest.objects.filter(pk__in=list(old)).delete()[0]


def _edits() -> list[type[Model]]:
    """The tables in which the history of what people wrote about members stands."""
    tracked = (Member, MemberFieldValue)
    return [model for model in apps.get_models() if getattr(model, "pgh_tracked_model", None) in tracked]


def _count_edits(before: datetime) -> int:
    return sum(model._default_manager.filter(pgh_created_at__lt=before).count() for model in _edits())


def _forget_edits(before: datetime, most: int) -> int:
    gone = 0
    for model in _edits():
        old = model._default_manager.filter(pgh_created_at__lt=before).order_by("pk")
        keys = list(old.values_list("pk", flat=True)[: most - gone])
        gone += model._default_manager.filter(pk__in=keys).delete()[0]
    return gone


def clock_of_files(
    name: str, label: str | Promise, model: type[ImportedFile], forget: Callable[[list[int]], object] = len
) -> Clock:
    """The clock of files that were brought in: the file and its report go, what became of the rows stays. `forget`
    takes from the rows of these runs what they still say of people.
    """

    def old(before: datetime) -> QuerySet[ImportedFile]:
        return _with_files(model._default_manager.filter(created_at__lt=before)).order_by("pk")

    def remove(before: datetime, most: int) -> int:
        runs = list(old(before)[:most])
        forget([run.pk for run in runs])
        return _drop_files(runs)

    means = _("The uploaded file and its report are deleted; the counts of the import stay.")
    return Clock(name, label, means, lambda before: old(before).count(), remove)


def drop_files_of(runs: QuerySet[Any]) -> int:
    """Delete the files and reports of these runs (core.uploads.ImportedFile) after commit, but of those at work; counts
    stay. Part of the caller's transaction.
    """
    return _drop_files(list(_with_files(runs)))


def _with_files(runs: QuerySet[Any]) -> QuerySet[Any]:
    at_work = Q(job__status__in=[Job.QUEUED, Job.RUNNING])
    return runs.exclude(Q(file="", report="") | at_work)


def _drop_files(runs: Sequence[ImportedFile]) -> int:
    files = [file for run in runs for file in (run.file, run.report) if file]
    for run in runs:
        type(run)._default_manager.filter(pk=run.pk).update(file="", report="")
    transaction.on_commit(lambda: _drop(files), robust=True)
    return len(runs)


def _drop(files: list[FieldFile]) -> None:
    for file in files:
        file.storage.delete(str(file.name))


put_clock(
    Clock(
        "browsing",
        _("what members looked at and wrote"),
        _("Visits, views, clicks and messages leave the timeline; orders and payments stay."),
        lambda before: Activity.objects.filter(kind__in=BROWSING, at__lt=before).count(),
        _browsing,
    )
)
put_clock(
    Clock(
        "touches",
        _("touches"),
        _("What was sent to whom is deleted; the reports of campaigns stay."),
        lambda before: Touch.objects.filter(at__lt=before).count(),
        _touches,
    )
)
put_clock(
    Clock(
        "phone_looks",
        _("looks at phone numbers"),
        _("The log of who saw a whole number is deleted."),
        lambda before: PhoneLook.objects.filter(at__lt=before).count(),
        _looks,
    )
)
put_clock(
    Clock(
        "data_requests",
        _("answered data requests"),
        _("The proof that a request was answered is deleted."),
        lambda before: DataRequest.objects.filter(done_at__lt=before).count(),
        _requests,
    )
)
put_clock(
    Clock(
        "edits",
        _("history of what was written about members"),
        _("Earlier names, birthdays, notes and field values are deleted; what counts now stays."),
        _count_edits,
        _forget_edits,
    )
)
put_clock(
    Clock(
        "notices",
        _("what the platforms told us"),
        _("Notices with their messages are deleted as they came; handled ones go after 90 days in any case."),
        wechat.count_notices,
        wechat.forget_notices,
    )
)
put_clock(
    Clock(
        "recipients",
        _("to whom messages went"),
        _("The address and what was filled in for her are emptied; the message and its outcome stay."),
        wechat.count_recipients,
        wechat.forget_recipients,
    )
)
put_clock(
    clock_of_files(
        "member_files",
        _("files of members that were brought in"),
        MemberImport,
        lambda runs: MemberImportLine.objects.filter(run__in=runs).update(external_id=""),
    )
)
