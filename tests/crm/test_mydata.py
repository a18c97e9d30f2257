"""A member sees, corrects, takes along, withdraws and erases what is kept about her; the house sees the deadline."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.files.base import ContentFile
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from core import audits, clock, ledger
from core.events import deliver_due
from crm import queries, services, sessions
from crm.errors import CannotErase
from crm.models import (
    Activity,
    Consent,
    DataRequest,
    Identity,
    Member,
    MemberDay,
    MemberField,
    MemberFieldValue,
    MemberImport,
    MemberImportLine,
    MemberTag,
    PhoneLook,
    RetentionRule,
    SegmentMember,
    Tag,
    TagGroup,
    TagRule,
)
from crm.queries import segments_shown
from shop import services as shop_services
from shop.models import Address, CouponGrant, ImportLine, ImportRun, Order, Review
from tests.crm.test_people import race
from tests.databases import somebody_waits
from tests.shop import builders, instruments
from wechat import services as wechat_services
from wechat.models import Account, Notice, OutboundMessage, ReplyWindow


@pytest.fixture
def she(follower: Callable[..., Member], tag: Callable[[str], Any]) -> Member:
    """A member with all that is kept about somebody."""
    with clock.travel(clock.now() - timedelta(days=1)):
        member = follower("o-her-own-address", name="林小雅", at=clock.now())
        services.give_phone(member_id=member.pk, phone="13800000001", verified=True)
        services.add_tags(member_ids=[member.pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
        services.give_consent(
            member_id=member.pk, purpose="marketing", channel="page", text_version="2026-11"
        )
        services.record_activity(member_id=member.pk, kind="visited", at=clock.now())
    return member


@pytest.fixture
def her(client: Client, she: Member) -> Client:
    response = HttpResponse()
    sessions.log_in(response, she)
    client.cookies[sessions.COOKIE] = response.cookies[sessions.COOKIE].value
    return client


def audit() -> list[Any]:
    return [finding for name, _label in audits.check_names() for finding in audits.run_check(name)]


def bought(member: Member) -> Order:
    order = builders.pay(builders.order(member, (builders.sku(), 1)))
    Order.objects.filter(pk=order.pk).update(
        status=Order.RECEIVED, received_at=clock.now(), shipped_at=clock.now()
    )
    while deliver_due():
        pass
    return order


@pytest.mark.django_db
def test_she_sees_corrects_takes_along_and_withdraws(her: Client, she: Member) -> None:
    TagGroup.objects.update(is_shown_to_members=True)
    shown = her.get(reverse("crm:my_data")).content.decode()
    for words in ("林小雅", "138****0001", "玫瑰", "o-he…ress", "2026-11"):
        assert words in shown
    assert "13800000001" not in shown

    address = reverse("crm:my_data_correct")
    assert her.post(address, {"name": " 林  雅 ", "birthday": "1990-02-28"}).status_code == 302
    she.refresh_from_db()
    assert (she.name, she.birthday) == ("林 雅", date(1990, 2, 28))
    for name, birthday in (("雅" * 10_000, ""), ("\x07", ""), ("雅", "2999-01-01"), ("雅", "1990-02-30")):
        answer = her.post(address, {"name": name, "birthday": birthday})
        assert answer.status_code == 400
        assert 'role="alert"' in answer.content.decode()
    she.refresh_from_db()
    assert (she.name, she.birthday) == ("林 雅", date(1990, 2, 28))

    lunar = {
        "name": "林 雅",
        "birthday": "1990-02-28",
        "lunar_month": "8",
        "lunar_day": "15",
        "lunar_leap": "",
    }
    for wrong in ({"lunar_month": "13"}, {"lunar_day": "31"}, {"lunar_day": ""}, {"lunar_month": "😀"}):
        assert her.post(address, {**lunar, **wrong}).status_code == 400
    assert her.post(address, lunar).status_code == 302
    assert 'value="15" selected' in her.get(reverse("crm:my_data")).content.decode()
    services.fold_devices()
    file = her.post(reverse("crm:my_data_export"))
    assert "attachment" in file["Content-Disposition"]
    taken = json.loads(file.content)
    assert taken["member"]["name"] == "林 雅"
    assert "13800000001" in [one["value"] for one in taken["identities"]]
    kept = taken["days"][0]
    assert (kept["calendar"], kept["month"], kept["day"]) == ("lunar", 8, 15)
    assert {"seen_of_her", "judged_of_her", "aipl", "tasks"} <= set(taken)
    assert her.post(address, {**lunar, "lunar_month": "", "lunar_day": ""}).status_code == 302
    assert not MemberDay.objects.exists()
    assert {"orders", "addresses", "balances", "messages", "groups", "timeline", "tags"} <= set(taken)

    her.post(reverse("crm:my_data_withdraw"), {"purpose": "marketing"})
    nothing = her.post(reverse("crm:my_data_withdraw"), {"purpose": "everything"})
    assert nothing["Location"] == reverse("crm:my_data"), "nothing was withdrawn, and it does not say so"
    newest = Consent.objects.order_by("-pk")[0]
    assert (newest.is_given, newest.channel, newest.text_version) == (False, "page", "2026-11")
    assert list(DataRequest.objects.order_by("pk").values_list("kind", "state")) == [
        ("correct", "done"),
        ("correct", "done"),
        ("export", "done"),
        ("correct", "done"),
        ("withdraw", "done"),
    ]
    assert Client().get(reverse("crm:my_data")).status_code == 302


@pytest.mark.django_db
def test_what_stands_in_the_way_is_said_and_she_may_change_her_mind(her: Client, she: Member) -> None:
    order = builders.pay(builders.order(she, (builders.sku(), 1)))
    address = reverse("crm:my_data_erase")
    assert order.number in her.get(address).content.decode()
    refused = her.post(address, {"understood": "yes"})
    assert refused.status_code == 409
    Order.objects.filter(pk=order.pk).update(status=Order.RECEIVED)
    assert her.post(address, {}).status_code == 400
    assert not DataRequest.objects.exists()
    for _twice in range(2):
        assert her.post(address, {"understood": "yes"}).status_code == 302
    row = DataRequest.objects.get()
    assert row.acts_at is not None
    assert f"{clock.local(row.acts_at):%Y-%m-%d}" in her.get(reverse("crm:my_data")).content.decode()
    her.post(address, {"stay": "1"})
    assert DataRequest.objects.get().state == "taken_back"
    with clock.travel(timedelta(days=8)):
        assert services.erase_due() == 0
    she.refresh_from_db()
    assert she.name == "林小雅"


@pytest.mark.django_db
def test_an_erasure_forgets_the_person_and_keeps_the_books(
    her: Client, she: Member, brand: Account, django_capture_on_commit_callbacks: Any
) -> None:
    order = bought(she)
    Address.objects.create(
        member=she,
        receiver="林小雅",
        phone="13800000001",
        province="上海市",
        city="上海市",
        street="延平路 1 号",
        used_at=clock.now(),
    )
    ReplyWindow.objects.create(
        account=brand,
        openid="o-her-own-address",
        trigger="message",
        opened_at=clock.now(),
        expires_at=clock.now() + timedelta(days=2),
        remaining=5,
    )
    for number, content in enumerate(["<F><![CDATA[o-her-own-address]]></F>", "<F>o-her-own-address2</F>"]):
        Notice.objects.create(
            **{"account": brand, "topic": "text", "body": b"x", "content": content, "status": "done"},
            **{"fingerprint": uuid.UUID(int=number), "received_at": clock.now()},
            **{"last_received_at": clock.now(), "next_attempt_at": clock.now()},
        )
    ledger.transfer(
        cause="gift",
        debit=ledger.open_account(kind="points.issued", owner_id=0),
        credit=ledger.open_account(kind="points", owner_id=she.pk),
        amount=120,
    )
    services.earn(
        member_id=she.pk,
        cause="order:0",
        source="order",
        points=30,
        growth=50,
        due_at=clock.now() + timedelta(days=15),
    )
    coupon = instruments.coupon()
    shop_services.grant_coupon(coupon_id=coupon.pk, member_id=she.pk, key="test")
    Member.objects.filter(pk=she.pk).update(note="喜欢玫瑰")  # leaves a line in the edit history
    field = MemberField.objects.create(name="肤质")
    services.set_fields(member_id=she.pk, values={field.pk: "很敏感"})
    services.save_tag_rule(
        rule=TagRule(name="买过", tag=Tag.objects.get(), kind=TagRule.SPEND, amount_fen=1, is_active=True)
    )
    line = order.lines.get()
    review = Review.objects.create(
        line=line,
        product_id=line.sku.product_id,
        member=she,
        stars=5,
        text="我家住延平路",
        written_at=clock.now(),
    )
    files = brought_in(she)
    wechat_services.enqueue_message(
        **{"account_id": brand.pk, "channel": "template", "to": "o-her-own-address", "origin": "test"},
        **{"body": {"kind": "text", "text": "你好"}, "origin_id": 1},
    )
    OutboundMessage.objects.update(state=OutboundMessage.SENT, vars={"name": "林小雅"})
    known = audit()  # of an order received without a parcel, of lines without one
    assert len(places_naming(HER_WORDS)) > 8
    taken = services.personal_data(she.pk)
    assert (taken["voices"]["reviews"][0]["text"], taken["fields"][0]["value"]) == ("我家住延平路", "很敏感")
    assert (taken["member"]["note_of_the_shop"], sum(one["frozen"] for one in taken["earned"])) == (
        "喜欢玫瑰",
        30,
    )
    assert taken["balances"]["points_movements"][-1]["points"] == 120
    payer = taken["orders"][0]["payments"][0]["openid"]
    assert payer not in ("", "erased")
    assert "120" in her.get(reverse("crm:my_data_erase")).content.decode()
    her.post(reverse("crm:my_data_erase"), {"understood": "yes"})
    assert services.erase_due() == 0, "she has seven days"
    with clock.travel(timedelta(days=7, minutes=1)):
        with django_capture_on_commit_callbacks(execute=True):
            assert services.erase_due() == 1
        assert services.erase_due() == 0

    assert places_naming(HER_WORDS) == []
    assert [file.storage.exists(file.name) for file in files] == [False, False]
    kept = ImportLine.objects.get()
    assert (kept.price, kept.quantity, kept.order_number) == (9_900, 1, "A-1"), "the books stay"
    she.refresh_from_db()
    assert (she.name, she.note, she.birthday, she.erased_at is None) == ("", "", None, False)
    for model in (Identity, MemberTag, Address):
        assert not model.objects.filter(member=she).exists()
    assert not ReplyWindow.objects.filter(openid="o-her-own-address").exists()
    assert not OutboundMessage.objects.filter(to="o-her-own-address").exists()
    assert [one.content for one in Notice.objects.all()] == ["<F>o-her-own-address2</F>"]
    order.refresh_from_db()
    assert (order.receiver, order.phone, order.street) == ("", "", "")
    assert order.paid_fen == 9_900
    assert set(order.payments.values_list("openid", flat=True)) == {"erased"}
    assert ledger.balance_of(kind="points", owner_id=she.pk) == 0
    assert ledger.balance_of(kind="points.erased", owner_id=0) == 120
    for kind in ("points.frozen", "growth"):
        assert ledger.balance_of(kind=kind, owner_id=she.pk) == 0
    assert CouponGrant.objects.get().state == CouponGrant.REVOKED
    assert set(Activity.objects.filter(member=she).values_list("kind", flat=True)) <= {
        *("ordered", "paid", "shipped", "refunded", "cancelled"),
    }
    history = {getattr(model, "pgh_tracked_model", None): model for model in apps.get_models()}
    assert not history[Member]._default_manager.filter(pgh_obj=she.pk).exists(), "edits name her too"
    assert not history[MemberFieldValue]._default_manager.filter(member=she.pk).exists()
    review.refresh_from_db()
    assert (review.text, review.stars, review.is_anonymous) == ("", 5, True)
    services.run_tag_rules()
    assert not MemberTag.objects.filter(member=she).exists(), "no rule tags whom nobody knows"
    assert DataRequest.objects.get().result["orders"] == 1
    assert her.get(reverse("crm:my_data")).status_code == 302, "she is logged out"
    with clock.travel(timedelta(days=8)):
        assert services.member_for_openid(account_id=brand.pk, openid="o-her-own-address").pk != she.pk
    assert audit() == known, "nothing that was sound is broken"
    with connection.cursor() as cursor:
        cursor.execute("UPDATE crm_member SET name = '林小雅' WHERE id = %s", [she.pk])
    assert [finding.check for finding in audits.run_check("crm.erasures")] == ["crm.erasures"]


HER_WORDS = ("林小雅", "13800000001", "o-her-own-address", "KH-770077", "延平路", "喜欢玫瑰", "很敏感")


def brought_in(member: Member) -> list[Any]:
    """She came by two files too; theirs."""
    Identity.objects.create(member=member, kind="import", value="pos:KH-770077", created_at=clock.now())
    orders = ImportRun.objects.create(
        source="pos", created_at=clock.now(), file=ContentFile("KH-770077", name="orders.csv")
    )
    members = MemberImport.objects.create(
        source="pos", created_at=clock.now(), file=ContentFile("KH-770077,林小雅", name="members.csv")
    )
    ImportLine.objects.create(
        **{"run": orders, "number": 1, "source": "pos", "kind": "goods", "verdict": "imported"},
        **{"order_number": "A-1", "customer": "KH-770077", "quantity": 1, "price": 9_900},
    )
    MemberImportLine.objects.create(
        run=members, number=1, verdict="skipped", reason="already_there", external_id="KH-770077"
    )
    return [orders.file, members.file]


def places_naming(words: Sequence[str]) -> list[str]:
    """Tables of the whole database in which one of the words stands in some column, as a whole word."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
            " AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        tables = [name for (name,) in cursor.fetchall()]
        named = []
        for table in tables:
            asked = f"SELECT FROM {table} t WHERE t::text ~ word"
            asked = f"SELECT word FROM unnest(%s::text[]) word WHERE EXISTS ({asked})"
            cursor.execute(asked, [[rf"(^|[^[:alnum:]]){word}($|[^[:alnum:]])" for word in words]])
            named += [f"{table}: {word}" for (word,) in cursor.fetchall()]
    return named


