"""A member's say over her data: seen, corrected, exported, withdrawn, erased. Sources of the rules: the personal
information law, articles 15 (withdraw), 45 (see, export), 46 (correct), 47 (erase).

What other rooms keep about her they name here as a Holding; so a page, an export and an erasure are complete without
this room knowing them.
"""

import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from types import EllipsisType
from typing import Any

import structlog
from django.apps import apps
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core import clock
from core.errors import Refusal
from core.locks import lock_row, lock_rows, rank_of
from core.models import LedgerAccount
from crm.days import YearDay
from crm.errors import CannotErase, NoSuchMember, WrongProfile
from crm.models import (
    Activity,
    Consent,
    DataRequest,
    Earning,
    Identity,
    Member,
    MemberDay,
    MemberFieldValue,
    MemberImport,
    MemberImportLine,
    MemberStats,
    MemberTag,
    MemberTier,
    MemberTraits,
    MergeProposal,
    PhoneClaim,
    PointsTask,
    PointsTaskRun,
    PointsTaskStep,
    RfmMember,
)
from crm.queries.consent import consent_answers
from crm.queries.members import import_numbers_of
from crm.queries.mydata_taken import kept_about
from crm.services.aipl import forget_aipl
from crm.services.consent import withdraw_consent
from crm.services.days import keep_day
from crm.services.erased import remember_erased, remember_erased_numbers
from crm.services.lifecycle import forget_lives
from crm.services.living import held_member
from crm.services.merging import seal_merges_of
from crm.services.points import FROZEN, GROWTH, forfeit_earnings
from crm.services.points_tasks import advance_tasks
from crm.services.retention import drop_files_of
from wechat import services as wechat

log = structlog.get_logger(__name__)

GRACE = timedelta(days=7)
"""So long an erasure waits, and she can take it back."""

ANSWER_WITHIN = timedelta(days=15)
"""The personal information security specification asks for an answer within 30 days; we promise 15."""

LOCKING_TRIES = 5

ACCOUNTING = (Activity.ORDERED, Activity.PAID, Activity.REFUNDED, Activity.SHIPPED, Activity.CANCELLED)


@dataclass(frozen=True)
class Holding:
    """What a room keeps about a member. `export` gives plain JSON values; `erase` makes nameless or deletes, in the
    caller's transaction; `rows` are those of its tables with a place in core.locks that others lock before a member:
    they are locked before her. `obstacle` says what must be settled before ("" when nothing), `consequence` what she
    loses.
    """

    name: str
    label: str | Promise
    count: Callable[[int], int]
    export: Callable[[int], Any]
    erase: Callable[[int], int]
    rows: Callable[[int], Sequence[QuerySet[Any]]] = lambda _member_id: ()
    obstacle: Callable[[int], str] = lambda _member_id: ""
    consequence: Callable[[int], str] = lambda _member_id: ""


_holdings: dict[str, Holding] = {}


def hold_personal_data(holding: Holding) -> None:
    """Name what a room keeps; called once when it starts."""
    _holdings[holding.name] = holding


def holdings() -> list[Holding]:
    return list(_holdings.values())


def personal_data(member_id: int) -> dict[str, Any]:
    """Everything that is kept about a member, as plain JSON values: what she takes with her."""
    return {**kept_about(member_id), **{holding.name: holding.export(member_id) for holding in holdings()}}


