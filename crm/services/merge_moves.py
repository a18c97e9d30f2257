"""How rows follow a member when two become one, and how they find the way back.

A room (an app) moves its rows with its own command; this file looks at all its tables with a member before and after,
and keeps the difference. So a room that gets a new table needs no line here to have it undone.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from django.apps import apps
from django.db import IntegrityError, connection, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from core import clock
from core.locks import advisory_lock
from crm.errors import NotYet
from crm.models import (
    AccountMatrix,
    Activity,
    Member,
    MemberMerge,
    MemberStats,
    MergeMove,
    MergeProposal,
    PhoneClaim,
    PhoneLook,
    SegmentChange,
    SegmentMember,
)

STAYING = (
    *(Member, MemberStats, MemberMerge, MergeProposal, PhoneClaim, PhoneLook, AccountMatrix),
    *(SegmentMember, SegmentChange),
)
"""Logs and decisions name the member of their moment; figures are counted by whoever merges; who is in a live segment
is found again by its next refreshing.
"""

NEVER_DELETED = {Activity._meta.db_table}
"""Long tables whose rows a merge only moves: their keys are enough."""

MADE = "+"
"""Stands for the column of a row that the merge made."""

Rows = dict[str, dict[Any, dict[str, Any]]]  # path → key → the row


class MemberTable(NamedTuple):
    """A table whose rows belong to members."""

    name: str
    column: str
    key: str
    label: str | Promise

    @property
    def path(self) -> str:
        return f"{self.name}.{self.column}"


def member_tables(room: str, *, without: Collection[str] = ()) -> list[MemberTable]:
    """The tables of an app whose rows belong to members."""
    found = []
    for model in apps.get_app_config(room).get_models():
        if model in STAYING or model._meta.proxy or hasattr(model, "pgh_tracked_model"):
            continue
        for field in model._meta.concrete_fields:
            if field.related_model is Member and model._meta.db_table not in without:
                key = str(model._meta.pk.column)
                label = model._meta.verbose_name_plural or ""
                found.append(MemberTable(model._meta.db_table, str(field.column), key, label))
    return found


@transaction.atomic
def move_rows(
    *,
    merge_id: int,
    room: str,
    move: Callable[[int, int], object],
    watched: Mapping[str, Collection[str]] | None = None,
    without: Collection[str] = (),
) -> bool:
    """Let a room move its rows of a merged member by `move(kept_id, merged_id)` and keep what moved; False when the
    merge was undone meanwhile and nothing was done.

    `watched`: table → columns that the move also changes in rows of both and that an undo puts back; `without`: tables
    that the room counts again by itself. Locks: advisory on the room and both members; then what `move` locks.
    Idempotent: what is moved already does not move again.
    """
    merge = MemberMerge.objects.get(pk=merge_id)
    _lock(room, merge)
    merge.refresh_from_db(fields=["undone_at"])
    if merge.undone_at is not None:
        return False
    tables = member_tables(room, without=without)
    before = _rows_of(tables, [merge.kept_id, merge.merged_id])
    move(merge.kept_id, merge.merged_id)
    after = _rows_of(tables, [merge.kept_id, merge.merged_id])
    _keep(merge, room, tables, before, after, watched or {})
    onward = MemberMerge.objects.filter(merged=merge.kept_id, undone_at__isnull=True).first()
    if onward is not None:  # its notice may have come before this one
        move_rows(merge_id=onward.pk, room=room, move=move, watched=watched, without=without)
    return True


@transaction.atomic
def return_rows(*, merge_id: int, room: str) -> bool:
    """Bring back what a room moved for a merge that was undone: rows that are still with the kept member; rows that
    the merge deleted are written again. False when there was nothing (any more).

    Locks: advisory on the room and both members. Idempotent on: (merge, room). Raises NotYet while a later merge of
    the kept member is still to be brought back by this room.
    """
    merge = MemberMerge.objects.get(pk=merge_id)
    _lock(room, merge)
    later = MergeMove.objects.filter(
        room=room, merge__merged=merge.kept_id, merge__undone_at__isnull=False, returned_at__isnull=True
    )
    if later.exists():
        raise NotYet(_("A later merge is undone first."))
    moves = list(MergeMove.objects.filter(merge=merge, room=room, returned_at__isnull=True).order_by("-pk"))
    by_path = {table.path: table for table in member_tables(room)}
    for row in moves:
        for path, keys in row.moved.items():
            if path in by_path:
                _give_back(by_path[path], keys, merge.kept_id, merge.merged_id)
        for name, gone in row.gone:
            _write_again(name, gone)
        for path, key, column, old, new in row.changed:
            if path in by_path and column == MADE:
                _drop(by_path[path], key)
            elif path in by_path:
                _put_back(by_path[path], key, column, old, new)
    MergeMove.objects.filter(pk__in=[row.pk for row in moves]).update(returned_at=clock.now())
    return bool(moves)


def _lock(room: str, merge: MemberMerge) -> None:
    for member_id in sorted({merge.kept_id, merge.merged_id}):
        advisory_lock("merge", room, member_id)


def _rows_of(tables: list[MemberTable], member_ids: list[int]) -> Rows:
    found: Rows = {}
    with connection.cursor() as cursor:
        for table in tables:
            if table.name in NEVER_DELETED:  # only of the merged one: the kept one's may be a long history
                what, whose = f"jsonb_build_object('{table.column}', t.{table.column})", member_ids[1:]
            else:
                what, whose = "to_jsonb(t)", member_ids
            cursor.execute(
                f'SELECT t."{table.key}", {what} FROM "{table.name}" t WHERE t."{table.column}" = ANY(%s)',  # noqa: S608
                [whose],
            )
            rows = found.setdefault(table.path, {})
            for key, value in cursor.fetchall():
                rows[key] = json.loads(value) if isinstance(value, str) else value
    return found


def _keep(
    merge: MemberMerge,
    room: str,
    tables: list[MemberTable],
    before: Rows,
    after: Rows,
    watched: Mapping[str, Collection[str]],
) -> None:
    moved: dict[str, list[Any]] = {}
    gone: list[Any] = []
    changed: list[Any] = []
    for table in tables:
        had, has = before[table.path], after[table.path]
        hers = [key for key, row in had.items() if row[table.column] == merge.merged_id]
        if table.name in NEVER_DELETED:
            keys = sorted(set(hers) - set(has))
        else:
            keys = sorted(key for key in hers if key in has and has[key][table.column] == merge.kept_id)
            gone += [[table.name, row] for key, row in sorted(had.items()) if key not in has]
            changed += [
                [table.path, key, MADE, None, None]
                for key, row in has.items()
                if key not in had and row[table.column] == merge.kept_id
            ]
            for column in watched.get(table.name, ()):
                changed += [
                    [table.path, key, column, had[key][column], has[key][column]]
                    for key in sorted(had.keys() & has.keys())
                    if had[key][column] != has[key][column]
                ]
        if keys:
            moved[table.path] = keys
    if moved or gone or changed:
        MergeMove.objects.create(merge=merge, room=room, moved=moved, gone=gone, changed=changed)


def _give_back(table: MemberTable, keys: list[Any], kept_id: int, merged_id: int) -> None:
    """All at once; one by one where a unique key is in the way, and what collides stays with the kept one."""
    update = f'UPDATE "{table.name}" SET "{table.column}" = %s WHERE "{table.key}" = ANY(%s) AND "{table.column}" = %s'  # noqa: S608
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(update, [merged_id, keys, kept_id])
    except IntegrityError:
        for key in keys:
            _try(update, [merged_id, [key], kept_id])


def _write_again(table: str, row: dict[str, Any]) -> None:
    """A row that both had and the merge dropped; nothing when the same stands there again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
            " AND attgenerated = ''",
            [table],
        )
        columns = [name for (name,) in cursor.fetchall() if name in row]
    names = ", ".join(f'"{name}"' for name in columns)
    _try(
        f'INSERT INTO "{table}" ({names}) SELECT {names} FROM jsonb_populate_record(NULL::"{table}", %s::jsonb)'  # noqa: S608
        " ON CONFLICT DO NOTHING",
        [json.dumps(row)],
    )


def _drop(table: MemberTable, key: Any) -> None:
    """A row that the merge made for the kept one."""
    _try(f'DELETE FROM "{table.name}" WHERE "{table.key}" = %s', [key])  # noqa: S608


def _put_back(table: MemberTable, key: Any, column: str, old: Any, new: Any) -> None:
    """A value that the move changed, unless somebody has changed it since."""
    _try(
        f'UPDATE "{table.name}" t SET "{column}" = r."{column}"'  # noqa: S608
        f' FROM jsonb_populate_record(NULL::"{table.name}", %s::jsonb) r'
        f' WHERE t."{table.key}" = %s AND to_jsonb(t)->%s IS NOT DISTINCT FROM %s::jsonb',
        [json.dumps({column: old}), key, column, json.dumps(new)],
    )


def _try(sql: str, params: list[Any]) -> None:
    """A statement that a unique key or a row that went away may refuse: then that row stays as it is."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, params)
    except IntegrityError:
        return
