"""Statements that nearly every request makes, planned once per connection instead of once per request.

Planning a statement over ten tables takes Postgres longer than running it. `rows` prepares the text on the connection
that it runs on and executes the prepared statement from then on. Name every column (`SELECT *` breaks when a migration
adds one) and cast parameters whose type the statement does not tell.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

_PARAMETER = re.compile(r"%(s|%)")
_NAMED = re.compile(r"%\((\w+)\)s|%(%)")


LARGEST = 2**63 - 1


def bigint(number: int) -> int:
    """A number from an address line as a key: 0, which is nobody's, for what no bigint holds."""
    return number if -LARGEST <= number <= LARGEST else 0


class _Prepared(NamedTuple):
    name: str
    prepare: str
    execute: str


def rows(sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement with `%s` for its parameters; all its rows, none for one that answers no rows. One statement.

    Behind PgBouncer, whose connections change hands, it runs as any other statement.
    """
    here = connections[DEFAULT_DB_ALIAS]  # the proxy `connection` would look it up at every use
    with here.cursor() as cursor:
        if here.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
            cursor.execute(sql, params)
        else:
            one = _numbered(sql)
            _ensure(here, one)
            cursor.execute(one.execute, params or None)
        return list(cursor.fetchall()) if cursor.description else []


def named(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The same with `%(name)s` for parameters; a name may stand several times and travels once."""
    text, names = _positioned(sql)
    here = connections[DEFAULT_DB_ALIAS]
    with here.cursor() as cursor:
        if here.settings_dict["DISABLE_SERVER_SIDE_CURSORS"]:
            cursor.execute(sql, dict(params))
        else:
            _ensure(here, text)
            cursor.execute(text.execute, [params[name] for name in names] or None)
        return list(cursor.fetchall()) if cursor.description else []


def _ensure(here: BaseDatabaseWrapper, one: _Prepared) -> None:
    """Prepare it unless this very connection has it already. Prepared statements outlive a rolled back transaction."""
    raw = here.connection
    kept: tuple[Any, set[str]] = getattr(here, "prepared_statements", (None, set()))
    if kept[0] is not raw:
        kept = (raw, set())
        here.prepared_statements = kept  # type: ignore[attr-defined]
    if one.name in kept[1]:
        return
    # Not through Django's cursor: it is no query of the page, which counts its own.
    with here.wrap_database_errors, raw.cursor() as cursor:
        cursor.execute(one.prepare)
    kept[1].add(one.name)


@lru_cache(maxsize=512)
def _numbered(sql: str) -> _Prepared:
    count = 0

    def number(found: "re.Match[str]") -> str:
        nonlocal count
        if found[1] == "%":
            return "%"
        count += 1
        return f"${count}"

    return _prepared(_PARAMETER.sub(number, sql), count)


@lru_cache(maxsize=512)
def _positioned(sql: str) -> tuple[_Prepared, tuple[str, ...]]:
    names: dict[str, int] = {}

    def number(found: "re.Match[str]") -> str:
        if found[2]:
            return "%"
        return f"${names.setdefault(found[1], len(names) + 1)}"

    text = _NAMED.sub(number, sql)
    return _prepared(text, len(names)), tuple(names)


def _prepared(text: str, count: int) -> _Prepared:
    name = f"pond_{hashlib.blake2s(text.encode(), digest_size=8).hexdigest()}"
    values = f"({', '.join(['%s'] * count)})" if count else ""
    return _Prepared(name, f"PREPARE {name} AS {text}", f"EXECUTE {name}{values}")
