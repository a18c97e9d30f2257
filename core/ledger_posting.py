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
    columns = [_as_array(column) for column in zip(*postings, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT core_ledger_post(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s)",
            [*columns, moment],
        )
        ids: list[int] | None = cursor.fetchone()[0]
    return None if ids is None else [Posted(transfer_id, moment) for transfer_id in ids]


def _as_array(values: Iterable[str | int | datetime | None]) -> str:
    """The text of a Postgres array. An ARRAY[…] of as many constants is parsed and planned one by one: 0.1 ms for 20
    postings.
    """
    return "{" + ",".join(_as_element(value) for value in values) + "}"


def _as_element(value: str | int | datetime | None) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case datetime():
            return f'"{value.isoformat()}"'
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_posting: Batcher[Posting, Posted | None] = Batcher(_write, linger=0.003)
