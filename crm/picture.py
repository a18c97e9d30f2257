"""What other apps add to a member's page: panels of what they know of her, and the names behind "broadcast:3"."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise

Words = str | Promise


@dataclass(frozen=True)
class Cell:
    """One cell of a panel: text, perhaps a link, a smaller second line, and a colour ("good", "bad" or "")."""

    text: Words
    address: str = ""
    note: Words = ""
    state: str = ""


@dataclass(frozen=True)
class Panel:
    """What one app knows of a member. `figures` stand at the top of the page, `rows` in a card of their own."""

    title: Words = ""
    figures: list[tuple[Words, Cell]] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)
    empty: Words = ""
    more: Cell | None = None


PanelOf = Callable[[int, Any], Panel | None]
"""What an app shows of a member to a viewer, who may be bound to her own store's rows."""


@dataclass(frozen=True)
class _Source:
    name: str
    panel: PanelOf
    permission: str
    position: int


@dataclass(frozen=True)
class _Names:
    sql: str
    permission: str
    narrow: Callable[[Any], tuple[str, list[Any]]] | None


_panels: dict[str, _Source] = {}
_names: dict[str, _Names] = {}


def register_panel(name: str, panel: PanelOf, *, permission: str = "", position: int = 100) -> None:
    """Show `panel(member_id, viewer)` on every member's page to who has the permission; called once when an app starts.

    A panel asks at most one or two statements: the whole page has fifteen.
    """
    _panels[name] = _Source(name, panel, permission, position)


def call_subjects(
    prefix: str,
    sql: str,
    *,
    permission: str = "",
    narrow: Callable[[Any], tuple[str, list[Any]]] | None = None,
) -> None:
    """Say how "prefix:ID" is called: a SELECT of id and name with one `%s` for the list of ids; code, never input.

    Told to who has the permission. `narrow(viewer)` gives a condition to add, and its parameters: " AND store = %s"
    for who may see her own store's rows only; ("", []) for who may see all.
    """
    _names[prefix] = _Names(sql, permission, narrow)


def panels_of(member_id: int, *, viewer: Any, only: Collection[str] | None = None) -> list[Panel]:
    """The panels that this viewer may see, in their order; `only` these, by name."""
    wanted = [source for source in _panels.values() if only is None or source.name in only]
    shown = sorted(wanted, key=lambda source: (source.position, source.name))
    found = (
        source.panel(member_id, viewer)
        for source in shown
        if not source.permission or viewer.has_perm(source.permission)
    )
    return [panel for panel in found if panel is not None]


def subject_sources(viewer: Any) -> dict[str, tuple[str, list[Any]]]:
    """Prefix → the statement that names its ids for this viewer, and its parameters after the ids."""
    found: dict[str, tuple[str, list[Any]]] = {}
    for prefix, names in _names.items():
        if not names.permission or viewer.has_perm(names.permission):
            condition, params = names.narrow(viewer) if names.narrow else ("", [])
            found[prefix] = (names.sql + condition, params)
    return found


call_subjects("code", "SELECT id, name FROM crm_channelcode WHERE id = ANY(%s)")
call_subjects("guide", "SELECT id, name FROM crm_staff WHERE id = ANY(%s)")
call_subjects("rule", "SELECT id, name FROM crm_tagrule WHERE id = ANY(%s)")
call_subjects("official", "SELECT id, name FROM wechat_account WHERE id = ANY(%s)")
call_subjects("tag", "SELECT id, name FROM crm_tag WHERE id = ANY(%s)")
call_subjects(
    "user",
    "SELECT id, COALESCE(NULLIF(last_name || first_name, ''), username) FROM auth_user WHERE id = ANY(%s)",
)