TAKEN = {
    "crm_phoneclaim": "phone_claims",
    **{"crm_identity": "identities", "crm_consent": "consents", "crm_membertag": "tags"},
    **{"crm_memberfieldvalue": "fields", "crm_memberday": "days", "crm_membertraits": "seen_of_her"},
    **{"crm_memberstats": "figures", "crm_memberlife": "judged_of_her", "crm_rfmmember": "rfm_by_month"},
    **{"crm_memberaipl": "aipl", "crm_membertier": "tier", "crm_tierchange": "tier_changes"},
    **{"crm_membership": "memberships", "crm_channelscan": "codes", "crm_earning": "earned"},
    **{"crm_pointsadjustment": "adjusted", "crm_signin": "sign_ins", "crm_pointstaskrun": "tasks"},
    **{"crm_touch": "touches", "crm_datarequest": "requests", "crm_phonelook": "looks_at_her_phone"},
    **{"crm_activity": "timeline", "shop_order": "orders", "shop_address": "addresses"},
    **{"shop_cartline": "wishes.cart", "shop_favourite": "wishes.favourites", "shop_stocknotice": "wishes.notices"},
    **{"shop_offerwaiting": "wishes.waiting_lists", "shop_offertake": "wishes.offers"},
    **{"shop_funnelstep": "wishes.steps", "shop_mallexchange": "exchanges"},
    **{"shop_coupongrant": "balances.coupons_given", "shop_giftcard": "balances.gift_cards"},
    **{"shop_directpayment": "balances.payments", "shop_storedvaluerequest": "balances.requests"},
    **{"shop_storedvaluecredit": "balances.stored_value_movements", "shop_review": "voices.reviews"},
    **{"shop_question": "voices.questions", "shop_booking": "voices.bookings", "shop_queueticket": "voices.queues"},
    **{"community_groupmember": "groups", "campaigns_broadcastrecipient": "messages"},
}  # fmt: skip
"""Table → where its rows stand in a member's copy."""

