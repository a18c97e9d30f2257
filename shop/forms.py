"""What shoppers send, parsed: never trusted, never judged here (the commands do), never a stack trace."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from shop import rules
from shop.address_parsing import parse_address
from shop.errors import BadAddress
from shop.services import AddressInput

_LINE = re.compile(r"([0-9]{1,18}):([0-9]{1,4})")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,64}")
_NUMBER = re.compile(r"[0-9]{1,18}")
FULL_WIDTH = str.maketrans("０１２３４５６７８９＋－　", "0123456789+- ")


def whole_number(text: str | None, otherwise: int = 0) -> int:
    """A non-negative number of at most 18 digits, or the default."""
    cleaned = (text or "").strip().translate(FULL_WIDTH)
    return int(cleaned) if _NUMBER.fullmatch(cleaned) else otherwise


def whole_numbers(texts: Iterable[str]) -> list[int]:
    return [int(text) for text in texts if _NUMBER.fullmatch(text)]


def order_lines(values: QueryDict) -> list[tuple[int, int]]:
    """`line=SKU:QUANTITY`, repeated; what is not of this form is left out. At most as many as an order may have."""
    found = (_LINE.fullmatch(text) for text in values.getlist("line"))
    return [(int(line[1]), int(line[2])) for line in found if line and int(line[2]) >= 1][
        : rules.MAX_LINES + 1
    ]


def order_key(values: QueryDict) -> str:
    """The idempotency key that the form was given; empty when it was tampered with."""
    key = values.get("key", "")
    return key if _KEY.fullmatch(key) else ""


@dataclass
class AddressForm:
    """An address as typed, with what is wrong with each field. Field names are those of `AddressInput`."""

    values: dict[str, str]
    is_default: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    pasted: str = ""
    advice: str = ""

    FIELDS = ("receiver", "phone", "province", "city", "district", "street", "postal_code")

    @classmethod
    def empty(cls) -> "AddressForm":
        return cls(values=dict.fromkeys(cls.FIELDS, ""))

    @classmethod
    def of(cls, saved: Any) -> "AddressForm":
        return cls(values={name: getattr(saved, name) for name in cls.FIELDS}, is_default=saved.is_default)

    @classmethod
    def posted(cls, sent: Mapping[str, str]) -> "AddressForm":
        values = {name: str(sent.get(name, ""))[:400].strip() for name in cls.FIELDS}
        values["phone"] = re.sub(r"[\s-]", "", values["phone"].translate(FULL_WIDTH)).removeprefix("+86")
        return cls(values=values, is_default=bool(sent.get("default")))

    @classmethod
    def pasted_into(cls, sent: Mapping[str, str], text: str) -> "AddressForm":
        """The form as typed, with what could be read from the pasted text over it; nothing is saved."""
        form = cls.posted(sent)
        found = parse_address(text)
        if found.is_empty:
            form.pasted = text[:500]
            form.advice = _("We could not read an address from this. Please fill in the fields below.")
            return form
        form.values.update({name: value for name in cls.FIELDS if (value := getattr(found, name))})
        missing = [
            name for name in ("receiver", "phone", "province", "city", "street") if not form.values[name]
        ]
        form.advice = (
            _("Please add what is still empty, then save.")
            if missing
            else _("Filled in below. Please look it over, then save.")
        )
        return form

    def address(self) -> AddressInput | None:
        """The address when every field is right; otherwise None, and `errors` says what is wrong, field by field."""
        given = AddressInput(**self.values)
        try:
            cleaned = given.checked()
        except BadAddress as refusal:
            self.explain(refusal)
            cleaned = None
        phone = self.values["phone"]
        if phone.startswith("1") and len(phone) != 11 and phone.isdigit():
            self.errors["phone"] = _("A mobile number has 11 digits; this one has %(count)d.") % {
                "count": len(phone)
            }
        return None if self.errors or self.refusal else cleaned

    def explain(self, refusal: BadAddress) -> None:
        self.errors = {name: message for name, message in refusal.fields.items() if name in self.FIELDS}
        if not self.errors:
            self.refusal = refusal.message
