"""What stays of an erased person towards the platforms: her addresses are passed by, and her tags there are taken off.

An address is known again by a keyed hash. What she herself does after the erasure (a follow, a scan, a message, a
login) is a fresh start: then she is a member like anybody who comes for the first time.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from zlib import crc32

import structlog
from django.db.models import F

from core import clock
from core.errors import Refusal
from core.events import backoff
from core.secrets import keyed_digest, keyed_digests
from core.wakeups import wake
from crm.models import ErasedAddress, ErasedNumber
from wechat import queries as wechat_queries
from wechat import services as wechat

log = structlog.get_logger(__name__)


class WasErased(Exception):
    """The address was a member's until she was erased, and she has not come back by herself."""


LEASE = timedelta(minutes=5)
MOST_ATTEMPTS = 8
OFFICIAL, WORK = ("service", "subscription"), ("work",)


def remember_erased(*, addresses: Iterable[tuple[int, str]]) -> int:
    """Each (account id, openid or external userid) was erased: passed by from now on, its tags taken off after commit.

    Part of the caller's transaction. Idempotent on: the address.
    """
    moment, count = clock.now(), 0
    for account_id, address in addresses:
        carries_tags = wechat_queries.account(account_id).kind in (*OFFICIAL, *WORK)
        ErasedAddress.objects.update_or_create(
            account_id=account_id,
            digest=keyed_digest(address),
            defaults={
                "erased_at": moment,
                "address": address if carries_tags else "",
                "due_at": moment if carries_tags else None,
                "attempts": 0,
                "error": "",
            },
        )
        count += 1
    if count:
        wake("crm.tasks.take_off_erased_tags")
    return count


def erased_among(account_id: int, addresses: Collection[str]) -> set[str]:
    """Those of these addresses that were erased. One statement, none for none."""
    by_digest = {digest: address for address in addresses for digest in keyed_digests(address)}
    if not by_digest:
        return set()
    rows = ErasedAddress.objects.filter(account=account_id, digest__in=list(by_digest))
    return {by_digest[digest] for digest in rows.values_list("digest", flat=True)}


def remember_erased_numbers(*, values: Iterable[str]) -> int:
    """Numbers of other systems ("pos:A1") were an erased member's: no file makes a member of them again.

    Part of the caller's transaction. Idempotent on: the number.
    """
    moment = clock.now()
    rows = []
    for value in values:
        source, _colon, number = value.partition(":")
        bucket = _bucket(number, _seeds(source)[0])
        rows.append(ErasedNumber(source=source, digest=keyed_digest(value), bucket=bucket, erased_at=moment))
    ErasedNumber.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["source", "digest"],
        update_fields=["bucket", "erased_at"],
    )
    return len(rows)


def erased_numbers_among(source: str, external_ids: Iterable[str]) -> set[str]:
    """Those of these numbers of a source ("pos", without a colon) that were erased. One statement, and the numbers are
    not even looked at, while nobody of the source was: so it is with a first import.
    """
    hers = ErasedNumber.objects.filter(source=source)
    buckets = set(hers.values_list("bucket", flat=True).distinct())
    if not buckets:
        return set()
    seeds = _seeds(source)
    near = [number for number in external_ids if any(_bucket(number, seed) in buckets for seed in seeds)]
    by_digest = {digest: number for number in near for digest in keyed_digests(f"{source}:{number}")}
    rows = hers.filter(digest__in=list(by_digest))
    return {by_digest[digest] for digest in rows.values_list("digest", flat=True)}


def _seeds(source: str) -> list[int]:
    """By each key, the newest first."""
    return [int(digest[:8], 16) for digest in keyed_digests(f"bucket of {source}")]


def _bucket(number: str, seed: int) -> int:
    return crc32(number.encode(), seed) & 0xFFF


def forget_erased_numbers(*, source: str, external_ids: Iterable[str]) -> int:
    """They come back by themselves (a purchase at the till), as if for the first time. Part of the caller's
    transaction.
    """
    digests = [digest for number in external_ids for digest in keyed_digests(f"{source}:{number}")]
    return ErasedNumber.objects.filter(source=source, digest__in=digests).delete()[0]


def begin_fresh(*, account_id: int, address: str, acted_at: datetime | None) -> None:
    """She comes as if for the first time: what is remembered of an erasure goes. Part of the caller's transaction.

    `acted_at`: when she did what tells us of her; None: she did nothing, a reading or a colleague names her. Raises
    WasErased when that was not after the erasure.
    """
    rows = ErasedAddress.objects.filter(account=account_id, digest__in=keyed_digests(address))
    for erased in rows:
        if acted_at is None or acted_at <= erased.erased_at:
            raise WasErased
        erased.delete()


def take_off_erased_tags(*, limit: int = 50) -> int:
    """Take off at the platforms what erased people carry; returns how many were tried. Outside of a transaction.

    A row is claimed by moving its due moment (a lease), so several workers share the work, and a call may run twice.
    When it is through, or given up, the address is forgotten too.
    """
    tried = 0
    due = ErasedAddress.objects.filter(due_at__lte=clock.now()).order_by("due_at")
    for pk in list(due.values_list("pk", flat=True)[:limit]):
        claimed = ErasedAddress.objects.filter(pk=pk, due_at__lte=clock.now()).update(
            due_at=clock.now() + LEASE, attempts=F("attempts") + 1
        )
        row = ErasedAddress.objects.filter(pk=pk).first() if claimed else None
        if row is not None:
            tried += 1
            _take_off(row)
    return tried


def _take_off(row: ErasedAddress) -> None:
    try:
        if wechat_queries.account(row.account_id).kind in WORK:
            _take_off_in_wecom(row)
        else:
            _take_off_in_account(row)
    except Refusal as error:
        log.warning("tags of an erased person stay", row=row.pk, code=error.code, attempts=row.attempts)
        if row.attempts < MOST_ATTEMPTS:
            again = clock.now() + backoff(row.attempts)
            ErasedAddress.objects.filter(pk=row.pk, attempts=row.attempts).update(
                due_at=again, error=error.code[:300]
            )
            return
        ErasedAddress.objects.filter(pk=row.pk).update(due_at=None, address="", error=error.code[:300])
        return
    ErasedAddress.objects.filter(pk=row.pk).update(due_at=None, address="", error="")


def _take_off_in_wecom(row: ErasedAddress) -> None:
    """Every guide's enterprise tags on her."""
    contact = wechat.work_contact(account_id=row.account_id, external_userid=row.address)
    for follow in contact.follows:
        wechat.mark_work_tags(
            account_id=row.account_id,
            userid=follow.userid,
            external_userid=row.address,
            remove=list(follow.tag_ids),
        )


def _take_off_in_account(row: ErasedAddress) -> None:
    """All tags that the account has on her; who follows no more has none."""
    for one in wechat.followers(account_id=row.account_id, openids=[row.address]):
        for tag_id in one.tag_ids if one.is_following else ():
            wechat.mark_official_tag(
                account_id=row.account_id, tag_id=tag_id, openids=[row.address], remove=True
            )