LEFT_OUT = {
    *("crm_segmentmember", "crm_segmentchange", "crm_membergroup", "crm_pointstaskstep"),  # derived from the rest
    *("crm_membermerge", "crm_mergeproposal"),  # how the house came to know
    *("shop_offertally", "shop_producttally", "shop_tally", "shop_giftcardguess"),  # counts that guard limits
    *("campaigns_winbackspell", "community_group", "crm_member"),
}  # fmt: skip


@pytest.mark.django_db
def test_her_copy_names_every_table_that_keeps_something_about_her(she: Member) -> None:
    copy = services.personal_data(she.pk)
    hers = {
        model._meta.db_table
        for model in apps.get_models()
        for field in model._meta.concrete_fields
        if field.related_model is Member and not model._meta.proxy and not hasattr(model, "pgh_tracked_model")
    }
    assert hers - set(TAKEN) - LEFT_OUT == set(), "a new table: take it along, or say why not"
    for path in TAKEN.values():
        place: Any = copy
        for name in path.split("."):
            place = place[name]


@pytest.mark.django_db(transaction=True)
def test_an_erasure_and_a_checkout_at_the_same_moment_wait_for_each_other_in_one_order(
    she: Member, brand: Account
) -> None:
    sku, coupon = builders.sku(stock=9), instruments.coupon()
    shop_services.grant_coupon(coupon_id=coupon.pk, member_id=she.pk, key="test")
    request = services.ask_to_erase(member_id=she.pk)
    is_held = threading.Event()

    def checkout() -> None:
        """As placing an order does: her coupon first, then a row that names her."""
        with transaction.atomic():
            list(CouponGrant.objects.select_for_update().filter(member=she))
            is_held.set()
            until_somebody_waits()
            services.record_activity(member_id=she.pk, kind="visited", at=clock.now())

    def erase() -> None:
        is_held.wait(20)  # the coupon is hers first: it is the erasure that waits
        services.erase_member(request_id=request.pk)

    assert race(checkout, erase) == []
    assert DataRequest.objects.get().state == DataRequest.DONE
    assert not Activity.objects.filter(member=she, kind="visited").exists()

    for number in range(3):
        other = services.member_for_openid(account_id=brand.pk, openid=f"o-{number}")
        shop_services.grant_coupon(coupon_id=coupon.pk, member_id=other.pk, key=f"test:{number}")
        asked = services.ask_to_erase(member_id=other.pk)
        raised = race(
            lambda other=other: builders.order(other, (sku, 1)),
            lambda asked=asked: services.erase_member(request_id=asked.pk),
        )
        assert {type(one) for one in raised} <= {CannotErase, Member.DoesNotExist}, raised
        other.refresh_from_db()
        assert (other.erased_at is None) == (bool(raised) and isinstance(raised[0], CannotErase))


