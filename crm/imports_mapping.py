"""Which column of a foreign file of members means what."""

import re
import zoneinfo
from collections.abc import Mapping as Given
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from core.errors import WrongMapping
from crm.models import MemberField

# field → (name for people, header names by which it is recognised)
FIELDS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "external_id": (
        gettext_lazy("Member number"),
        (
            *("memberno", "memberid", "membernumber", "customerid", "customerno", "cardno", "externalid"),
            *("会员号", "会员编号", "会员卡号", "会员id", "卡号", "客户编号", "客户号"),
        ),
    ),
    "name": (
        gettext_lazy("Member name"),
        ("name", "membername", "customername", "nickname", "姓名", "会员姓名", "客户姓名", "昵称"),
    ),
    "phone": (
        gettext_lazy("Phone"),
        ("phone", "mobile", "phonenumber", "tel", "手机", "手机号", "手机号码", "联系电话", "电话"),
    ),
    "birthday": (gettext_lazy("Birthday"), ("birthday", "birthdate", "dateofbirth", "生日", "出生日期")),
    "joined_at": (
        gettext_lazy("Member since"),
        (
            *("joinedat", "membersince", "createdat", "registeredat", "registerdate", "joindate"),
            *("注册时间", "注册日期", "入会时间", "入会日期", "开卡时间", "开卡日期", "加入时间"),
        ),
    ),
    "tags": (gettext_lazy("Tags"), ("tags", "tag", "标签", "会员标签", "客户标签")),
    "consent": (
        gettext_lazy("Agreed to marketing messages"),
        ("consent", "marketingconsent", "optin", "营销同意", "同意营销", "是否同意营销", "接受营销"),
    ),
    "consent_at": (
        gettext_lazy("Answered at"),
        ("consentat", "optinat", "同意时间", "授权时间"),
    ),
}
OWN_FIELD = re.compile(r"field:\d+")


@dataclass(frozen=True)
class Mapping:
    """How to read a file. `columns` is field → header of the file; "field:3" is the house's own member field 3.

    A column may serve twice: a house without numbers gives the phone as the member number.
    """

    columns: dict[str, str]
    time_zone: str = field(default_factory=lambda: settings.TIME_ZONE)
    consent_text: str = ""  # the version of the text that the people of this file have answered to

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def checked(self, header: Sequence[str]) -> "Mapping":
        """Itself, when it fits the file. Raises WrongMapping."""
        own = {name for name in self.columns if OWN_FIELD.fullmatch(name)}
        unknown = [name for name in self.columns if name not in FIELDS and name not in own]
        absent = [column for column in self.columns.values() if column and column not in header]
        if unknown:
            raise WrongMapping(
                _("The mapping names unknown fields: %(names)s.") % {"names": ", ".join(unknown)}
            )
        known = own_fields() if own else {}
        if gone := own - known.keys():
            raise WrongMapping(
                _("The mapping names unknown fields: %(names)s.") % {"names": ", ".join(sorted(gone))}
            )
        if not self.columns.get("external_id"):
            raise WrongMapping(
                _("No column is chosen for the member number; a file without numbers may give the phone.")
            )
        if absent:
            raise WrongMapping(_("The file has no column %(names)s.") % {"names": ", ".join(absent)})
        if self.columns.get("consent") and not self.consent_text.strip():
            raise WrongMapping(_("Say to which text these people agreed, or choose no column for it."))
        if len(self.consent_text) > 40:
            raise WrongMapping(_("The version of the text has at most 40 characters."))
        if self.time_zone not in zoneinfo.available_timezones():
            raise WrongMapping(_("%(zone)s is not a time zone.") % {"zone": self.time_zone})
        return self


def own_fields() -> dict[str, MemberField]:
    """ "field:3" → the member field 3, of those that are switched on."""
    return {f"field:{one.pk}": one for one in MemberField.objects.filter(is_active=True)}


def from_json(given: Given[str, Any]) -> Mapping:
    """A mapping from a file or a form: {"columns": {…}, "time_zone": "…", …}. Raises WrongMapping."""
    known = {one.name for one in fields(Mapping)}
    columns = given.get("columns") if isinstance(given, dict) else None
    if (
        not isinstance(columns, dict)
        or set(given) - known
        or not all(isinstance(column, str) for column in columns.values())
        or not all(isinstance(given.get(name, ""), str) for name in ("time_zone", "consent_text"))
    ):
        raise WrongMapping(
            _("A mapping is an object with columns and, if need be: %(names)s.")
            % {"names": ", ".join(sorted(known - {"columns"}))}
        )
    return Mapping(**given)


def detect(header: Sequence[str]) -> Mapping:
    """The best guess from the names of the columns. Without a column of numbers the phone is the number."""
    columns: dict[str, str] = {}
    wanted = {name: known for name, (_label, known) in FIELDS.items()}
    wanted |= {name: (_plain(one.name),) for name, one in own_fields().items()}
    for name, known in wanted.items():
        for column in header:
            if _plain(column) in known and column not in columns.values():
                columns[name] = column
                break
    if "external_id" not in columns and "phone" in columns:
        columns["external_id"] = columns["phone"]
    return Mapping(columns=columns)


def _plain(text: str) -> str:
    return re.sub(r"[\s_\-]", "", text).lower()
