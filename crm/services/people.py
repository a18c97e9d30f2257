"""Members are born here, found by their identities, and recognised as one person by a unionid.

One unionid through two accounts is one member, in whatever order and however concurrently the notices arrive: every
look-up that may write takes advisory locks on the identities it is about, and a unique key stands behind them.
Nobody is ever merged on a nickname or on a typed phone.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, events, statements
from core.locks import advisory_lock
from crm.errors import PhoneBelongsToAnother, WrongPhone
from crm.events import MemberJoined
from crm.models import Activity, Identity, Member, MemberMerge, MemberStats, MergeProposal, PointsTask
from crm.services.erased import begin_fresh, erased_numbers_among, forget_erased_numbers
from crm.services.following import note_contact
from crm.services.living import held_member, living_member
from crm.services.merge_proposals import propose_by_phone, propose_merge
from crm.services.merging import merge_members, was_undone
from crm.services.points_tasks import advance_tasks
from crm.services.timeline import record_activity

PHONE = re.compile(r"\+?\d{6,20}")
BETWEEN_DIGITS = re.compile(r"[\s\-()]")
CONFIDENCE = {Identity.PLATFORM: 10_000, Identity.CODE: 9_500, Identity.FILE: 8_000, Identity.TYPED: 3_000}
"""How sure an address of that source names the person; numbers change owners, and fingers slip."""


@transaction.atomic
def member_for_openid(
    *,
    account_id: int,
    openid: str,
    unionid: str = "",
    name: str = "",
    avatar_url: str = "",
    via: str = Member.FOLLOW,
    at: datetime | None = None,
    by_herself: bool = True,
) -> Member:
    """The member behind an openid of an account; born when nobody knows her, merged when the unionid says so.

    `by_herself`: she did something at `at`; False: something else names her. Locks: advisory on openid and unionid,
    then members when merging. Idempotent on: the identities. Publishes: MemberJoined, MembersMerged. Raises WasErased
    when she was erased and has done nothing since.
    """
    return _member_for(Identity.OPENID, account_id, openid, unionid, name, avatar_url, via, at, by_herself)


@transaction.atomic
def member_for_contact(
    *,
    account_id: int,
    external_userid: str,
    unionid: str = "",
    name: str = "",
    avatar_url: str = "",
    userid: str = "",
    at: datetime | None = None,
    by_herself: bool = True,
) -> Member:
    """The member behind a WeCom customer of a corp. With `userid` the contact with that guide is noted as open.

    Locks, Publishes and Raises: as member_for_openid. Idempotent on: the identities, (identity, userid).
    """
    member = _member_for(
        Identity.EXTERNAL_USERID,
        account_id,
        external_userid,
        unionid,
        name,
        avatar_url,
        Member.CONTACT,
        at,
        by_herself,
    )
    if userid:
        note_contact(
            account_id=account_id, external_userid=external_userid, userid=userid, at=at or clock.now()
        )
    return member


def _member_for(
    kind: str,
    account_id: int,
    value: str,
    unionid: str,
    name: str,
    avatar_url: str,
    via: str,
    at: datetime | None,
    by_herself: bool,
) -> Member:
    if not value:
        raise ValueError("an identity needs a value")
    member = _known(kind, account_id, value, unionid)
    if member is None:
        # Always in this order: no two transactions wait for each other in a circle.
        advisory_lock("identity", kind, account_id, value)
        if unionid:
            advisory_lock("identity", Identity.UNIONID, unionid)
        member = _recognise(
            kind, account_id, value, unionid, name, avatar_url, via, at or clock.now(), by_herself
        )
    _fill_blanks(member, name, avatar_url)
    return member


def _known(kind: str, account_id: int, value: str, unionid: str) -> Member | None:
    """The member when nothing is new: the identity is known, and the unionid (if told) is already hers."""
    by_address = _owner(kind, account_id, value)
    if by_address is None or not unionid:
        return by_address
    by_union = _owner(Identity.UNIONID, None, unionid)
    return by_address if by_union is not None and by_union.pk == by_address.pk else None


def _owner(kind: str, account_id: int | None, value: str) -> Member | None:
    account = () if account_id is None else (account_id,)
    found = statements.rows(_owner_sql(bool(account)), (kind, *account, value))
    # Built by hand: a queryset compiles the same query again for each notice.
    return Member.from_db("default", _columns(), found[0]) if found else None


@cache
def _columns() -> tuple[str, ...]:
    return tuple(field.attname for field in Member._meta.concrete_fields)


@cache
def _owner_sql(of_an_account: bool) -> str:
    columns = ", ".join(f"m.{name}" for name in _columns())
    return f"""
    SELECT {columns} FROM crm_identity i JOIN crm_member m ON m.id = i.member_id
    WHERE i.kind = %s AND i.account_id {"= %s" if of_an_account else "IS NULL"} AND i.value = %s AND i.is_verified
    """  # noqa: S608  our own words only


def _recognise(
    kind: str,
    account_id: int,
    value: str,
    unionid: str,
    name: str,
    avatar_url: str,
    via: str,
    at: datetime,
    by_herself: bool,
) -> Member:
    """Under the locks, asking again: whom somebody else has made known meanwhile, with what is missing attached; or
    a member is born.
    """
    by_address = _owner(kind, account_id, value)
    if (
        by_address is None
    ):  # asked first: an erasure takes the address away and remembers it in one transaction
        begin_fresh(account_id=account_id, address=value, acted_at=at if by_herself else None)
    by_union = _owner(Identity.UNIONID, None, unionid) if unionid else None
    member = by_address or by_union or _bear(name=name, avatar_url=avatar_url, via=via, at=at)
    if by_address is None:
        _attach(member, kind, value, account_id=account_id)
    if unionid and by_union is None:
        _attach(member, Identity.UNIONID, unionid)
    if by_address and by_union and by_address.pk != by_union.pk:
        if not was_undone(by_union.pk, by_address.pk):
            return merge_members(kept_id=by_union.pk, merged_id=by_address.pk)
        propose_merge(
            one_id=by_union.pk, other_id=by_address.pk, kind=MergeProposal.UNDONE, confidence_bps=9_000
        )
    return member


def _bear(*, name: str, avatar_url: str, via: str, at: datetime) -> Member:
    member = Member.objects.create(name=name[:80], avatar_url=avatar_url, joined_via=via, created_at=at)
    MemberStats.objects.create(member=member)
    record_activity(member_id=member.pk, kind=Activity.JOINED, at=at, subject=via)
    events.publish(MemberJoined(member_id=member.pk, via=via, at=at), key=f"member:{member.pk}")
    return member


def _attach(member: Member, kind: str, value: str, *, account_id: int | None = None) -> Identity:
    return Identity.objects.create(
        member=member, kind=kind, account_id=account_id, value=value, created_at=clock.now()
    )


def _fill_blanks(member: Member, name: str, avatar_url: str) -> None:
    """A name that staff wrote stays; an empty one is filled. The avatar follows the platform."""
    changes: dict[str, str] = {}
    if name and not member.name:
        changes["name"] = name[:80]
    if avatar_url and avatar_url != member.avatar_url:
        changes["avatar_url"] = avatar_url
    if changes:
        for field, value in changes.items():
            setattr(member, field, value)
        member.save(update_fields=list(changes))


@transaction.atomic
def member_for_import(
    *, source: str, external_id: str, name: str = "", phone: str = "", joined_at: datetime | None = None
) -> Member:
    """The member that an old shop calls `external_id`; `source` names the shop ("pos", "online_retail").

    Idempotent on: (source, external_id). A phone from a file is unverified and merges nobody. Who was erased comes as
    if for the first time: she is there and buys.
    """
    forget_erased_numbers(source=source, external_ids=[external_id])
    row = {"external_id": external_id, "name": name, "phone": phone, "joined_at": joined_at}
    found = members_for_import(source=source, rows=[row])
    return Member.objects.get(pk=found[external_id])


@transaction.atomic
def members_for_import(*, source: str, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Many at once: rows of {external_id, name="", phone="", joined_at=None} → external_id → member id.

    New members get the joining moment of their row (now when there is none), a timeline row and figures of zero;
    no MemberJoined is published, history is not news. Numbers of erased people are left out: what they bought stays
    nameless. Locks: advisory on the source. Idempotent on: (source, external_id).
    """
    wanted = {str(row["external_id"]): row for row in rows}
    values = {f"{source}:{external_id}": external_id for external_id in wanted}
    found = _imported(values)
    if len(found) < len(wanted):
        advisory_lock("import", source)
        found = _imported(values)
        missing = wanted.keys() - found.keys()
        gone = erased_numbers_among(source, missing)
        fresh = [
            row for external_id, row in wanted.items() if external_id not in found and external_id not in gone
        ]
        moment = clock.now()
        members = Member.objects.bulk_create(
            Member(
                name=str(row.get("name") or "")[:80],
                joined_via=Member.IMPORT,
                created_at=row.get("joined_at") or moment,
            )
            for row in fresh
        )
        MemberStats.objects.bulk_create(MemberStats(member=member) for member in members)
        identities = []
        for row, member in zip(fresh, members, strict=True):
            external_id = str(row["external_id"])
            identities.append(
                Identity(
                    member=member,
                    kind=Identity.IMPORT,
                    value=f"{source}:{external_id}"[:128],
                    source=Identity.FILE,
                    confidence_bps=CONFIDENCE[Identity.FILE],
                    created_at=moment,
                )
            )
            if phone := cleaned_phone(str(row.get("phone") or "")):
                identities.append(
                    Identity(
                        member=member,
                        kind=Identity.PHONE,
                        value=phone,
                        is_verified=False,
                        source=Identity.FILE,
                        confidence_bps=CONFIDENCE[Identity.TYPED],
                        created_at=moment,
                    )
                )
            found[external_id] = member.pk
        Identity.objects.bulk_create(identities)
        Activity.objects.bulk_create(
            Activity(member=member, kind=Activity.JOINED, at=member.created_at, subject=Member.IMPORT)
            for member in members
        )
    return found


