"""What a fact is about ("order:42", "broadcast:3") as a link into the admin, without knowing the rooms above."""

from typing import NamedTuple

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from crm.models import Member


class SubjectLink(NamedTuple):
    label: str
    address: str  # "" when there is no page


# prefix → (word, admin page by id or "", whether the list is searched by the number instead)
PAGES: dict[str, tuple[Promise, str, bool]] = {
    "order": (_("order"), "shop_order", False),
    "product": (_("product"), "shop_product", False),
    "broadcast": (_("broadcast"), "campaigns_broadcast", False),
    "winback": (_("win-back"), "campaigns_winbackrule", False),
    "group": (_("customer group"), "community_group", False),
    "code": (_("channel code"), "crm_channelcode", False),
    "tag": (_("tag"), "crm_tag", False),
    "rule": (_("tag rule"), "crm_tagrule", False),
    "voucher": (_("voucher"), "shop_voucher", False),
    "mall": (_("points exchange"), "shop_mallexchange", False),
    "account": (_("account"), "wechat_account", False),
    "member": (_("member"), "crm_member", False),
    "segment": (_("segment"), "crm_segment", False),
    "snapshot": (_("snapshot"), "crm_segmentsnapshot", False),
    "staff": (_("guide"), "", False),
    "template": (_("template"), "", False),
}

WAYS = dict(Member.WAYS)  # the subject of "became a member"


def subject_link(subject: str) -> SubjectLink:
    if subject in WAYS:
        return SubjectLink(str(WAYS[subject]), "")
    if subject == "api":
        return SubjectLink(str(_("REST interface")), "")
    kind, _colon, number = subject.partition(":")
    if kind not in PAGES or not number:
        return SubjectLink(subject, "")
    word, page, by_search = PAGES[kind]
    label = f"{word} {number[:24]}"
    try:
        if page and (by_search or not number.isdecimal()):
            return SubjectLink(
                label, reverse(f"admin:{page}_changelist") + f"?q={number}" if by_search else ""
            )
        if page:
            return SubjectLink(label, reverse(f"admin:{page}_change", args=[number]))
    except NoReverseMatch:
        pass
    return SubjectLink(label, "")
