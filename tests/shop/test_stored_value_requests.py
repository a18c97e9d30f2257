"""She asks for her stored value back, an operator decides: once, to the fen, and she reads what became of it."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse

from core.audits import run_audit, run_check
from shop import services
from shop.errors import NothingToRefund, WrongState
from shop.models import DirectRefund, StoredValueRequest
from tests.shop import builders
from tests.shop.bank import Bank
from tests.shop.test_points import phone_of
from tests.shop.test_races import at_once
from tests.shop.test_recharge import an_offer, bank, parts, recharged, spend  # noqa: F401  `bank` is a fixture

pytestmark = pytest.mark.django_db


def test_what_is_left_of_all_recharges_goes_back(bank: Bank) -> None:  # noqa: F811
    buyer, other = builders.member(), builders.member("小满")
    with pytest.raises(NothingToRefund):
        services.ask_for_stored_value(member_id=buyer.pk)
    offer = an_offer(10_000, 1_000)
    for _ in range(2):
        recharged(buyer, offer)
    spend(buyer, 5_500)
    row = services.ask_for_stored_value(member_id=buyer.pk, reason="搬家\x00了")
    assert services.ask_for_stored_value(member_id=buyer.pk) == row
    assert (row.asked_fen, row.reason) == (15_000, "搬家了")
    for _ in range(2):
        row = services.pay_stored_value_back(request_id=row.pk, by="小运")
    assert (row.paid_fen, parts(buyer)[0], DirectRefund.objects.count()) == (15_000, 0, 2)
    assert run_audit()[1] == []
    with pytest.raises(WrongState):
        services.decline_stored_value_request(request_id=row.pk, answer="晚了")
    recharged(other, offer)
    asked = services.ask_for_stored_value(member_id=other.pk)
    services.move_member(kept_id=buyer.pk, merged_id=other.pk)
    asked.refresh_from_db()
    assert (asked.member_id, asked.state) == (buyer.pk, "open")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE shop_storedvaluerequest SET paid_fen = 1 WHERE state = 'paid'")
    assert run_check("shop.stored_value_requests_are_paid") != []


@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_pay_once(bank: Bank) -> None:  # noqa: F811
    buyer = builders.member()
    recharged(buyer, an_offer(10_000, 1_000))
    row = services.ask_for_stored_value(member_id=buyer.pk)
    at_once(*[lambda: services.pay_stored_value_back(request_id=row.pk)] * 2)
    assert (DirectRefund.objects.get().amount_fen, StoredValueRequest.objects.get().paid_fen) == (
        10_000,
        10_000,
    )


def test_she_asks_and_operators_answer_by_permission(bank: Bank, client: Client) -> None:  # noqa: F811
    buyer = builders.member()
    phone = phone_of(buyer)
    assert phone.post("/me/balance/back/").status_code == 409
    recharged(buyer, an_offer(10_000, 1_000))
    assert 'data-test="back-ask"' in phone.get("/me/balance/").content.decode()
    for _ in range(2):
        assert phone.post("/me/balance/back/", {"reason": "😀" * 10_000}).status_code == 302
    assert 'data-test="back-open"' in phone.get("/me/balance/?asked=1").content.decode()
    phone.post("/me/balance/back/", {"stay": "1"})
    assert StoredValueRequest.objects.get().state == "withdrawn"
    phone.post("/me/balance/back/")
    row = StoredValueRequest.objects.get(state="open")
    staff = User.objects.create_user("staff", is_staff=True)
    client.force_login(staff)
    staff.user_permissions.add(Permission.objects.get(codename="view_storedvaluerequest"))
    assert "小池" in client.get(reverse("admin:shop_storedvaluerequest_changelist")).content.decode()
    assert (
        "100.00"
        in client.get(reverse("admin:shop_storedvaluerequest_change", args=[row.pk])).content.decode()
    )
    decline = reverse("admin:shop_storedvaluerequest_decline", args=[row.pk])
    pay = reverse("admin:shop_storedvaluerequest_pay_back", args=[row.pk])
    form: dict[str, Any] = {"_form_submitted": "on"}
    client.post(decline, {**form, "answer": "不行"})
    client.post(pay, form)
    row.refresh_from_db()
    assert row.state == "open"
    words = ["change_storedvaluerequest", "add_directrefund", "view_directrefund"]
    staff.user_permissions.add(*Permission.objects.filter(codename__in=words))
    client.post(decline, {**form, "answer": ""})
    client.post(decline, {**form, "answer": "请到门店办理"})
    assert "请到门店办理" in phone.get("/me/balance/").content.decode()
    phone.post("/me/balance/back/")
    again = StoredValueRequest.objects.get(state="open")
    client.post(reverse("admin:shop_storedvaluerequest_pay_back", args=[again.pk]), form)
    again.refresh_from_db()
    assert (again.state, again.paid_fen, again.actor) == ("paid", 10_000, "staff")
    assert "¥100.00 正在退回" in phone.get("/me/balance/").content.decode()  # asked for, and not there yet
    refund = DirectRefund.objects.get()
    services.confirm_direct_refund(
        out_refund_no=refund.out_refund_no, refund_id="5", status="CLOSED", refund_fen=refund.amount_fen
    )
    assert "未能退回 ¥100.00" in phone.get("/me/balance/").content.decode()
