"""Who bought and fell silent gets one message per spell of silence, when it is allowed, or a reason."""

from datetime import timedelta

import pytest

from campaigns import queries, services
from campaigns.audits import win_back_once
from campaigns.models import WinBackDecision, WinBackRule, WinBackSpell
from campaigns.services import win_back
from core import clock
from crm import services as crm_services
from crm.models import Identity, MemberStats, Touch
from tests.campaigns import house
from tests.campaigns.test_broadcasts import at_once
from wechat.models import MassUse, OutboundMessage, SubscriptionQuota
from wechat.queries import month_of


@pytest.fixture(autouse=True)
def noon():
    with clock.travel(house.NOON):
        yield


def messages(rule: WinBackRule) -> list[OutboundMessage]:
    return list(OutboundMessage.objects.filter(origin=rule.origin).order_by("pk"))


@pytest.mark.django_db
class TestFinding:
    def test_finds_buyers_who_fell_silent_and_nobody_else(self):
        silent = house.buyer("沉睡", days_ago=90)
        house.buyer("常客", days_ago=10)
        visited = house.buyer("刚来看过", days_ago=90)
        MemberStats.objects.filter(member=visited).update(last_active_at=clock.now() - timedelta(days=1))
        house.follower("从没买过")
        rule = house.rule()

        services.run_win_back()

        assert [message.to for message in messages(rule)] == [f"openid-{silent.pk}"]
        assert list(WinBackSpell.objects.values_list("member_id", "status")) == [(silent.pk, "sent")]

    def test_the_preview_counts_whom_it_would_reach_now(self):
        house.buyer("沉睡", days_ago=90)
        house.buyer("走了", days_ago=90, follows=False)
        rule = house.rule(is_active=False)
        assert services.preview(rule) == {"silent": 2, "open": 2, "now": 1, "later": 0}
        with clock.travel(house.NIGHT):
            assert services.preview(rule) == {"silent": 2, "open": 2, "now": 0, "later": 1}

    def test_a_rule_that_fails_stands_in_no_others_way(self, monkeypatch):
        silent, find = house.buyer("沉睡", days_ago=90), win_back.find_spells
        broken, rule = house.rule(), house.rule(name="另一条", silent_days=80)

        def failing(*, rule_id):
            return 1 // 0 if rule_id == broken.pk else find(rule_id=rule_id)

        monkeypatch.setattr(win_back, "find_spells", failing)
        assert services.run_win_back() == 1
        assert [message.to for message in messages(rule)] == [f"openid-{silent.pk}"]

    def test_a_rule_that_is_off_does_nothing(self, django_assert_num_queries):
        house.buyer("沉睡", days_ago=90)
        rule = house.rule(is_active=False)
        with django_assert_num_queries(1):
            assert services.run_win_back() == 0
        assert not messages(rule)

    def test_is_cheap_when_nothing_is_due(self, django_assert_max_num_queries):
        house.buyer("常客", days_ago=1)
        house.rule()
        with django_assert_max_num_queries(14):
            services.run_win_back()


@pytest.mark.django_db
class TestOncePerSpell:
    def test_a_second_round_sends_nothing(self):
        house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        assert services.run_win_back() == 1
        assert services.run_win_back() == 0
        with clock.travel(house.NOON + timedelta(days=30)):
            assert services.run_win_back() == 0
        assert len(messages(rule)) == 1
        assert not list(win_back_once())

    def test_a_new_spell_of_silence_gets_a_new_message(self):
        member = house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        services.run_win_back()
        with clock.travel(house.NOON + timedelta(days=3)):
            crm_services.book_purchase(member_id=member.pk, paid_fen=9900, at=clock.now())
            assert services.run_win_back() == 0
        with clock.travel(house.NOON + timedelta(days=70)):
            assert services.run_win_back() == 1
        assert len(messages(rule)) == 2

    def test_opening_the_link_ends_the_silence(self):
        house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        services.run_win_back()
        [spell] = WinBackSpell.objects.all()
        with clock.travel(house.NOON + timedelta(hours=1)):
            services.open_link(token=services.link_address("w", spell.pk).rstrip("/").rsplit("/", 1)[1])
        assert services.preview(rule)["silent"] == 0