@transaction.atomic
def correct_profile(
    *, member_id: int, name: str, birthday: date | None, lunar: YearDay | EllipsisType | None = ...
) -> Member:
    """She writes her own name and birthday; `lunar`: the day of the lunar calendar by which she keeps it, None for
    none. Raises WrongProfile (too long, control characters, born in the future, no such day).
    """
    member = held_member(member_id)
    if member.erased_at is not None:
        raise NoSuchMember(_("There is no such member."))
    cleaned = " ".join(name.split())
    if len(cleaned) > 40 or any(unicodedata.category(letter) in ("Cc", "Cs", "Co") for letter in cleaned):
        raise WrongProfile(_("A name has at most 40 characters and no control characters."))
    if birthday is not None and not date(1900, 1, 1) <= birthday <= clock.today():
        raise WrongProfile(_("This birthday is not possible. Please check the year."))
    before = (member.name, member.birthday)
    member.name, member.birthday = cleaned, birthday
    has_changed = before != (member.name, member.birthday)
    if has_changed:
        if before[1] != birthday:
            member.birthday_from = Member.HERSELF if birthday else ""
        member.save(update_fields=["name", "birthday", "birthday_from"])
    if not isinstance(lunar, EllipsisType):
        has_changed |= _keep_lunar(member.pk, lunar)
    if has_changed:
        note_request(member_id=member.pk, kind=DataRequest.CORRECT)
    if birthday is not None:
        advance_tasks(member_id=member.pk, kind=PointsTask.BIRTHDAY, key="state")
    return member


def _keep_lunar(member_id: int, lunar: YearDay | None) -> bool:
    """True when that is news."""
    known = MemberDay.objects.filter(member=member_id, kind=MemberDay.BIRTHDAY).first()
    before = YearDay(known.calendar, known.month, known.day, known.is_leap) if known else None
    if lunar is not None and lunar != before:
        keep_day(member_id=member_id, kind=MemberDay.BIRTHDAY, day=lunar)
    elif lunar is None and known is not None:
        known.delete()
    return lunar != before


@transaction.atomic
def withdraw_by_herself(*, member_id: int, purpose: str, text_version: str, proof: str = "") -> Consent:
    """She withdraws a consent on "my data"; kept as an answered request besides."""
    consent = withdraw_consent(
        member_id=member_id, purpose=purpose, channel="page", text_version=text_version, proof=proof
    )
    note_request(member_id=consent.member_id, kind=DataRequest.WITHDRAW, result={"purpose": purpose})
    return consent


@transaction.atomic
def note_request(*, member_id: int, kind: str, result: dict[str, Any] | None = None) -> DataRequest:
    """A request that was answered at once, kept as proof."""
    moment = clock.now()
    return DataRequest.objects.create(
        member_id=member_id,
        kind=kind,
        state=DataRequest.DONE,
        asked_at=moment,
        due_at=moment + ANSWER_WITHIN,
        done_at=moment,
        result=result or {},
    )


@transaction.atomic
def ask_to_erase(*, member_id: int) -> DataRequest:
    """She asks to be forgotten: done after seven days unless she takes it back. What stands in the way is said now.

    Locks: member. Idempotent on: her open request. Raises CannotErase with what must be settled before.
    """
    member = lock_row(Member.objects.filter(pk=_living(member_id).pk))
    assert member is not None
    if member.merged_into_id is not None:  # while we waited for her
        return ask_to_erase(member_id=member.merged_into_id)
    found = DataRequest.objects.filter(member=member, kind=DataRequest.ERASE, state=DataRequest.OPEN).first()
    if found is not None:
        return found
    if obstacles := obstacles_for(member.pk):
        raise CannotErase(" ".join(obstacles))
    moment = clock.now()
    return DataRequest.objects.create(
        member=member,
        kind=DataRequest.ERASE,
        asked_at=moment,
        acts_at=moment + GRACE,
        due_at=moment + ANSWER_WITHIN,
    )


def obstacles_for(member_id: int) -> list[str]:
    return [words for holding in holdings() if (words := holding.obstacle(member_id))]


def consequences_for(member_id: int) -> list[str]:
    return [words for holding in holdings() if (words := holding.consequence(member_id))]


@transaction.atomic
def take_erasure_back(*, member_id: int) -> bool:
    """She stays; False when there was nothing to take back."""
    return bool(
        DataRequest.objects.filter(member=member_id, kind=DataRequest.ERASE, state=DataRequest.OPEN).update(
            state=DataRequest.TAKEN_BACK, done_at=clock.now()
        )
    )


