"""What a merge of two members would do, line by line, before anybody confirms it; and who follows which account."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeVar

from django.apps import apps
from django.db import connection
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core import clock
from core.models import LedgerAccount
from core.money import yuan
from core.secrets import masked_phone
from crm.errors import NoSuchMember
from crm.models import Consent, Identity, Member, MemberMerge, MemberTag
from crm.queries.accounts import MatrixAccount, matrix_accounts

Key = TypeVar("Key", int, str)
ROOMS = ("crm", "shop", "campaigns", "community")
BALANCES: dict[str, tuple[str | Promise, bool]] = {
    "points": (gettext_lazy("points"), False),
    "points.frozen": (gettext_lazy("frozen points"), False),
    "growth": (gettext_lazy("growth"), False),
    "stored_value": (gettext_lazy("stored value"), True),
    "stored_value.bonus": (gettext_lazy("stored value, bonus"), True),
}


@dataclass(frozen=True)
class PreviewLine:
    """One thing of both members and what the kept one has of it afterwards."""

    label: str
    kept: str
    merged: str
    after: str
    note: str = ""


@dataclass(frozen=True)
class Preview:
    """`sections`: (heading, lines). `warnings`: what speaks against it."""

    kept: Member
    merged: Member
    sections: list[tuple[str, list[PreviewLine]]]
    warnings: list[str]


def merge_preview(one_id: int, other_id: int, *, tables: Callable[[str], list[Any]]) -> Preview:
    """What merging these two does to profile, addresses, tags, consents, balances and everything that is theirs.

    `tables(room)` lists the tables of a room whose rows belong to members. Eight statements, whatever they have.
    A merged one stands for whom she was merged into. Raises NoSuchMember when one is unknown or erased, or both are
    one.
    """
    asked = Member.objects.filter(pk__in=[one_id, other_id]).values_list(Coalesce("merged_into_id", "pk"))
    found = {
        member.pk: member
        for member in Member.objects.living()
        .filter(pk__in=asked, erased_at__isnull=True)
        .select_related("stats", "source")
    }
    if len(found) != 2:
        raise NoSuchMember(_("Choose two different members whose data was not erased."))
    kept, merged = found[min(found)], found[max(found)]
    identities = list(
        Identity.objects.filter(member__in=found).select_related("account").order_by("kind", "account_id")
    )
    return Preview(
        kept=kept,
        merged=merged,
        sections=[
            (_("Profile"), _profile(kept, merged)),
            (_("Addresses"), _addresses(kept, merged, identities)),
            (_("Consents"), _consents(kept, merged)),
            (_("Balances"), _balances(kept, merged)),
            (_("Figures"), _figures(kept, merged)),
            (_("Rows that move"), _rows(kept, merged, identities, tables)),
        ],
        warnings=_warnings(kept, merged, identities),
    )


def _profile(kept: Member, merged: Member) -> list[PreviewLine]:
    lines = []
    for field in ("name", "tier", "birthday", "time_zone", "note", "source"):
        one, other = getattr(kept, field), getattr(merged, field)
        if one or other:
            label = str(Member._meta.get_field(field).verbose_name)  # type: ignore[union-attr]
            lost = _("%(value)s is lost") % {"value": other} if one and other and one != other else ""
            lines.append(PreviewLine(label, str(one or "–"), str(other or "–"), str(one or other), lost))
    since = [f"{clock.local(member.created_at):%Y-%m-%d}" for member in (kept, merged)]
    lines.append(PreviewLine(_("member since"), since[0], since[1], min(since)))
    return lines


def _addresses(kept: Member, merged: Member, identities: list[Identity]) -> list[PreviewLine]:
    def shown(identity: Identity) -> str:
        value = identity.hidden
        if identity.kind == Identity.PHONE:
            return value
        return value if len(value) <= 14 else f"{value[:12]}…"

    lines = []
    for kind, label in Identity.KINDS:
        hers = [
            [shown(one) for one in identities if one.member_id == member.pk and one.kind == kind]
            for member in (kept, merged)
        ]
        if hers[0] or hers[1]:
            both = list(dict.fromkeys(hers[0] + hers[1]))
            lines.append(
                PreviewLine(str(label), "\n".join(hers[0]) or "–", "\n".join(hers[1]) or "–", "\n".join(both))
            )
    return lines


def _consents(kept: Member, merged: Member) -> list[PreviewLine]:
    rows = (
        Consent.objects.filter(member__in=[kept, merged], account=None)
        .order_by("member_id", "purpose", "-at", "-pk")
        .distinct("member_id", "purpose")
    )
    latest = {(row.member_id, row.purpose): row for row in rows}

    def words(row: Consent | None) -> str:
        if row is None:
            return _("never asked")
        answer = _("agreed") if row.is_given else _("withdrawn")
        return f"{answer} {clock.local(row.at):%Y-%m-%d}"

    lines = []
    for purpose, label in Consent.PURPOSES:
        one, other = latest.get((kept.pk, purpose)), latest.get((merged.pk, purpose))
        newest = max((row for row in (one, other) if row), key=lambda row: (row.at, row.pk), default=None)
        note = _("The newer answer counts.") if one and other and one.is_given != other.is_given else ""
        lines.append(PreviewLine(str(label), words(one), words(other), words(newest), note))
    return lines


def _balances(kept: Member, merged: Member) -> list[PreviewLine]:
    accounts = LedgerAccount.objects.filter(owner_id__in=[kept.pk, merged.pk], kind__in=BALANCES)
    rows = {(account.owner_id, account.kind): account for account in accounts}
    lines = []
    for kind, (label, is_money) in BALANCES.items():
        one, other = rows.get((kept.pk, kind)), rows.get((merged.pk, kind))
        if one is None and other is None:
            continue
        amounts = [account.balance if account else 0 for account in (one, other)]
        mine, hers, both = (
            f"¥{yuan(amount)}" if is_money else f"{amount:,}" for amount in (*amounts, sum(amounts))
        )
        held = other.held if other else 0
        note = _("What an unpaid order holds follows when the order ends.") if held else ""
        lines.append(PreviewLine(str(label), mine, hers, both, note))
    return lines


def _figures(kept: Member, merged: Member) -> list[PreviewLine]:
    one, other = kept.stats, merged.stats
    money = [f"¥{yuan(fen)}" for fen in (one.paid_fen, other.paid_fen, one.paid_fen + other.paid_fen)]
    back = [
        f"¥{yuan(fen)}"
        for fen in (one.refunded_fen, other.refunded_fen, one.refunded_fen + other.refunded_fen)
    ]
    counts = [str(n) for n in (one.orders_count, other.orders_count, one.orders_count + other.orders_count)]
    return [
        PreviewLine(_("paid orders"), *counts),
        PreviewLine(_("paid in all"), *money),
        PreviewLine(_("refunded"), *back),
    ]


def _rows(
    kept: Member, merged: Member, identities: list[Identity], tables: Callable[[str], list[Any]]
) -> list[PreviewLine]:
    """Every table with rows of members, counted in one statement; tags and phones of both are one afterwards."""
    parts: list[str] = []
    labels: list[tuple[str, str]] = []
    for room in ROOMS:
        if not apps.is_installed(room):
            continue
        for table in tables(room):
            parts.append(
                f'SELECT {len(labels)} AS n, count(*) FILTER (WHERE "{table.column}" = %s) AS kept,'  # noqa: S608
                f' count(*) FILTER (WHERE "{table.column}" = %s) AS merged'
                f' FROM "{table.name}" WHERE "{table.column}" IN (%s, %s)'
            )
            labels.append((str(table.label), table.name))
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), [kept.pk, merged.pk] * 2 * len(parts))
        counts = {n: (int(one), int(other)) for n, one, other in cursor.fetchall()}
    shared = (
        MemberTag.objects.filter(member=kept, tag__in=MemberTag.objects.filter(member=merged).values("tag"))
        .values_list("tag__name", flat=True)
        .order_by("tag__name")
    )
    lines = []
    for n, (label, name) in enumerate(labels):
        one, other = counts[n]
        if not one and not other:
            continue
        twice = list(shared) if name == MemberTag._meta.db_table else []
        if name == Identity._meta.db_table:
            twice = _same_phones(kept, merged, identities)
        note = _("both have %(things)s") % {"things": "、".join(twice)} if twice else ""
        lines.append(PreviewLine(label, str(one), str(other), str(one + other - len(twice)), note))
    return lines


def _same_phones(kept: Member, merged: Member, identities: list[Identity]) -> list[str]:
    """Numbers that both gave, masked: one row stays of each."""
    hers = [
        {one.value for one in identities if one.member_id == member.pk and one.kind == Identity.PHONE}
        for member in (kept, merged)
    ]
    return [masked_phone(value) for value in sorted(hers[0] & hers[1])]


def _warnings(kept: Member, merged: Member, identities: list[Identity]) -> list[str]:
    channels: dict[tuple[str, int | None], set[int]] = {}
    for one in identities:
        if one.kind in (Identity.OPENID, Identity.UNIONID, Identity.EXTERNAL_USERID):
            channels.setdefault((one.kind, one.account_id), set()).add(one.member_id)
    warnings = []
    if any(len(members) > 1 for members in channels.values()):
        warnings.append(_("WeChat knows them as two persons: both have an address on the same account."))
    if merged.created_at > kept.created_at and kept.name and merged.name and kept.name != merged.name:
        warnings.append(_("Their names differ."))
    undone = (
        MemberMerge.objects.filter(kept=kept, merged=merged, undone_at__isnull=False)
        .order_by("-undone_at")
        .first()
    )
    if undone is not None and undone.undone_at is not None:
        warnings.append(
            _("They were merged before and separated on %(day)s.")
            % {"day": f"{clock.local(undone.undone_at):%Y-%m-%d}"}
        )
    return warnings


@dataclass(frozen=True)
class Matrix:
    """Who follows what now, by account and by role; a member who follows two accounts of a role is one of the role.

    `followers`: account id → members. `both`: (one, other) → members who follow both, each way. `roles`: (role,
    name) of those that have accounts; `role_followers` and `role_both` like the first two, by role.
    """

    accounts: list[MatrixAccount]
    followers: dict[int, int]
    both: dict[tuple[int, int], int]
    everybody: int
    roles: list[tuple[str, str]]
    role_followers: dict[str, int]
    role_both: dict[tuple[str, str], int]


def account_matrix() -> Matrix:
    """Who follows which accounts and roles, and which two: one pass over the followings, grouped by member."""
    accounts, names = matrix_accounts()
    roles = {one.pk: one.role for one in accounts}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH follows AS MATERIALIZED (
                SELECT member_id, array_agg(DISTINCT account_id ORDER BY account_id) AS accounts
                FROM crm_identity WHERE account_id IS NOT NULL AND (is_following OR account_id = ANY(%s))
                GROUP BY member_id
            ), sets AS (
                SELECT accounts, count(*) AS members FROM follows GROUP BY accounts
            )
            SELECT accounts, members FROM sets
            """,
            [[one.pk for one in accounts if one.is_mini]],
        )
        sets = cursor.fetchall()
    # An account that was switched off is not in the matrix, nor is who follows nothing else.
    shown = [(set(followed) & roles.keys(), members) for followed, members in sets]
    followers, both = _overlaps(shown)
    role_followers, role_both = _overlaps([({roles[pk] for pk in pks}, members) for pks, members in shown])
    return Matrix(
        accounts,
        followers,
        both,
        sum(members for followed, members in shown if followed),
        [(role, name) for role, name in names.items() if role in roles.values()],
        role_followers,
        role_both,
    )


def _overlaps(
    sets: list[tuple[set[Key], int]],
) -> tuple[dict[Key, int], dict[tuple[Key, Key], int]]:
    """Members by key, and by each two keys, of how many members have exactly which set of keys."""
    alone: Counter[Key] = Counter()
    both: Counter[tuple[Key, Key]] = Counter()
    for keys, members in sets:
        for one in keys:
            alone[one] += members
        for pair in permutations(keys, 2):
            both[pair] += members
    return dict(alone), dict(both)


def open_merges_of(member_id: int) -> list[MemberMerge]:
    """The merges into a member that stand, newest first."""
    return list(
        MemberMerge.objects.filter(kept=member_id, undone_at__isnull=True)
        .select_related("merged_by")
        .order_by(F("merged_at").desc())[:20]
    )