@pytest.mark.django_db
class TestAllowed:
    def test_a_channel_where_she_refused_marketing_is_never_used_though_another_is_welcome(self):
        at_guides, nowhere = (house.buyer(name, days_ago=90, window=3) for name in ("只要导购", "都不要"))
        for member in (at_guides, nowhere):
            Identity.objects.create(
                member=member,
                kind="external_userid",
                account=house.work_account(),
                value=f"wm-{member.pk}",
                is_following=True,
                created_at=clock.now(),
            )
        Identity.objects.filter(kind="openid").update(takes_marketing=False)
        Identity.objects.filter(member=nowhere).update(takes_marketing=False)
        rule = house.rule()
        message = house.broadcast(audience="everyone")
        assert services.preview(rule)["now"] == 1
        services.plan_broadcast(broadcast_id=message.pk)
        services.run_win_back()
        assert [(one.channel, one.to) for one in messages(rule)] == [("work_mass", f"wm-{at_guides.pk}")]
        reasons = dict(WinBackSpell.objects.values_list("member_id", "reason"))
        assert reasons == {at_guides.pk: "", nowhere.pk: "channel_refused"}
        rows = message.recipients.order_by("member_id").values_list("status", "channel", "reason")
        assert list(rows) == [("planned", "work_mass", ""), ("skipped", "", "channel_refused")]

    def test_the_first_channel_that_she_is_allowed_to_get_is_used(self):
        account = house.service_account()
        windowed = house.buyer("窗口", days_ago=90, window=3)
        subscriber = house.buyer("订阅", days_ago=90)
        SubscriptionQuota.objects.create(
            account=account,
            openid=Identity.objects.get(member=subscriber).value,
            template_id="tmpl-1",
            remaining=1,
        )
        mass, another = house.buyer("群发", days_ago=90), house.buyer("也群发", days_ago=90)
        contact = house.buyer("导购", days_ago=90, follows=False)
        Identity.objects.create(
            member=contact,
            kind="external_userid",
            account=house.work_account(),
            value="wm-1",
            is_following=True,
            created_at=clock.now(),
        )
        rule = house.rule(template_id="tmpl-1", template_fields={"thing1": "{{name}}"})

        services.run_win_back()

        by_member = dict(WinBackSpell.objects.values_list("member_id", "channel"))
        assert by_member == {
            windowed.pk: "custom",
            subscriber.pk: "subscribe",
            mass.pk: "mass",
            another.pk: "mass",
            contact.pk: "work_mass",
        }
        work = next(message for message in messages(rule) if message.channel == "work_mass")
        assert (work.to, work.account_id) == ("wm-1", house.work_account().pk)

    def test_quiet_hours_wait_for_the_morning_and_cost_no_try(self):
        house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        with clock.travel(house.NIGHT):
            assert services.run_win_back() == 0
            [spell] = WinBackSpell.objects.all()
            assert (spell.status, spell.reason, spell.tries) == ("waiting", "quiet_hours", 0)
            assert clock.local(spell.next_try_at).hour == 8
            assert services.run_win_back() == 0
        with clock.travel(house.NIGHT + timedelta(hours=9, minutes=5)):
            assert services.run_win_back() == 1
        assert list(WinBackDecision.objects.order_by("pk").values_list("answer", "reason")) == [
            ("later", "quiet_hours"),
            ("sent", ""),
        ]
        assert len(messages(rule)) == 1

    def test_caps_are_tried_later_but_not_for_ever(self):
        member = house.buyer("沉睡", days_ago=90)
        for number in range(8):
            Touch.objects.create(
                member=member,
                purpose="marketing",
                origin=f"x:{number}",
                at=clock.now() - timedelta(days=1),
            )
        rule = house.rule()
        moment = house.NOON
        for _ in range(6):
            with clock.travel(moment):
                assert services.run_win_back() == 0
            moment += timedelta(hours=24)
        [spell] = WinBackSpell.objects.all()
        assert (spell.status, spell.tries) == ("gave_up", 6)
        assert not messages(rule)
        assert WinBackDecision.objects.filter(answer="later").count() == 5

    def test_one_alone_gets_no_mass_message_but_the_next_rung_or_waits_for_company(self):
        """The platform refuses a mass message with one receiver (40032)."""
        house.buyer("一个人", days_ago=90, subscribed=False)
        rule = house.rule()
        assert services.run_win_back() == 0
        [spell] = WinBackSpell.objects.all()
        assert (spell.status, spell.reason) == ("waiting", "mass_needs_two")
        with clock.travel(house.NOON + timedelta(days=1)):
            house.buyer("第二个", days_ago=90, subscribed=False)
            assert services.run_win_back() == 2
        assert {message.channel for message in messages(rule)} == {"mass"}

    def test_a_used_up_mass_quota_is_a_reason(self):
        member = house.buyer("沉睡", days_ago=90)
        MassUse.objects.create(
            account=house.service_account(),
            month=month_of(clock.now()),
            recipient=Identity.objects.get(member=member).value,
            used=4,
        )
        house.rule(channels=["mass"])
        services.run_win_back()
        [spell] = WinBackSpell.objects.all()
        assert (spell.status, spell.reason) == ("waiting", "mass_quota_used")

    def test_who_comes_back_while_waiting_is_left_alone(self):
        member = house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        with clock.travel(house.NIGHT):
            services.run_win_back()
            crm_services.record_activity(member_id=member.pk, kind="visited", at=clock.now())
        with clock.travel(house.NIGHT + timedelta(hours=9, minutes=5)):
            services.run_win_back()
        [spell] = WinBackSpell.objects.all()
        assert (spell.status, spell.reason) == ("ended", "active_again")
        assert not messages(rule)

    def test_the_daily_limit_leaves_the_rest_for_tomorrow(self):
        for number in range(3):
            house.buyer(f"沉睡{number}", days_ago=90 + number)
        rule = house.rule(daily_limit=2)
        assert services.run_win_back() == 2
        assert services.run_win_back() == 0
        with clock.travel(house.NOON + timedelta(days=1)):
            assert services.run_win_back() == 1
        assert len(messages(rule)) == 3

    def test_two_rules_share_the_members_budget(self):
        house.buyer("沉睡", days_ago=90)
        house.rule()
        house.rule(name="另一条", silent_days=80)
        services.run_win_back()
        assert OutboundMessage.objects.count() == 1
        assert WinBackSpell.objects.filter(status="waiting", reason="day_cap").count() == 1


