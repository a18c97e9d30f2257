"""The backend that `settings.DATABASES` names.

Django asks every kept connection `SELECT 1` before its first use in a request: a round trip in front of every page. A
server that ends a connection says so in the connection's own socket, which the process can see without asking.
"""

import select
import time
from typing import Any

from django.db.backends.postgresql import base

ASKED_AFTER_SECONDS = 30.0  # idle for so long, a firewall may have dropped it without a word


class DatabaseWrapper(base.DatabaseWrapper):
    _seen_alive = 0.0

    def is_usable(self) -> bool:
        """Whether the connection can be used; the server itself is only asked when there is reason to doubt."""
        if self.connection is None:
            return False
        present = time.monotonic()
        if self._is_silent() and present - self._seen_alive < ASKED_AFTER_SECONDS:
            self._seen_alive = present
            return True
        usable = bool(super().is_usable())
        self._seen_alive = present if usable else 0.0
        return usable

    def _is_silent(self) -> bool:
        """Nothing waits to be read: no farewell, no end of the stream."""
        waiting = select.poll()
        try:
            waiting.register(self.connection.fileno(), select.POLLIN)
        except Exception:  # closed on our side: psycopg2 raises InterfaceError, the kernel ValueError
            return False
        return not waiting.poll(0)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        made = super().get_new_connection(conn_params)
        self._seen_alive = time.monotonic()
        return made