def _imported(values: dict[str, str]) -> dict[str, int]:
    known = Identity.objects.filter(kind=Identity.IMPORT, account=None, value__in=list(values))
    return {values[value]: member_id for value, member_id in known.values_list("value", "member_id")}


def cleaned_phone(text: str) -> str:
    """Digits as dialled, without spaces and dashes and China's prefix; "" when it is no phone."""
    digits = text if text.isalnum() else BETWEEN_DIGITS.sub("", text)
    if digits.startswith("+86") or (digits.startswith("86") and len(digits) == 13):
        digits = digits.removeprefix("+").removeprefix("86")
    return digits if PHONE.fullmatch(digits) else ""


@transaction.atomic
def give_phone(*, member_id: int, phone: str, verified: bool) -> Identity:
    """Note a member's phone. A typed one (`verified` False) may stand with several members and proves nothing: where
    another has confirmed it, an operator is asked. A confirmed one makes one member of two, unless the platforms know
    them as two persons.

    Idempotent on: (member, phone). Locks: advisory on the phone, then as merge_members. Raises WrongPhone;
    PhoneBelongsToAnother when another WeChat person confirmed it.
    """
    number = cleaned_phone(phone)
    if not number:
        raise WrongPhone(_("This is not a phone number. Write only its digits."))
    member = living_member(member_id)
    if verified:
        advisory_lock("identity", Identity.PHONE, number)
        holder = _owner(Identity.PHONE, None, number)
        if holder is not None and holder.pk != member.pk:
            if _are_two_persons(holder, member) or was_undone(holder.pk, member.pk):
                raise PhoneBelongsToAnother(
                    _(
                        "This phone number is confirmed with another member. Please ask the shop to look into it."
                    )
                )
            member = merge_members(kept_id=holder.pk, merged_id=member.pk, reason=MemberMerge.PHONE)
    member = held_member(member.pk)
    source = Identity.CODE if verified else Identity.TYPED
    identity, made = Identity.objects.get_or_create(
        member=member,
        kind=Identity.PHONE,
        account=None,
        value=number,
        defaults={
            "is_verified": verified,
            "source": source,
            "confidence_bps": CONFIDENCE[source],
            "created_at": clock.now(),
        },
    )
    if not made and verified and not identity.is_verified:
        identity.is_verified, identity.source = True, source
        identity.confidence_bps = CONFIDENCE[source]
        identity.save(update_fields=["is_verified", "source", "confidence_bps"])
        made = True  # new evidence: others may have typed it
    if made:
        propose_by_phone(phone=number)
    advance_tasks(member_id=member.pk, kind=PointsTask.PHONE, key="state")
    return identity


def _are_two_persons(one: Member, other: Member) -> bool:
    """WeChat gives a person one unionid, one openid an account, and one external userid a corp."""
    platforms = [Identity.OPENID, Identity.UNIONID, Identity.EXTERNAL_USERID]
    of_one, of_other = (
        set(Identity.objects.filter(member=member, kind__in=platforms).values_list("kind", "account_id"))
        for member in (one, other)
    )
    return bool(of_one & of_other)
