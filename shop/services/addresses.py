"""Where parcels go: typed by hand or chosen in WeChat's own picker, saved by the same command."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from core import clock
from core.errors import NotFound
from core.locks import advisory_lock
from shop.errors import BadAddress
from shop.models import Address

MAX_ADDRESSES = 30
_PHONE = re.compile(r"(\+?\d{2,4}-?)?\d{5,15}")
_SPACERS = re.compile(r"[\s()（）]")
_LONGEST: dict[str, int] = {
    name: Address._meta.get_field(name).max_length or 10**6  # type: ignore[union-attr]
    for name in ("receiver", "phone", "province", "city", "district", "street", "postal_code")
}


def _missing(name: str) -> str:
    return {
        "receiver": _("Please enter the receiver's name."),
        "province": _("Please choose the province."),
        "city": _("Please choose the city."),
        "street": _("Please enter street and house number."),
    }[name]


@dataclass(frozen=True)
class AddressInput:
    """An address as a person gave it; `checked` cleans it and says what is missing."""

    receiver: str
    phone: str
    province: str
    city: str
    district: str
    street: str
    postal_code: str = ""

    @classmethod
    def from_wechat(cls, picked: Mapping[str, str]) -> "AddressInput":
        """From the answer of JS-SDK `openAddress` (the district is called `countryName` there, or `countyName`)."""
        return cls(
            receiver=str(picked.get("userName", "")),
            phone=str(picked.get("telNumber", "")),
            province=str(picked.get("provinceName", "")),
            city=str(picked.get("cityName", "")),
            district=str(picked.get("countryName") or picked.get("countyName") or ""),
            street=str(picked.get("detailInfo", "")),
            postal_code=str(picked.get("postalCode", "")),
        )

    def checked(self) -> "AddressInput":
        """The same with spaces trimmed. Raises BadAddress naming every field that is wrong."""
        values = {name: " ".join(str(getattr(self, name)).split()) for name in _LONGEST}
        values["phone"] = _SPACERS.sub("", values["phone"])
        faults = {}
        for name in ("receiver", "province", "city", "street"):
            if not values[name]:
                faults[name] = _missing(name)
        if not _PHONE.fullmatch(values["phone"]):
            faults["phone"] = _("Please enter a phone number under which the courier reaches the receiver.")
        for name, longest in _LONGEST.items():
            if len(values[name]) > longest and name not in faults:
                faults[name] = _("At most %(count)d characters.") % {"count": longest}
        if faults:
            raise BadAddress(faults)
        return AddressInput(**values)

    @property
    def region(self) -> str:
        return " ".join(part for part in (self.province, self.city, self.district) if part)


NOWHERE = AddressInput("", "", "", "", "", "")  # of orders without a parcel


def address_input(address: Address) -> AddressInput:
    return AddressInput(
        receiver=address.receiver,
        phone=address.phone,
        province=address.province,
        city=address.city,
        district=address.district,
        street=address.street,
        postal_code=address.postal_code,
    )


@transaction.atomic
def save_address(
    *, member_id: int, address: AddressInput, address_id: int | None = None, is_default: bool = False
) -> Address:
    """Add an address, or change the one named; the first one becomes the default. An equal one is not added twice.

    Locks: the member's addresses (by name). Idempotent. Raises BadAddress, NotFound.
    """
    values = asdict(address.checked())
    advisory_lock("shop.addresses", member_id)
    mine = Address.objects.filter(member_id=member_id)
    if address_id is not None:
        saved = mine.filter(pk=address_id).first()
        if saved is None:
            raise NotFound(_("This address does not exist any more."))
        for name, value in values.items():
            setattr(saved, name, value)
        saved.used_at = clock.now()
        saved.save(update_fields=[*values, "used_at"])
    else:
        saved = mine.filter(**values).first()
        if saved is None:
            if mine.count() >= MAX_ADDRESSES:
                raise BadAddress({"": _("You have saved many addresses; please delete one first.")})
            saved = Address.objects.create(
                member_id=member_id, **values, is_default=not mine.exists(), used_at=clock.now()
            )
    if is_default and not saved.is_default:
        _make_default(saved)
    return saved


@transaction.atomic
def set_default_address(*, member_id: int, address_id: int) -> Address:
    """Locks: the member's addresses (by name). Idempotent. Raises NotFound."""
    advisory_lock("shop.addresses", member_id)
    address = Address.objects.filter(member_id=member_id, pk=address_id).first()
    if address is None:
        raise NotFound(_("This address does not exist any more."))
    _make_default(address)
    return address


@transaction.atomic
def delete_address(*, member_id: int, address_id: int) -> bool:
    """Forget an address; the one used last becomes the default. Idempotent: False when it was not there."""
    advisory_lock("shop.addresses", member_id)
    mine = Address.objects.filter(member_id=member_id)
    deleted = bool(mine.filter(pk=address_id).delete()[0])
    if deleted and not mine.filter(is_default=True).exists():
        latest = mine.order_by("-used_at", "-pk").first()
        if latest is not None:
            _make_default(latest)
    return deleted


def _make_default(address: Address) -> None:
    Address.objects.filter(member_id=address.member_id, is_default=True).exclude(pk=address.pk).update(
        is_default=False
    )
    Address.objects.filter(pk=address.pk).update(is_default=True)
    address.is_default = True