def until_somebody_waits() -> None:
    """Another transaction of this database waits for a lock."""
    for _turn in range(12_000):
        if somebody_waits():
            return
        time.sleep(0.005)
    raise AssertionError("nobody ever waited")


@pytest.mark.django_db
def test_the_house_sees_the_queue_and_may_not_erase_over_an_obstacle(client: Client, she: Member) -> None:
    row = services.ask_to_erase(member_id=she.pk)
    order = builders.pay(builders.order(she, (builders.sku(), 1)))
    with pytest.raises(CannotErase), transaction.atomic():
        services.erase_member(request_id=row.pk)
    with clock.travel(timedelta(days=8)):
        assert services.erase_due() == 0
    row.refresh_from_db()
    assert order.number in row.obstacle
    with pytest.raises(IntegrityError), transaction.atomic():
        DataRequest.objects.create(member=she, kind="erase", asked_at=row.asked_at, due_at=row.due_at)

    client.force_login(User.objects.create_superuser("boss"))
    assert order.number in client.get(reverse("admin:crm_datarequest_changelist")).content.decode()
    detail = reverse("admin:crm_datarequest_change", args=[row.pk])
    button = reverse("admin:crm_datarequest_erase", args=[row.pk])
    assert button not in client.get(detail).content.decode()
    Order.objects.filter(pk=order.pk).update(status=Order.RECEIVED)
    assert button in client.get(detail).content.decode()
    client.post(button)
    row.refresh_from_db()
    assert (row.state, str(row.done_by)) == ("done", "boss")
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.post(button).status_code == 403


