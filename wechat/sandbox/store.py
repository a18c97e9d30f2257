"""State: dictionaries in memory, written behind to one SQLite file.

Handlers change rows without waiting for the disk; what changed is written a few times a second in one
transaction. A killed process loses at most the last moment; a stopped one loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FLUSH_SECONDS = 0.3
as_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
log = logging.getLogger("sandbox.store")


class Table:
    """Rows by key. Call `put` after changing a row in place, so that it is written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[str, Row] = {}
        self.dirty: set[str] = set()

    def get(self, key: str) -> Row | None:
        """The row, or None."""
        return self.rows.get(key)

    def put(self, key: str, row: Row) -> Row:
        """Keep the row and mark it for writing."""
        self.rows[key] = row
        self.dirty.add(key)
        return row

    def delete(self, key: str) -> None:
        """Forget the row, if there is one."""
        if self.rows.pop(key, None) is not None:
            self.dirty.add(key)

    def clear(self) -> None:
        """Forget all rows."""
        self.dirty.update(self.rows)
        self.rows.clear()

    def __iter__(self) -> Iterator[Row]:
        return iter(list(self.rows.values()))

    def __len__(self) -> int:
        return len(self.rows)


class Store:
    """All tables and their file. `path` None keeps everything in memory only."""

    def __init__(self, path: Path | None) -> None:
        self.tables: dict[str, Table] = {}
        self.connection: sqlite3.Connection | None = None
        self._writing = asyncio.Lock()
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self.connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS rows "
            "(tbl TEXT, key TEXT, value TEXT, PRIMARY KEY (tbl, key)) WITHOUT ROWID"
        )

    def table(self, name: str) -> Table:
        """The table of this name, read from the file when it is first asked for."""
        if name not in self.tables:
            table = self.tables[name] = Table(name)
            if self.connection:
                for key, value in self.connection.execute(
                    "SELECT key, value FROM rows WHERE tbl = ?", (name,)
                ):
                    table.rows[key] = json.loads(value)
        return self.tables[name]

    def _take_changes(self) -> list[tuple[str, str, str | None]]:
        changes: list[tuple[str, str, str | None]] = []
        for table in self.tables.values():
            for key in table.dirty:
                row = table.rows.get(key)
                changes.append((table.name, key, None if row is None else as_json(row)))
            table.dirty = set()
        return changes

    def _write(self, changes: list[tuple[str, str, str | None]]) -> None:
        assert self.connection is not None
        self.connection.execute("BEGIN")
        try:
            self.connection.executemany(
                "INSERT INTO rows (tbl, key, value) VALUES (?, ?, ?) "
                "ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value",
                [change for change in changes if change[2] is not None],
            )
            self.connection.executemany(
                "DELETE FROM rows WHERE tbl = ? AND key = ?",
                [change[:2] for change in changes if change[2] is None],
            )
            self.connection.execute("COMMIT")
        except sqlite3.Error:
            self.connection.execute("ROLLBACK")
            raise

    async def flush(self) -> None:
        """Write what changed. The snapshot is taken between two requests, so it is consistent."""
        async with self._writing:
            changes = self._take_changes()
            if not changes or self.connection is None:
                return
            try:
                await asyncio.get_running_loop().run_in_executor(None, self._write, changes)
            except sqlite3.Error:
                log.exception("state was not written; it will be tried again")
                for name, key, _ in changes:
                    self.tables[name].dirty.add(key)

    async def run(self) -> None:
        """Flush for ever."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def close(self) -> None:
        """Write the rest and let go of the file."""
        await self.flush()
        if self.connection:
            self.connection.close()
