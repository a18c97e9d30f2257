"""Plain transfers in one statement, those of concurrent callers together. `core.ledger.transfer` is the way in."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from core import clock
from core.batching import Batcher


class Posting(NamedTuple):
    """A transfer to write, by the ids of its accounts."""

    cause: str
    debit_id: int
    credit_id: int
    amount: int
    expires_at: datetime | None


class Posted(NamedTuple):
    transfer_id: int
    posted_at: datetime


def post(posting: Posting) -> Posted | None:
    """Write a transfer; None, and nothing is written, when it is not plain (a known cause, too low a balance,
    something expired) and has to go the long way.

    Outside of a transaction it shares a statement and a commit with what others post at this moment.
    """
    return _posting.submit(posting)


def post_many(postings: Sequence[Posting]) -> list[Posted] | None:
    """Write transfers in their order, all of them; None, and nothing is written, when one is not plain."""
    return _call(postings) if postings else []


def _write(postings: Sequence[Posting]) -> list[Posted | None]:
    written = _call(postings)
    if written is not None:
        return list(written)
    if len(postings) == 1:
        return [None]
    # One of them is not plain: each by itself, so that the others need not wait for the long way.
    return [answer[0] if (answer := _call([one])) else None for one in postings]


def _call(postings: Sequence[Posting]) -> list[Posted] | None:
    moment = clock.now()
    causes, debits, credits, amounts, expiries = zip(*postings, strict=True)
    columns = [_texts(causes), _numbers(debits), _numbers(credits), _numbers(amounts), _moments(expiries)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT core_ledger_post(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s)",
            [*columns, moment],
        )
        ids: list[int] | None = cursor.fetchone()[0]
    return None if ids is None else [Posted(transfer_id, moment) for transfer_id in ids]


# Arrays in the text form of Postgres: an ARRAY[…] of as many constants is parsed and planned one by one.
def _numbers(values: Iterable[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _texts(values: Iterable[str]) -> str:
    quoted = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(quoted) + '"}'


def _moments(values: Iterable[datetime | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else f'"{value.isoformat()}"' for value in values]) + "}"


_posting: Batcher[Posting, Posted | None] = Batcher(_write, linger=0.003)
