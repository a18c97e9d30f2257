"""Vouchers that end soon are reminded of once; what became of them stands in the timeline."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps

from core import clock
from core.audits import run_audit
from core.events import deliver_due
from crm.models import Activity, Touch
from crm.services import prepare_months_ahead
from shop import logistics, queries, services
from shop.models import Order, OrderMessage, ServiceRules, Voucher
from tests.shop import builders
from tests.shop.goods import ordered, service
from tests.shop.stores import XINTIANDI, store
from tests.shop.test_recovery import follows, open_window

pytestmark = pytest.mark.django_db


@pytest.fixture
def buyer() -> Any:
    prepare_months_ahead(3)
    return builders.member(openid="o-voucher")


def told() -> list[str]:
    rows = apps.get_model("wechat", "OutboundMessage").objects.filter(origin="shop-voucher").order_by("pk")
    return [row.body.content["text"] for row in rows.select_related("body")]


def daytime(days: int, hours: float = 0) -> Any:
    """The afternoon of a day to come: no quiet hours."""
    return clock.day_start(clock.today()) + timedelta(days=days, hours=14 + hours)


def test_all_pieces_of_a_line_are_reminded_of_once_when_she_can_be_reached(buyer: Any) -> None:
    follows("o-voucher")
    order = builders.pay(ordered(buyer, (service(valid_days=30), 3)))
    services.redeem_voucher(code=Voucher.objects.all()[0].code, store_id=store(XINTIANDI).pk, by="李娜")
    with clock.travel(daytime(22)):
        assert services.remind_of_vouchers() == 0
    with clock.travel(daytime(24)):
        assert services.remind_of_vouchers() == 0  # no open chat, no template: asked again some hours later
        assert set(Voucher.objects.filter(state="unused").values_list("reminder", flat=True)) == {"no_way"}
        open_window("o-voucher")
        assert services.remind_of_vouchers() == 0
    with clock.travel(daytime(24, 6.5)):
        assert (services.remind_of_vouchers(), services.remind_of_vouchers()) == (1, 0)
    (text,) = told()
    assert "还有 2 张" in text
    assert "/vouchers/" in text
    assert Touch.objects.get(origin__startswith="voucher:").member_id == buyer.pk
    assert not Voucher.objects.filter(state="unused", remind_at__isnull=False).exists()
    # More time means another end, of which she is told again.
    left = list(Voucher.objects.filter(state="unused").values_list("pk", flat=True))
    with clock.travel(daytime(25)):
        assert services.extend_vouchers(voucher_ids=left, days=30) == 2
    with clock.travel(daytime(54)):
        apps.get_model("wechat", "ReplyWindow").objects.all().delete()
        open_window("o-voucher")
        assert services.remind_of_vouchers() == 1
    assert len(told()) == 2
    assert order.member_id == buyer.pk


def test_the_rule_may_say_never_and_the_order_asks_for_the_template_while_there_is_something_to_tell(
    buyer: Any,
) -> None:
    ServiceRules.objects.create(voucher_days=0)
    OrderMessage.objects.create(kind=logistics.VOUCHER, subscribe_template="tpl-voucher")
    order = Order.objects.get(pk=builders.pay(ordered(buyer, (service(), 1))).pk)
    voucher = Voucher.objects.get()
    assert voucher.remind_at is None
    assert [template for template, _words in queries.asked_templates(order)] == ["tpl-voucher"]
    services.redeem_voucher(code=voucher.code, store_id=store(XINTIANDI).pk, by="李娜")
    assert queries.asked_templates(order) == []


def test_used_and_expired_vouchers_stand_in_her_timeline_once(buyer: Any) -> None:
    builders.pay(ordered(buyer, (service(valid_days=30), 2)))
    used, gone = Voucher.objects.order_by("number")
    services.redeem_voucher(code=used.code, store_id=store(XINTIANDI).pk, by="李娜")
    with clock.travel(daytime(32)):
        assert (services.expire_vouchers(), services.expire_vouchers()) == (1, 0)
        deliver_due()
    facts = Activity.objects.filter(member=buyer.pk, kind__startswith="voucher_").order_by("at")
    assert [(fact.kind, fact.subject) for fact in facts] == [
        ("voucher_used", f"voucher:{used.pk}"),
        ("voucher_expired", f"voucher:{gone.pk}"),
    ]
    assert all(fact.data["name"] == used.line.product_name for fact in facts)
    assert run_audit()[1] == []
