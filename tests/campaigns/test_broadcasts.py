"""A broadcast is planned before it goes, reaches each member at most once, and says why somebody did not get it."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from campaigns import queries, services
from campaigns.audits import finished_broadcasts, messages_have_recipients, nobody_twice, released_recipients
from campaigns.errors import InThePast, NobodyToReach, NotNow, NotSendable
from campaigns.models import Broadcast, BroadcastRecipient
from core import clock
from crm import services as crm_services
from crm.models import Identity, Segment, Touch
from tests.campaigns import house
from wechat import queries as wechat_queries
from wechat.models import MassUse, OutboundMessage, SubscriptionQuota


@pytest.fixture(autouse=True)
def noon(request):
    with clock.travel(house.NOON):
        yield


def statuses(broadcast: Broadcast) -> dict[str, tuple[str, str]]:
    """Member name → (status, reason or channel)."""
    return {
        row.member.name: (row.status, row.reason or row.channel)
        for row in broadcast.recipients.select_related("member")
    }


def outbox(broadcast: Broadcast) -> list[OutboundMessage]:
    return list(wechat_queries.outbound_for(broadcast.origin).order_by("pk"))


@pytest.mark.django_db
class TestPlanning:
    def test_freezes_one_row_per_follower_with_its_channel(self):
        house.follower("有窗口", window=5)
        house.follower("走群发")
        broadcast = house.broadcast()

        counts = services.plan_broadcast(broadcast_id=broadcast.pk)

        assert counts == {"planned": 2, "skipped": 0}
        assert statuses(broadcast) == {"有窗口": ("planned", "custom"), "走群发": ("planned", "mass")}
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.PLANNED
        assert not outbox(broadcast)

    def test_says_why_somebody_is_skipped(self):
        house.follower("走了", follows=False)
        capped = house.follower("够了", window=5)
        for number in range(3):
            Touch.objects.create(
                member=capped,
                purpose="marketing",
                origin=f"other:{number}",
                at=clock.now() - timedelta(days=number + 1),
            )
        used_up = house.follower("群发用完")
        openid = Identity.objects.get(member=used_up).value
        MassUse.objects.create(
            account=house.service_account(),
            month=wechat_queries.month_of(clock.now()),
            recipient=openid,
            used=4,
        )
        segment = Segment.objects.create(name="全部", rules={}, created_at=clock.now())
        broadcast = house.broadcast(audience="segment", segment=segment)

        services.plan_broadcast(broadcast_id=broadcast.pk)

        assert statuses(broadcast) == {
            "走了": ("skipped", "unfollowed"),
            "够了": ("skipped", "week_cap"),
            "群发用完": ("skipped", "mass_quota_used"),
        }
        assert all(queries.reason_label(reason) != reason for _status, reason in statuses(broadcast).values())

    def test_a_subscription_comes_before_a_mass_message(self):
        member = house.follower("订阅")
        SubscriptionQuota.objects.create(
            account=house.service_account(),
            openid=Identity.objects.get(member=member).value,
            template_id="tmpl-1",
            remaining=1,
        )
        broadcast = house.broadcast(template_id="tmpl-1", template_fields={"thing1": "新香"})

        services.plan_broadcast(broadcast_id=broadcast.pk)

        assert statuses(broadcast) == {"订阅": ("planned", "subscribe")}

    def test_quiet_hours_defer_to_the_morning(self):
        house.follower("睡了", window=5)
        broadcast = house.broadcast()
        with clock.travel(house.NIGHT):
            services.plan_broadcast(broadcast_id=broadcast.pk)
        [row] = broadcast.recipients.all()
        assert (row.status, row.reason) == ("planned", "quiet_hours")
        assert clock.local(row.not_before).hour == 8

    def test_planning_again_replaces_the_plan(self):
        house.follower("一")
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        house.follower("二")
        assert services.plan_broadcast(broadcast_id=broadcast.pk)["planned"] == 2

    def test_refuses_marketing_in_a_template_message(self):
        broadcast = house.broadcast(
            kind="template", template_id="tmpl-1", template_fields={"thing1": "x"}, channel="template"
        )
        with pytest.raises(NotSendable):
            services.plan_broadcast(broadcast_id=broadcast.pk)
        assert not broadcast.recipients.exists()

    def test_takes_a_constant_number_of_statements(self, django_assert_max_num_queries):
        for number in range(30):
            house.follower(f"会员{number}", window=number % 2)
        broadcast = house.broadcast()
        with django_assert_max_num_queries(14):
            services.plan_broadcast(broadcast_id=broadcast.pk)


@pytest.mark.django_db
class TestSending:
    def test_hands_over_one_message_each_and_marks_it(self):
        first, second = house.follower("甲", window=5), house.follower("乙", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)

        assert services.release_chunk(broadcast_id=broadcast.pk) == 2
        assert services.release_chunk(broadcast_id=broadcast.pk) == 0

        messages = outbox(broadcast)
        assert [message.to for message in messages] == [f"openid-{first.pk}", f"openid-{second.pk}"]
        assert messages[0].vars["name"] == "甲"
        assert messages[0].vars["url"] != messages[1].vars["url"]
        assert statuses(broadcast) == {"甲": ("released", "custom"), "乙": ("released", "custom")}
        assert Touch.objects.filter(origin=broadcast.origin, answer="send").count() == 2
        assert not [*released_recipients(), *messages_have_recipients(), *nobody_twice()]

    def test_a_mass_message_has_one_text_for_all_and_no_names(self):
        house.follower("甲")
        house.follower("乙")
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        message, other = outbox(broadcast)
        assert message.body_id == other.body_id
        assert message.channel == "mass"
        assert message.body.content["text"].startswith("新香上架：http")
        assert "{{" not in message.body.content["text"]

    def test_looks_again_before_handing_over(self):
        gone, capped, closed = (house.follower(name, window=1) for name in ("走了", "够了", "关了"))
        stays = house.follower("还在", window=1)
        broadcast = house.broadcast(channel="custom")
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        Identity.objects.filter(member=gone).update(is_following=False, unfollowed_at=clock.now())
        for number in range(3):
            Touch.objects.create(
                member=capped, purpose="marketing", origin=f"x:{number}", at=clock.now() - timedelta(days=2)
            )
        closed_openid = Identity.objects.get(member=closed).value
        from wechat.models import ReplyWindow

        ReplyWindow.objects.filter(openid=closed_openid).update(remaining=0)

        services.release_broadcast(broadcast_id=broadcast.pk)

        assert statuses(broadcast) == {
            "走了": ("skipped", "unfollowed"),
            "够了": ("skipped", "week_cap"),
            "关了": ("skipped", "window_closed"),
            "还在": ("released", "custom"),
        }
        assert [message.to for message in outbox(broadcast)] == [f"openid-{stays.pk}"]

    def test_deferred_rows_go_when_their_time_has_come(self):
        house.follower("睡了", window=5)
        broadcast = house.broadcast()
        with clock.travel(house.NIGHT):
            services.plan_broadcast(broadcast_id=broadcast.pk)
            services.start_broadcast(broadcast_id=broadcast.pk)
            assert services.release_broadcast(broadcast_id=broadcast.pk) == 0
            assert not services.finish_broadcast(broadcast_id=broadcast.pk)
        with clock.travel(house.NIGHT + timedelta(hours=9, minutes=1)):
            services.sweep_broadcasts()
        assert statuses(broadcast) == {"睡了": ("released", "custom")}

    def test_late_news_is_no_news(self):
        house.follower("晚了", window=5)
        broadcast = house.broadcast(patience_hours=2)
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        with clock.travel(house.NOON + timedelta(hours=3)):
            services.release_broadcast(broadcast_id=broadcast.pk)
        assert statuses(broadcast) == {"晚了": ("skipped", "too_late")}
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.DONE

    def test_is_done_when_every_message_has_its_outcome(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.SENDING
        OutboundMessage.objects.filter(origin=broadcast.origin).update(state="sent", sent_at=clock.now())
        services.sweep_broadcasts()
        broadcast.refresh_from_db()
        assert (broadcast.status, broadcast.finished_at) == (Broadcast.DONE, clock.now())
        figures = queries.broadcast_figures(broadcast)
        assert (figures.sent, figures.percent, figures.audience) == (1, 100, 1)


@pytest.mark.django_db
class TestSteps:
    def test_a_scheduled_broadcast_starts_by_itself(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.schedule_broadcast(broadcast_id=broadcast.pk, at=clock.now() + timedelta(hours=1))
        services.sweep_broadcasts()
        assert not outbox(broadcast)
        with clock.travel(house.NOON + timedelta(hours=1, seconds=1)):
            services.sweep_broadcasts()
        assert len(outbox(broadcast)) == 1

    def test_the_past_and_an_empty_plan_are_refused(self):
        house.follower("走了", follows=False)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        with pytest.raises(InThePast):
            services.schedule_broadcast(broadcast_id=broadcast.pk, at=clock.now() - timedelta(seconds=1))
        with pytest.raises(NobodyToReach):
            services.start_broadcast(broadcast_id=broadcast.pk)
        broadcast.refresh_from_db()
        assert broadcast.status == Broadcast.PLANNED

    def test_a_pause_holds_the_outbox_and_a_resume_lets_it_go(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        services.pause_broadcast(broadcast_id=broadcast.pk)
        assert [message.state for message in outbox(broadcast)] == ["held"]
        assert services.release_chunk(broadcast_id=broadcast.pk) == 0
        services.resume_broadcast(broadcast_id=broadcast.pk)
        assert [message.state for message in outbox(broadcast)] == ["pending"]

    def test_a_cancel_withdraws_what_waits_and_gives_the_touch_back(self):
        for name in ("甲", "乙"):
            house.follower(name, window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_chunk(broadcast_id=broadcast.pk, limit=1)
        services.cancel_broadcast(broadcast_id=broadcast.pk)
        assert statuses(broadcast) == {"甲": ("released", "custom"), "乙": ("cancelled", "cancelled")}
        assert [message.state for message in outbox(broadcast)] == ["cancelled"]
        assert not Touch.objects.filter(origin=broadcast.origin, answer="send").exists()
        with pytest.raises(NotNow):
            services.resume_broadcast(broadcast_id=broadcast.pk)
        assert not list(finished_broadcasts())

    def test_a_second_start_is_refused(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        with pytest.raises(NotNow):
            services.start_broadcast(broadcast_id=broadcast.pk)

    def test_saving_voids_the_plan(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        broadcast.refresh_from_db()
        broadcast.text = "别的话"
        services.save_broadcast(broadcast=broadcast, by_id=None, is_new=False)
        broadcast.refresh_from_db()
        assert (broadcast.status, broadcast.text) == (Broadcast.DRAFT, "别的话")
        assert not broadcast.recipients.exists()

    def test_a_preview_goes_to_the_test_member_alone(self):
        member = house.follower("测试", window=5)
        house.follower("别人", window=5)
        broadcast = house.broadcast()
        assert services.send_preview(broadcast_id=broadcast.pk, member_id=member.pk, by_id=1) == "custom"
        [message] = OutboundMessage.objects.all()
        assert message.to == f"openid-{member.pk}"
        assert "测试" in message.body.content["text"]
        assert not Touch.objects.exists()

    def test_merged_members_get_it_once(self):
        kept, merged = house.follower("甲", window=5), house.follower("乙", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        crm_services.merge_members(kept_id=kept.pk, merged_id=merged.pk)
        services.repoint_member(kept_id=kept.pk, merged_id=merged.pk)
        services.repoint_member(kept_id=kept.pk, merged_id=merged.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        assert len(outbox(broadcast)) == 1
        assert sorted(broadcast.recipients.values_list("status", "reason")) == [
            ("released", ""),
            ("skipped", "merged"),
        ]

    def test_a_row_of_the_merged_member_moves_to_the_kept_one(self):
        kept, merged = house.follower("甲", follows=False), house.follower("乙", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.repoint_member(kept_id=kept.pk, merged_id=merged.pk)
        assert list(broadcast.recipients.values_list("member_id", flat=True)) == [kept.pk]


def at_once(work: Callable[[], object], count: int) -> list[object]:
    """Run the same work in threads with connections of their own; returns results and exceptions."""
    results: list[object] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        try:
            barrier.wait(timeout=60)
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return results


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_four_workers_release_each_row_once(self):
        for number in range(40):
            house.follower(f"会员{number}", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)

        def work() -> int:
            done = 0
            while tried := services.release_chunk(broadcast_id=broadcast.pk, limit=3):
                done += tried
            return done

        results = at_once(work, 4)
        assert not [result for result in results if isinstance(result, Exception)]
        services.release_broadcast(broadcast_id=broadcast.pk)
        messages = outbox(broadcast)
        assert len(messages) == len({message.to for message in messages}) == 40
        assert broadcast.recipients.filter(status="released").count() == 40
        assert Touch.objects.filter(origin=broadcast.origin, answer="send").count() == 40
        assert not [*released_recipients(), *messages_have_recipients(), *nobody_twice()]

    def test_two_starts_at_once_make_one(self):
        house.follower("甲", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        results = at_once(lambda: services.start_broadcast(broadcast_id=broadcast.pk), 2)
        assert sorted(type(result).__name__ for result in results) == ["NoneType", "NotNow"]

    @pytest.mark.parametrize("step", ["book_touches", "enqueue_from_select"])
    def test_a_worker_killed_between_two_steps_neither_skips_nor_doubles(self, step, monkeypatch):
        """The chunk is one transaction: cut off at any step, all of it is planned again."""
        for number in range(5):
            house.follower(f"会员{number}", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)

        class Killed(BaseException):
            pass

        from campaigns.services import release

        owner = release.crm_services if step == "book_touches" else release.wechat_services
        real = getattr(owner, step)

        def work_then_die(**arguments):
            real(**arguments)
            raise Killed()

        monkeypatch.setattr(owner, step, work_then_die)
        with pytest.raises(Killed):
            services.release_chunk(broadcast_id=broadcast.pk)
        monkeypatch.undo()
        assert broadcast.recipients.filter(status="planned").count() == 5
        assert not outbox(broadcast)
        assert not Touch.objects.filter(answer="send").exists()

        services.sweep_broadcasts()
        assert len(outbox(broadcast)) == 5
        assert not [*released_recipients(), *messages_have_recipients(), *nobody_twice()]

    def test_a_pause_waits_for_the_chunk_and_then_holds_it(self):
        for number in range(6):
            house.follower(f"会员{number}", window=5)
        broadcast = house.broadcast()
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        paused = threading.Event()

        def pause() -> None:
            services.pause_broadcast(broadcast_id=broadcast.pk)
            paused.set()
            connections.close_all()

        with transaction.atomic():
            services.release_chunk(broadcast_id=broadcast.pk, limit=3)
            thread = threading.Thread(target=pause)
            thread.start()
            assert not paused.wait(timeout=0.3)
        thread.join(timeout=60)
        assert paused.is_set()
        assert {message.state for message in outbox(broadcast)} == {"held"}
        assert services.release_chunk(broadcast_id=broadcast.pk) == 0


@pytest.mark.django_db
def test_the_outbox_refuses_a_second_message_of_a_row():
    house.follower("甲", window=5)
    broadcast = house.broadcast()
    services.plan_broadcast(broadcast_id=broadcast.pk)
    services.start_broadcast(broadcast_id=broadcast.pk)
    services.release_broadcast(broadcast_id=broadcast.pk)
    # As if the mark had been lost: the row is planned again, the touch is gone.
    BroadcastRecipient.objects.filter(broadcast=broadcast).update(
        status="planned", channel="custom", released_at=None
    )
    services.release_broadcast(broadcast_id=broadcast.pk)
    assert len(outbox(broadcast)) == 1
    assert connection.is_usable()