@pytest.mark.django_db
def test_of_who_was_erased_no_segment_list_or_export_knows(she: Member, client: Client) -> None:
    everybody = services.save_segment(name="所有人", rules={}, is_live=True)
    quiet = {"field": "orders", "op": "between", "value": [0, 9]}
    services.rebuild_bitmaps()
    assert queries.segment_count({"all": [quiet]}) == 1
    request = services.ask_to_erase(member_id=she.pk)
    assert services.erase_member(request_id=request.pk)
    for folds in (False, True):
        if folds:
            services.fold_bitmaps()
        assert queries.segment_count({"all": [quiet]}) == 0
        assert not queries.members_in({"all": [quiet]}).exists()
    services.refresh_segment(segment_id=everybody.pk)
    assert not SegmentMember.objects.exists()
    assert list(segments_shown.export_rows([she.pk], whole_phones=True))[1:] == []
    client.force_login(User.objects.create_superuser("boss"))
    assert client.get("/api/v1/members/").json()["results"] == []
    assert audit() == []


@pytest.mark.django_db
def test_retention_takes_what_is_older_and_says_before_how_much(
    client: Client, she: Member, morning: datetime
) -> None:
    order = bought(she)
    services.prepare_timeline(since=date(2025, 9, 1), until=date(2025, 9, 2))
    services.record_activity(member_id=she.pk, kind="visited", at=morning - timedelta(days=180))
    Order.objects.filter(pk=order.pk).update(placed_at=morning - timedelta(days=400))
    client.force_login(User.objects.create_superuser("boss"))
    listed = reverse("admin:crm_retentionrule_changelist")
    assert client.get(listed).status_code == 200
    assert services.keep_retention() == {}, "nobody has set a number yet"
    rule = reverse("admin:crm_retentionrule_change", args=["browsing"])
    assert client.post(rule, {"months": "0"}).status_code == 200
    assert client.post(rule, {"months": "5"}).status_code == 302
    services.keep_for(name="order_addresses", months=12)
    assert services.overdue_counts() == {"browsing": 1, "order_addresses": 1}
    assert Activity.objects.filter(kind="visited").count() == 2
    assert services.keep_retention() == {"browsing": 1, "order_addresses": 1}
    assert services.keep_retention() == {"browsing": 0, "order_addresses": 0}
    assert Activity.objects.filter(kind="visited").count() == 1
    order.refresh_from_db()
    assert (order.receiver, order.paid_fen) == ("", 9_900)
    assert RetentionRule.objects.get(name="browsing").removed == 1