def erase_due(*, limit: int = 100) -> int:
    """Carry out the erasures whose days are over, each in its own transaction; what stands in the way is written on
    the request for the operator. One that fails does not stand before the others. Returns how many were done.
    """
    due = DataRequest.objects.filter(
        kind=DataRequest.ERASE, state=DataRequest.OPEN, acts_at__lte=clock.now()
    ).order_by("due_at")
    done = 0
    for request_id in list(due.values_list("pk", flat=True)[:limit]):
        try:
            done += erase_member(request_id=request_id)
        except Refusal as refusal:
            DataRequest.objects.filter(pk=request_id).update(obstacle=refusal.message[:300])
        except Exception as problem:
            log.exception("erasure failed", request=request_id)
            words = _("It failed and is tried again: %(problem)s") % {"problem": type(problem).__name__}
            DataRequest.objects.filter(pk=request_id).update(obstacle=words[:300])
    return done


class _Changed(Exception):
    """Something of hers came between the locks: they are taken anew, in their order."""


@transaction.atomic
def erase_member(*, request_id: int, by_id: int | None = None) -> bool:
    """Forget a person: her addresses are deleted, her name and birthday emptied, her orders made nameless; sums, stock
    and the ledger stay as they are. It cannot be undone. False when the request was answered before.

    Locks, all before the first write: what the rooms name (campaigns, groups, orders, coupons), members, memberstats,
    earnings, ledger accounts. Idempotent on: the request. Raises CannotErase, NoSuchMember.
    """
    for _again in range(LOCKING_TRIES):
        with suppress(_Changed), transaction.atomic():  # a savepoint: going back to it gives the locks back
            return _erase(request_id, by_id)
    raise CannotErase(_("She is just doing something in the shop. It is tried again later."))


def _erase(request_id: int, by_id: int | None) -> bool:
    request = DataRequest.objects.filter(pk=request_id, kind=DataRequest.ERASE).first()
    if request is None:
        raise NoSuchMember(_("There is no such request."))
    member = _lock_all(request.member_id)
    if member is None or DataRequest.objects.get(pk=request_id).member_id != member.pk:
        raise _Changed  # merged meanwhile: the request is the kept one's
    if not DataRequest.objects.filter(pk=request_id, state=DataRequest.OPEN).update(
        state=DataRequest.DONE, done_at=clock.now(), done_by=by_id, obstacle=""
    ):
        return False
    if obstacles := obstacles_for(member.pk):
        raise CannotErase(" ".join(obstacles))
    result = {holding.name: holding.erase(member.pk) for holding in holdings()}
    result |= _erase_addresses(member)
    result |= {"growth": forfeit_earnings(member_id=member.pk, cause=f"erase:{request_id}")}
    result |= _erase_history(member)
    _erase_person(member)
    DataRequest.objects.filter(pk=request_id).update(result=result)
    return True


def _lock_all(member_id: int) -> Member | None:
    """Everything that others may hold while they wait for her, and what the erasing locks later, in the one order.

    Whoever orders or pays locks coupons and orders first and touches the member after: so do we.
    """
    before, after = _rows_of(member_id)
    held = [{row.pk for row in rows} for rows in lock_rows(*before)]
    members = Member.objects.filter(Q(pk=member_id) | Q(merged_into=member_id))
    rows = lock_rows(members, MemberStats.objects.filter(pk=member_id), *after)[0]
    # From here on nothing of hers is added. What came between the locks is not held.
    if any(set(now.values_list("pk", flat=True)) - known for now, known in zip(before, held, strict=True)):
        raise _Changed
    return next((row for row in rows if row.pk == member_id and row.merged_into_id is None), None)


def _rows_of(member_id: int) -> tuple[list[QuerySet[Any]], list[QuerySet[Any]]]:
    """What is locked before a member and what after her, each table once, in the order of core.locks."""
    named = [rows for holding in holdings() for rows in holding.rows(member_id)]
    named.append(Earning.objects.filter(member_id=member_id))
    named.append(LedgerAccount.objects.filter(owner_id=member_id, kind__in=[FROZEN, GROWTH]))
    by_table: dict[int, QuerySet[Any]] = {}
    for rows in named:
        rank = rank_of(rows)
        by_table[rank] = by_table[rank] | rows if rank in by_table else rows
    hers = rank_of(Member.objects.all())
    ordered = sorted(by_table)
    return [by_table[rank] for rank in ordered if rank < hers], [
        by_table[rank] for rank in ordered if rank > hers
    ]


