"""Judging one row of a foreign file of members: what it says, or why it cannot be kept."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from core.errors import Refusal
from core.sheets import moment, without_point

# Reasons that a row alone shows; those that need other rows are in imports_writing.py.
BAD_ROW = "bad_row"
NO_NUMBER = "no_number"
BAD_PHONE = "bad_phone"
BAD_BIRTHDAY = "bad_birthday"
BAD_JOINED = "bad_joined"
BAD_TAGS = "bad_tags"
TOO_MANY_TAGS = "too_many_tags"
BAD_CONSENT = "bad_consent"
BAD_FIELD = "bad_field"

YES = frozenset({"1", "y", "yes", "true", "t", "是", "同意", "已同意", "接受", "有"})
NO = frozenset({"0", "n", "no", "false", "f", "否", "不同意", "未同意", "拒绝", "退订", "无"})
TAG_ENDS = re.compile(r"[,;|、，；]")
LONGEST_TAG = 30
MOST_TAGS = 20
MOST_KEPT = 50_000  # cells of a kind, which come again and again
OLDEST = 1900
# 1985-03-02, 1985/3/2, 1985.03.02, 1985年3月2日, 19850302; a time behind it is not read.
DAY = re.compile(r"(\d{4})[-/.年]?(\d{1,2})[-/.月]?(\d{1,2})(?!\d)")
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
NULL = "\\N"


@dataclass
class Judge:
    """Reads rows by the positions of their columns, and writes them as lines for COPY.

    `phone` cleans a number ("" when it is none), `own` holds for each of the house's fields its position and a reader,
    which answers {column: text} or raises Refusal. `tag_names` and `months` gather what the rows name. No database: it
    may run beside the writing.
    """

    positions: dict[str, int]
    zone: ZoneInfo
    now: datetime
    phone: Callable[[str], str]
    own: dict[int, tuple[int, Callable[[str], dict[str, str]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.width = max([*self.positions.values(), *(place for place, _read in self.own.values())]) + 1
        # Cells as they stand in files → arrays for COPY ("" when they cannot be kept) and the names in them.
        self._tags: dict[str, tuple[str, set[str]]] = {}
        self._days: dict[str, str] = {}  # birthdays likewise
        self._moments: dict[str, tuple[str, tuple[int, int]]] = {}  # and moments, with their months
        self.tag_names: set[str] = set()
        self.months: set[tuple[int, int]] = set()
        self._today = self.now.astimezone(self.zone).date()

    def line(self, row: Sequence[str]) -> tuple[str, ...]:
        """(verdict, reason, external_id, name, phone, birthday, joined_at, tags, consent, consent_at, fields) as COPY
        writes them.
        """
        if len(row) < self.width:
            return self._refused(BAD_ROW)
        place = self.positions.get
        number = without_point(row[self.positions["external_id"]].strip())[:80]
        if not number or "\x00" in number:
            return self._refused(NO_NUMBER)
        name = phone = ""
        birthday = joined_at = tags = consent = consent_at = fields = NULL
        if (at := place("name")) is not None:
            name = _cell(row[at].strip()[:80])
        if (at := place("phone")) is not None and (typed := row[at].strip()):
            phone = self.phone(without_point(typed))
            if not phone:
                return self._refused(BAD_PHONE, number)
        if (at := place("birthday")) is not None and (typed := row[at].strip()):
            birthday = self._days.get(typed) or self._day(typed)
            if not birthday:
                return self._refused(BAD_BIRTHDAY, number)
        if (at := place("joined_at")) is not None and (typed := row[at].strip()):
            joined_at, month = self._moments.get(typed) or self._moment(typed)
            if not joined_at:
                return self._refused(BAD_JOINED, number)
            self.months.add(month)
        if (at := place("tags")) is not None and (typed := row[at].strip()):
            tags, names = self._tags.get(typed) or self._tag_array(typed)
            if not tags:
                return self._refused(BAD_TAGS, number)
            self.tag_names |= names
        if (at := place("consent")) is not None and (typed := row[at].strip().lower()):
            if typed not in YES and typed not in NO:
                return self._refused(BAD_CONSENT, number)
            consent = "t" if typed in YES else "f"
            if (at := place("consent_at")) is not None and (typed := row[at].strip()):
                consent_at, _month = self._moments.get(typed) or self._moment(typed)
                if not consent_at:
                    return self._refused(BAD_CONSENT, number)
        if self.own:
            read = {}
            for key, (position, reader) in self.own.items():
                if typed := row[position].strip():
                    try:
                        read[key] = reader(typed)
                    except Refusal:
                        return self._refused(BAD_FIELD, number)
            if read:
                fields = _cell(json.dumps(read, ensure_ascii=False))
        number = _cell(number)
        return ("waiting", "", number, name, phone, birthday, joined_at, tags, consent, consent_at, fields)

    def _refused(self, reason: str, number: str = "") -> tuple[str, ...]:
        return ("refused", reason, _cell(number), "", "", NULL, NULL, NULL, NULL, NULL, NULL)

    def _day(self, cell: str) -> str:
        """A day that somebody may have been born on, as COPY reads it; "" for what is none."""
        found = DAY.match(cell)
        try:
            day = date(*map(int, found.groups())) if found else date.max
        except ValueError:
            return ""
        text = day.isoformat() if day.year >= OLDEST and day <= self._today else ""
        if len(self._days) < MOST_KEPT:
            self._days[cell] = text
        return text

    def _moment(self, cell: str) -> tuple[str, tuple[int, int]]:
        """A moment that has been, as COPY reads it, and its month; "" for what is none."""
        found = moment(cell, self.zone)
        if found is None or found > self.now:
            return "", (0, 0)
        read = found.isoformat(), (found.year, found.month)
        if len(self._moments) < MOST_KEPT:
            self._moments[cell] = read
        return read

    def _tag_array(self, cell: str) -> tuple[str, set[str]]:
        """ "香水、护肤" → '{"护肤","香水"}' as COPY reads it, and both names."""
        names = {part for one in TAG_ENDS.split(cell) if (part := one.strip())}
        if len(names) > MOST_TAGS or any(len(name) > LONGEST_TAG or "\x00" in name for name in names):
            return "", set()
        quoted = ('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in sorted(names))
        array = _cell("{" + ",".join(quoted) + "}") if names else NULL
        if len(self._tags) < MOST_KEPT:
            self._tags[cell] = array, names
        return array, names


def _cell(text: str) -> str:
    if text.isalnum():  # nothing to escape, as in most
        return text
    return text.translate(_ESCAPES).replace("\x00", "")