@pytest.mark.django_db
def test_retention_also_takes_edits_notices_recipients_and_files(
    she: Member, brand: Account, morning: datetime, django_capture_on_commit_callbacks: Any
) -> None:
    Member.objects.filter(pk=she.pk).update(note="先前的话")
    Member.objects.filter(pk=she.pk).update(note="现在的话")
    told = {
        "account": brand,
        "topic": "text",
        "body": b"x",
        "received_at": morning,
        "last_received_at": morning,
    }
    for number, (sender, status) in enumerate(
        [("o-other", "failed"), ("o-her-own-address", "done"), ("o-3", "new")]
    ):
        Notice.objects.create(
            **told, fingerprint=uuid.UUID(int=number), sender=sender, status=status, next_attempt_at=morning
        )
    wechat_services.enqueue_message(
        account_id=brand.pk,
        channel="custom",
        to="o-her-own-address",
        body={"kind": "text", "text": "你好"},
        origin="test",
        origin_id=1,
    )
    OutboundMessage.objects.update(state=OutboundMessage.SENT)
    run = MemberImport.objects.create(
        source="pos", created_at=morning, file=ContentFile("name,phone", name="members.csv")
    )
    MemberImportLine.objects.create(
        run=run, number=1, verdict="skipped", reason="already_there", external_id="A1"
    )
    edits = history_of(Member)
    edits.update(pgh_created_at=morning)  # the database's own clock wrote it
    names = ["edits", "notices", "recipients", "member_files"]
    for name in names:
        services.keep_for(name=name, months=2)
    assert set(services.overdue_counts().values()) == {0}
    with clock.travel(morning + timedelta(days=70)):
        due = services.overdue_counts()
        assert due == {"edits": 2, "notices": 2, "recipients": 1, "member_files": 1}
        with django_capture_on_commit_callbacks(execute=True):
            assert services.keep_retention() == due
        assert set(services.keep_retention().values()) == {0}
    assert not edits.exists()
    assert Member.objects.get(pk=she.pk).note == "现在的话"
    assert [one.status for one in Notice.objects.all()] == ["new"]
    assert OutboundMessage.objects.get().to == "erased"
    stored = run.file.name
    run.refresh_from_db()
    assert (run.file.name, run.file.storage.exists(stored)) == ("", False)
    assert MemberImportLine.objects.get().external_id == ""