def _erase_addresses(member: Member) -> dict[str, int]:
    """Her addresses are deleted; a hash of each stays, so that no reading and no file makes a member of her again."""
    identities = Identity.objects.filter(member=member)
    numbers = identities.filter(kind=Identity.IMPORT)
    channels = [
        (int(account_id or 0), value)
        for account_id, value in identities.filter(account__isnull=False).values_list("account_id", "value")
    ]
    queued = wechat.forget_people(people=channels)
    remember_erased(addresses=channels)
    remember_erased_numbers(values=numbers.values_list("value", flat=True))
    _forget_files(member.pk)
    count = identities.count()
    identities.delete()
    return {"messages": queued, "identities": count}


def _forget_files(member_id: int) -> None:
    """What files of members said of her: her number in the lines that did not become a member, and the files of that
    source themselves, which have done their work.
    """
    for source, numbers in import_numbers_of(member_id).items():
        MemberImportLine.objects.filter(run__source=source, external_id__in=numbers).update(external_id="")
        drop_files_of(MemberImport.objects.filter(source=source))


def _erase_history(member: Member) -> dict[str, int]:
    for purpose, is_given in consent_answers(member.pk).items():
        if is_given:
            withdraw_consent(member_id=member.pk, purpose=purpose, channel="erasure")
    Consent.objects.filter(member=member).update(proof="")
    MemberFieldValue.objects.filter(member=member).delete()
    tags = MemberTag.objects.filter(member=member).delete()[0]
    facts = Activity.objects.filter(member=member).exclude(kind__in=ACCOUNTING).delete()[0]
    Activity.objects.filter(member=member).update(data={})
    MemberStats.objects.filter(pk=member.pk).update(
        visits_count=0, last_visit_at=None, last_active_at=None, last_touch_at=None
    )
    return {"tags": tags, "timeline": facts}


def _erase_person(member: Member) -> None:
    """Herself and the rows that were merged into her, with the history of what staff wrote there."""
    rows = Member.objects.filter(Q(pk=member.pk) | Q(merged_into=member))
    ids = list(rows.values_list("pk", flat=True))
    for row in rows:
        row.name = row.avatar_url = row.time_zone = row.note = row.tier = row.birthday_from = ""
        row.birthday = row.source = None
        row.session_version += 1
        row.erased_at = clock.now()
        row.save(
            update_fields=[
                *("name", "avatar_url", "time_zone", "note", "tier", "birthday", "birthday_from", "source"),
                *("session_version", "erased_at"),
            ]
        )
    for model in apps.get_app_config("crm").get_models():  # the history of what staff wrote
        tracked = getattr(model, "pgh_tracked_model", None)
        if tracked is Member:
            model._default_manager.filter(pgh_obj__in=ids).delete()
        elif tracked is MemberFieldValue:
            model._default_manager.filter(member__in=ids).delete()
    MergeProposal.objects.filter(Q(elder__in=ids) | Q(younger__in=ids), state=MergeProposal.OPEN).update(
        state=MergeProposal.DISMISSED, decided_at=clock.now()
    )
    MemberTier.objects.filter(pk__in=ids).delete()
    forget_lives(member_ids=ids)
    forget_aipl(member_ids=ids)
    for table in (RfmMember, MemberDay, MemberTraits, PhoneClaim, PointsTaskStep, PointsTaskRun):
        table._default_manager.filter(member__in=ids).delete()
    for pk in ids:
        seal_merges_of(member_id=pk)


def _living(member_id: int) -> Member:
    member = Member.objects.select_related("merged_into").filter(pk=member_id).first()
    living = (member.merged_into or member) if member else None
    if living is None or living.erased_at is not None:
        raise NoSuchMember(_("There is no such member."))
    return living
