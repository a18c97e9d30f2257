"""Members are born here, found by their identities, and recognised as one person by a unionid.

One unionid through two accounts is one member, in whatever order and however concurrently the notices arrive: every
look-up that may write takes advisory locks on the identities it is about, and a unique key stands behind them.
Nobody is ever merged on a nickname or on a typed phone.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock, events
from core.locks import advisory_lock
from crm.errors import NoSuchMember, PhoneBelongsToAnother, WrongPhone
from crm.events import MemberJoined
from crm.models import Activity, Identity, Member, MemberStats
from crm.queries.members import of_account
from crm.services.following import note_contact
from crm.services.merging import merge_members
from crm.services.timeline import record_activity

PHONE = re.compile(r"\+?\d{6,20}")


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
) -> Member:
    """The member behind an openid of an account; born when nobody knows her, merged when the unionid says so.

    Locks: advisory on openid and unionid, then members when merging. Idempotent on: the identities.
    Publishes: MemberJoined, MembersMerged.
    """
    return _member_for(Identity.OPENID, account_id, openid, unionid, name, avatar_url, via, at)


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
) -> Member:
    """The member behind a WeCom customer of a corp. With `userid` the contact with that guide is noted as open.

    Locks and Publishes: as member_for_openid. Idempotent on: the identities, (identity, userid).
    """
    member = _member_for(
        Identity.EXTERNAL_USERID, account_id, external_userid, unionid, name, avatar_url, Member.CONTACT, at
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
) -> Member:
    if not value:
        raise ValueError("an identity needs a value")
    member = _known(kind, account_id, value, unionid)
    if member is None:
        # Always in this order: no two transactions wait for each other in a circle.
        advisory_lock("identity", kind, account_id, value)
        if unionid:
            advisory_lock("identity", Identity.UNIONID, unionid)
        member = _known(kind, account_id, value, unionid) or _recognise(
            kind, account_id, value, unionid, name, avatar_url, via, at or clock.now()
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
    identity = (
        Identity.objects.filter(of_account(account_id), kind=kind, value=value, is_verified=True)
        .select_related("member")
        .first()
    )
    return identity.member if identity else None


def _recognise(
    kind: str,
    account_id: int,
    value: str,
    unionid: str,
    name: str,
    avatar_url: str,
    via: str,
    at: datetime,
) -> Member:
    """Under the locks: attach what is missing to whom we know, or bear a member."""
    by_address = _owner(kind, account_id, value)
    by_union = _owner(Identity.UNIONID, None, unionid) if unionid else None
    member = by_address or by_union or _bear(name=name, avatar_url=avatar_url, via=via, at=at)
    if by_address is None:
        _attach(member, kind, value, account_id=account_id)
    if unionid and by_union is None:
        _attach(member, Identity.UNIONID, unionid)
    if by_address and by_union and by_address.pk != by_union.pk:
        member = merge_members(kept_id=by_union.pk, merged_id=by_address.pk)
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

    Idempotent on: (source, external_id). A phone from a file is unverified and merges nobody.
    """
    row = {"external_id": external_id, "name": name, "phone": phone, "joined_at": joined_at}
    found = members_for_import(source=source, rows=[row])
    return Member.objects.get(pk=found[external_id])


@transaction.atomic
def members_for_import(*, source: str, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Many at once: rows of {external_id, name="", phone="", joined_at=None} → external_id → member id.

    New members get the joining moment of their row (now when there is none), a timeline row and figures of zero;
    no MemberJoined is published, history is not news. Locks: advisory on the source.
    Idempotent on: (source, external_id).
    """
    wanted = {str(row["external_id"]): row for row in rows}
    values = {f"{source}:{external_id}": external_id for external_id in wanted}
    found = _imported(values)
    if len(found) < len(wanted):
        advisory_lock("import", source)
        found = _imported(values)
        fresh = [row for external_id, row in wanted.items() if external_id not in found]
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
                    created_at=moment,
                )
            )
            if phone := cleaned_phone(str(row.get("phone") or "")):
                identities.append(
                    Identity(
                        member=member, kind=Identity.PHONE, value=phone, is_verified=False, created_at=moment
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
    digits = re.sub(r"[\s\-()]", "", text)
    if digits.startswith("+86") or (digits.startswith("86") and len(digits) == 13):
        digits = digits.removeprefix("+").removeprefix("86")
    return digits if PHONE.fullmatch(digits) else ""


@transaction.atomic
def give_phone(*, member_id: int, phone: str, verified: bool) -> Identity:
    """Note a member's phone. A typed one (`verified` False) may stand with several members and proves nothing.

    Idempotent on: (member, phone). Raises WrongPhone; PhoneBelongsToAnother when it is verified with somebody else.
    """
    number = cleaned_phone(phone)
    if not number:
        raise WrongPhone(_("This is not a phone number. Write only its digits."))
    member = living_member(member_id)
    if verified:
        advisory_lock("identity", Identity.PHONE, number)
        holder = _owner(Identity.PHONE, None, number)
        if holder is not None and holder.pk != member.pk:
            raise PhoneBelongsToAnother(
                _("This phone number is confirmed with another member. Please ask the shop to look into it.")
            )
    identity, made = Identity.objects.get_or_create(
        member=member,
        kind=Identity.PHONE,
        account=None,
        value=number,
        defaults={"is_verified": verified, "created_at": clock.now()},
    )
    if not made and verified and not identity.is_verified:
        identity.is_verified = True
        identity.save(update_fields=["is_verified"])
    return identity


def living_member(member_id: int) -> Member:
    """The member herself, or the one she was merged into. Raises NoSuchMember."""
    member = Member.objects.select_related("merged_into").filter(pk=member_id).first()
    if member is None:
        raise NoSuchMember(_("There is no such member."))
    return member.merged_into or member