def history_of(model: Any) -> Any:
    kept = next(one for one in apps.get_models() if getattr(one, "pgh_tracked_model", None) is model)
    return kept._default_manager.all()


@pytest.mark.django_db
def test_every_look_at_a_whole_phone_number_is_kept(client: Client, she: Member) -> None:
    order = bought(she)
    blind = User.objects.create_user("blind", is_staff=True)
    names = ["view_member", "view_order"]
    blind.user_permissions.set(Permission.objects.filter(codename__in=names))
    hers = reverse("admin:crm_member_change", args=[she.pk])
    parcel = reverse("admin:shop_order_change", args=[order.pk])
    for user, seen in ((blind, False), (User.objects.create_superuser("boss"), True)):
        client.force_login(user)
        assert "13800000001" not in client.get(hers).content.decode(), "not before somebody asks"
        for address in (f"{hers}?phones=1", parcel):
            assert ("13800000001" in client.get(address).content.decode()) is seen
    rest = f"/api/v1/members/{she.pk}/"
    assert "13800000001" in client.get(rest).content.decode()
    client.force_login(blind)
    assert "138****0001" in client.get(rest).content.decode()
    client.force_login(User.objects.get(username="boss"))
    looks = PhoneLook.objects.order_by("pk").values_list("who", "member", "subject", "page")
    assert list(looks) == [
        ("boss", she.pk, f"member:{she.pk}", hers),
        ("boss", she.pk, f"order:{order.number}", parcel),
        ("boss", None, "api", rest),
    ]
    assert order.number in client.get(reverse("admin:crm_phonelook_changelist")).content.decode()
