"""What other apps add to a member's page: panels of what they know of her, and the names behind "broadcast:3"."""

from collections.abc import Callable
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class _Source:
    name: str
    panel: Callable[[int], Panel | None]
    permission: str
    position: int


_panels: dict[str, _Source] = {}
_names: dict[str, str] = {}


def register_panel(
    name: str, panel: Callable[[int], Panel | None], *, permission: str = "", position: int = 100
) -> None:
    """Show `panel(member_id)` on every member's page to who has the permission; called once when an app starts.

    A panel asks at most one or two statements: the whole page has fifteen.
    """
    _panels[name] = _Source(name, panel, permission, position)


def call_subjects(prefix: str, sql: str) -> None:
    """Say how "prefix:ID" is called: a SELECT of id and name with one `%s` for the list of ids; code, never input."""
    _names[prefix] = sql


def panels_of(member_id: int, *, allows: Callable[[str], bool]) -> list[Panel]:
    """The panels that this viewer may see, in their order."""
    shown = sorted(_panels.values(), key=lambda source: (source.position, source.name))
    found = (
        source.panel(member_id) for source in shown if not source.permission or allows(source.permission)
    )
    return [panel for panel in found if panel is not None]


def subject_sources() -> dict[str, str]:
    """Prefix → the statement that names its ids."""
    return dict(_names)


call_subjects("code", "SELECT id, name FROM crm_channelcode WHERE id = ANY(%s)")
call_subjects("rule", "SELECT id, name FROM crm_tagrule WHERE id = ANY(%s)")
call_subjects("tag", "SELECT id, name FROM crm_tag WHERE id = ANY(%s)")
call_subjects(
    "user",
    "SELECT id, COALESCE(NULLIF(last_name || first_name, ''), username) FROM auth_user WHERE id = ANY(%s)",
)
