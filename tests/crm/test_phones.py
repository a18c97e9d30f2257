"""A member gives her phone: a code goes there, or she only writes it; neither is free to be tried for ever."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from core import clock
from core.audits import run_check
from core.secrets import keyed_digest
from crm import services, sessions, sms
from crm.errors import PhoneBelongsToAnother, TooManyCodes, WrongCode, WrongPhone
from crm.models import Earning, Identity, Member, MergeProposal, PhoneClaim, PointsRules
from tests.crm.test_people import race
from tests.crm.test_points_tasks import a_task

PHONE, MASKED = "13800005678", "138****5678"


class Kept:
    """A sender that keeps what it was given."""

    sent: ClassVar[list[dict[str, Any]]] = []
    fails: ClassVar[bool] = False

    def send_code(self, **message: Any) -> None:
        if Kept.fails:
            raise sms.NotSent("out_of_money")
        Kept.sent.append(message)


@pytest.fixture
def codes(settings: Any) -> list[dict[str, Any]]:
    settings.SMS_PROVIDER = "tests.crm.test_phones.Kept"
    Kept.sent, Kept.fails = [], False
    return Kept.sent


@pytest.fixture
def she(follower: Callable[..., Member]) -> Member:
    return follower()


def logged_in(client: Client, member: Member) -> Client:
    response = HttpResponse()
    sessions.log_in(response, member)
    client.cookies[sessions.COOKIE] = response.cookies[sessions.COOKIE].value
    return client


def code_for(member: Member, phone: str = PHONE) -> str:
    services.ask_for_code(member_id=member.pk, phone=phone)
    services.send_phone_codes()
    return str(Kept.sent[-1]["code"])


def test_she_types_the_code_that_came_and_gets_her_points_once(
    client: Client, she: Member, codes: list[dict[str, Any]], morning: datetime, capsys: Any
) -> None:
    PointsRules.objects.create()
    a_task("phone", 30)
    her = logged_in(client, she)
    assert "发送验证码" in her.get("/me/phone/").content.decode()
    assert her.post("/me/phone/", {"phone": "下次再说😀" * 1000}).status_code == 400
    her.post("/me/phone/", {"phone": "+86 138-0000-5678"})
    assert services.send_phone_codes() == 1
    assert services.send_phone_codes() == 0
    (message,) = codes
    assert (message["phone"], message["minutes"]) == (PHONE, 10)
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(c)::text FROM crm_phoneclaim c")
        stored = cursor.fetchone()[0]
    assert PHONE not in stored
    assert message["code"] not in stored

    wrong = "000000" if message["code"] != "000000" else "111111"
    refused = her.post("/me/phone/confirm/", {"code": wrong})
    assert refused.status_code == 400
    assert MASKED in refused.content.decode()
    assert PHONE not in refused.content.decode()
    assert her.post("/me/phone/confirm/", {"code": "12345😀"}).status_code == 400
    assert not Identity.objects.filter(kind="phone").exists()
    assert PhoneClaim.objects.get().tries == 1
    shown = her.post("/me/phone/confirm/", {"code": message["code"]}, follow=True).content.decode()
    assert MASKED in shown
    assert PHONE not in shown
    phone = Identity.objects.get(kind="phone")
    assert (phone.value, phone.is_verified, phone.source) == (PHONE, True, "code")
    assert her.post("/me/phone/confirm/", {"code": message["code"]}).status_code == 400, "a code works once"
    assert (PhoneClaim.objects.get().phone, [one.given for one in Earning.objects.all()]) == ("", [30])

    other = services.member_for_import(source="pos", external_id="1")
    assert logged_in(Client(), other).post("/me/phone/drop/", {"identity": phone.pk}).status_code == 302
    assert Identity.objects.filter(pk=phone.pk).exists(), "nobody removes another's number"
    her.post("/me/phone/drop/", {"identity": phone.pk})
    assert not Identity.objects.filter(kind="phone").exists()
    with clock.travel(morning + timedelta(hours=1)):
        services.confirm_phone(member_id=she.pk, code=code_for(she))
    assert Earning.objects.count() == 1, "given again it brings nothing"
    assert PHONE not in "".join(capsys.readouterr())


def test_without_a_sender_a_number_is_only_written_and_merges_nobody(
    client: Client, she: Member, settings: Any, morning: datetime
) -> None:
    settings.SMS_PROVIDER = ""
    other = services.member_for_import(source="pos", external_id="1")
    services.give_phone(member_id=other.pk, phone=PHONE, verified=True)
    PointsRules.objects.create()
    a_task("phone", 30)
    her = logged_in(client, she)
    her.post("/me/phone/", {"phone": "13800000001"})
    with clock.travel(morning + timedelta(minutes=2)):
        shown = her.post("/me/phone/", {"phone": PHONE}, follow=True).content.decode()
        assert MASKED in shown
        assert "138****0001" not in shown, "the newer takes the place of the older"
        her.post("/me/phone/", {"phone": PHONE})  # known already: nothing new
    phone = Identity.objects.get(member=she, kind="phone")
    assert (phone.is_verified, phone.source, Earning.objects.count()) == (False, "typed", 1)
    assert Member.objects.filter(merged_into=None).count() == 2
    assert MergeProposal.objects.count() == 1
    assert PhoneClaim.objects.count() == 2


def test_codes_are_limited_for_her_and_for_the_number(
    she: Member, codes: list[dict[str, Any]], morning: datetime
) -> None:
    other = services.member_for_import(source="pos", external_id="1")
    with pytest.raises(WrongPhone):
        services.ask_for_code(member_id=she.pk, phone="12")
    code = code_for(she)
    for member, phone in ((she, "13800000001"), (other, PHONE)):
        with pytest.raises(TooManyCodes, match="秒"):
            services.ask_for_code(member_id=member.pk, phone=phone)
    for left in (4, 3, 2, 1, 0):
        with pytest.raises(WrongCode, match=f"{left} 次" if left else "重新获取"):
            services.confirm_phone(member_id=she.pk, code=f"{(int(code) + 1 + left) % 1_000_000:06d}")
    with pytest.raises(WrongCode):
        services.confirm_phone(member_id=she.pk, code=code)
    for turn in range(1, 5):
        with clock.travel(morning + timedelta(minutes=2 * turn)):
            code = code_for(she, PHONE if turn % 2 else "13800000001")
    with clock.travel(morning + timedelta(minutes=10)), pytest.raises(TooManyCodes):
        services.ask_for_code(member_id=she.pk, phone="13800000002")
    with clock.travel(morning + timedelta(minutes=18, seconds=1)), pytest.raises(WrongCode):
        services.confirm_phone(member_id=she.pk, code=code)
    with clock.travel(morning + timedelta(minutes=20)):
        for number in range(2):  # three were hers
            name = services.member_for_import(source="pos", external_id=f"n-{number}")
            PhoneClaim.objects.filter(member=name).delete()
            with clock.travel(morning + timedelta(minutes=20 + number * 2)):
                services.ask_for_code(member_id=name.pk, phone=PHONE)
    with clock.travel(morning + timedelta(minutes=30)), pytest.raises(TooManyCodes):
        services.ask_for_code(member_id=other.pk, phone=PHONE)
    with clock.travel(morning + timedelta(days=1)):
        services.ask_for_code(member_id=other.pk, phone=PHONE)
    assert {one.state for one in PhoneClaim.objects.filter(member=she).order_by("-pk")[1:]} == {"over"}


def test_what_could_not_be_sent_is_told_and_what_is_over_is_forgotten(
    client: Client, she: Member, codes: list[dict[str, Any]], morning: datetime
) -> None:
    Kept.fails = True
    services.ask_for_code(member_id=she.pk, phone=PHONE)
    for seconds in (0, 10, 30, 60):
        with clock.travel(morning + timedelta(seconds=seconds)):
            services.send_phone_codes()
    claim = PhoneClaim.objects.get()
    assert (claim.attempts, claim.error, claim.code, codes) == (3, "out_of_money", "", [])
    assert "发送失败" in logged_in(client, she).get("/me/phone/").content.decode()
    with clock.travel(morning + timedelta(hours=2)):
        assert [found.subject for found in run_check("crm.phone_claims")] == [f"claim {claim.pk}"]
        assert services.close_phone_claims() == 1
        assert run_check("crm.phone_claims") == []
    assert PhoneClaim.objects.get().phone == ""
    with clock.travel(morning + timedelta(days=3)):
        assert services.close_phone_claims() == 1
    assert not PhoneClaim.objects.exists()


def test_a_number_of_another_wechat_person_is_refused(
    she: Member, follower: Callable[..., Member], codes: list[dict[str, Any]], morning: datetime
) -> None:
    services.give_phone(member_id=follower("o-2").pk, phone=PHONE, verified=True)
    code = code_for(she)
    with pytest.raises(PhoneBelongsToAnother):
        services.confirm_phone(member_id=she.pk, code=code)
    assert PhoneClaim.objects.get().state == "over"
    assert not Identity.objects.filter(member=she, kind="phone").exists()


@pytest.mark.django_db(transaction=True)
def test_many_at_once_have_no_more_claims_and_tries_than_one(
    she: Member, codes: list[dict[str, Any]], morning: datetime
) -> None:
    other = services.member_for_import(source="pos", external_id="1")
    raised = race(
        *[
            lambda member=member, phone=phone: services.ask_for_code(member_id=member.pk, phone=phone)
            for member, phone in ((she, PHONE), (she, "13800000001"), (she, PHONE), (other, PHONE))
        ]
    )
    assert {type(one) for one in raised} == {TooManyCodes}
    assert len(raised) >= 2, "she has one, and the number has one"
    PhoneClaim.objects.all().delete()
    code = code_for(she)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    guess = lambda: services.confirm_phone(member_id=she.pk, code=wrong)  # noqa: E731
    assert {type(one) for one in race(*[guess] * 7)} == {WrongCode}
    assert PhoneClaim.objects.get().tries == 5
    PhoneClaim.objects.update(tries=0)
    twice = race(*[lambda: services.confirm_phone(member_id=she.pk, code=code)] * 3)
    assert [type(one) for one in twice] == [WrongCode] * 2
    assert PhoneClaim.objects.get().digest == keyed_digest(PHONE)