@pytest.mark.django_db
class TestResults:
    def test_counts_who_came_back_within_the_days(self):
        member = house.buyer("沉睡", days_ago=90)
        rule = house.rule()
        services.run_win_back()
        with clock.travel(house.NOON + timedelta(days=2)):
            crm_services.record_activity(
                member_id=member.pk, kind="paid", at=clock.now(), subject="order:1", amount_fen=15900
            )
        figures = queries.win_back_figures(rule)
        assert (figures.sent, figures.came_back, figures.paid_fen, figures.return_rate) == (
            1,
            1,
            15900,
            100.0,
        )

    def test_merged_members_keep_one_spell(self):
        kept, merged = house.buyer("甲", days_ago=90), house.buyer("乙", days_ago=90)
        house.rule()
        with clock.travel(house.NIGHT):
            services.run_win_back()
        services.repoint_member(kept_id=kept.pk, merged_id=merged.pk)
        assert set(WinBackSpell.objects.values_list("member_id", "status")) in (
            {(kept.pk, "waiting"), (merged.pk, "ended")},
            {(kept.pk, "waiting")},
        )


@pytest.mark.django_db(transaction=True)
def test_beats_at_once_send_one_message_each_and_no_more_than_the_day_may_have(monkeypatch):
    for number in range(10):
        house.buyer(f"沉睡{number}", days_ago=90)
    rule = house.rule()
    services.find_spells(rule_id=rule.pk)
    WinBackRule.objects.update(daily_limit=4)
    monkeypatch.setattr(win_back, "BATCH", 3)
    results = at_once(services.run_win_back, 3)
    assert not [result for result in results if isinstance(result, Exception)]
    assert len(messages(rule)) == 4
    WinBackRule.objects.update(daily_limit=100)
    WinBackSpell.objects.filter(status="waiting").update(next_try_at=clock.now())
    services.run_win_back()
    assert len(messages(rule)) == 10
    assert len({message.to for message in messages(rule)}) == 10
    assert not list(win_back_once())
