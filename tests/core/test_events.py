"""What happened reaches every handler, takes effect once, and nothing stands in its way."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from celery import Celery
from django.db import connection, transaction

from config.celery import app as celery_app
from core import clock, events, tasks
from core.models import DomainEvent, EventDelivery, Job

NOON = datetime(2026, 3, 1, 4, tzinfo=UTC)


@dataclass(frozen=True)
class PotBroke:
    pot_id: int
    glaze: str
    at: datetime
    day: date | None = None
    repairable: bool = True


@dataclass(frozen=True)
class NobodyCares:
    pot_id: int


received: list[tuple[str, PotBroke]] = []
behaviour: dict[str, Callable[[PotBroke], None]] = {}


def sweep_floor(event: PotBroke) -> None:
    received.append(("sweep_floor", event))
    behaviour.get("sweep_floor", lambda event: None)(event)


def tell_insurance(event: PotBroke) -> None:
    received.append(("tell_insurance", event))
    behaviour.get("tell_insurance", lambda event: None)(event)


def note_once(event: PotBroke) -> None:
    """An effect in the database, to count how often it took place."""
    Job.objects.create(kind=f"pot {event.pot_id}", created_at=event.at)
    behaviour.get("note_once", lambda event: None)(event)


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_handlers", {})
    monkeypatch.setattr(events, "_by_name", {})
    events.subscribe(PotBroke, sweep_floor, queue="fast")
    received.clear()
    behaviour.clear()


def publish(*ids: int) -> None:
    with transaction.atomic():
        for number in ids:
            events.publish(PotBroke(number, "celadon", clock.now()), key=f"pot:{number}")


def refuse(event: PotBroke) -> None:
    raise ValueError("the secret=hush-hush-hush of 13812345678")


@pytest.mark.django_db
class TestDelivery:
    def test_brings_the_event_as_it_was(self) -> None:
        with clock.travel(NOON), transaction.atomic():
            events.publish(PotBroke(4, "青瓷", NOON, date(2026, 3, 1), repairable=False))
            events.deliver_due()
        assert received == [("sweep_floor", PotBroke(4, "青瓷", NOON, date(2026, 3, 1), repairable=False))]
        delivery = EventDelivery.objects.get()
        assert (delivery.status, delivery.attempts, delivery.event.name) == ("done", 1, "tests.PotBroke")

    def test_happens_once(self) -> None:
        publish(1)
        assert [events.deliver_due(), events.deliver_due()] == [1, 0]
        assert len(received) == 1

    def test_costs_one_statement_per_event_however_many_listen(self, django_assert_num_queries) -> None:
        events.subscribe(PotBroke, tell_insurance)
        events.subscribe(PotBroke, note_once, queue="bulk")
        with django_assert_num_queries(1):
            events.publish(PotBroke(1, "", NOON))
        assert sorted(EventDelivery.objects.values_list("queue", flat=True)) == ["bulk", "default", "fast"]

    def test_of_what_nobody_listens_to_is_only_remembered(self) -> None:
        events.publish(NobodyCares(1))
        assert DomainEvent.objects.count() == 1
        assert EventDelivery.objects.count() == 0

    def test_of_a_failing_handler_does_not_hold_up_the_others(self) -> None:
        events.subscribe(PotBroke, tell_insurance)
        behaviour["sweep_floor"] = refuse
        publish(1, 2)
        events.deliver_due()
        assert EventDelivery.objects.filter(handler__endswith="tell_insurance", status="done").count() == 2
        assert EventDelivery.objects.filter(handler__endswith="sweep_floor", status="pending").count() == 2

    def test_backs_off_longer_each_time_then_waits_for_an_operator(self) -> None:
        behaviour["sweep_floor"] = refuse
        pauses = []
        moment = NOON
        with clock.travel(moment):
            publish(1)
        for _attempt in range(events.MAX_ATTEMPTS):
            with clock.travel(moment):
                assert events.deliver_due() == 1
            delivery = EventDelivery.objects.get()
            pauses.append((delivery.next_attempt_at - moment).total_seconds())
            moment = delivery.next_attempt_at
        assert delivery.status == "dead"
        assert pauses == sorted(pauses)
        assert 5 <= pauses[0] <= 6.25
        assert "ValueError" in delivery.last_error
        assert "hush-hush" not in delivery.last_error
        assert "13812345678" not in delivery.last_error
        with clock.travel(moment + timedelta(days=1)):
            assert events.deliver_due() == 0
            behaviour.clear()
            assert events.retry(delivery_ids=[delivery.pk]) == 1
            assert events.retry(delivery_ids=[delivery.pk]) == 0
            assert events.deliver_due() == 1
        delivery.refresh_from_db()
        assert (delivery.status, delivery.last_error) == ("done", "")

    def test_leaves_nothing_behind_of_a_handler_that_failed_half_way(self) -> None:
        events.subscribe(PotBroke, note_once)
        behaviour["note_once"] = refuse
        publish(1)
        events.deliver_due()
        assert Job.objects.count() == 0

    def test_of_a_queue_leaves_the_other_queues_alone(self) -> None:
        events.subscribe(PotBroke, tell_insurance)
        publish(1)
        tasks.deliver_events("fast")
        assert [name for name, _ in received] == ["sweep_floor"]

    def test_survives_a_handler_that_is_gone(self) -> None:
        publish(1)
        events._by_name.clear()
        events.deliver_due()
        assert "no handler named" in EventDelivery.objects.get().last_error

    def test_of_an_event_from_before_a_field_existed_takes_its_default(self) -> None:
        publish(1)
        row = DomainEvent.objects.get()
        del row.payload["repairable"]
        row.save()
        events.deliver_due()
        assert received[0][1].repairable is True


@pytest.mark.django_db(transaction=True)
def test_an_event_needs_the_transaction_of_its_change() -> None:
    with pytest.raises(RuntimeError):
        events.publish(PotBroke(1, "", NOON))
    assert DomainEvent.objects.count() == 0


@pytest.mark.django_db(transaction=True)
class TestDeath:
    def test_of_the_worker_in_a_handler_costs_an_attempt_and_nothing_else(self) -> None:
        def die(event: PotBroke) -> None:
            raise SystemExit

        events.subscribe(PotBroke, note_once)
        behaviour["note_once"] = die
        publish(1)
        with pytest.raises(SystemExit):
            events.deliver_due()
        assert Job.objects.count() == 0
        delivery = EventDelivery.objects.get(handler__endswith="note_once")
        assert (delivery.status, delivery.attempts) == ("pending", 1)
        behaviour.clear()
        with clock.travel(timedelta(minutes=1)):
            events.deliver_due()
        assert Job.objects.count() == 1

    def test_of_the_worker_in_every_attempt_ends_with_an_operator(self) -> None:
        publish(1)
        EventDelivery.objects.update(attempts=events.MAX_ATTEMPTS)
        events.deliver_due()
        assert EventDelivery.objects.get().status == "dead"
        assert received == []


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def deliver(self, _number: int) -> int:
        try:
            return events.deliver_due()
        finally:
            connection.close()

    def test_take_effect_once_for_each_event(self) -> None:
        events.subscribe(PotBroke, note_once)
        publish(*range(30))
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(self.deliver, range(6)))
        assert Job.objects.count() == 30
        assert EventDelivery.objects.exclude(status="done").count() == 0

    def test_pass_by_what_another_is_busy_with(self) -> None:
        together = threading.Barrier(2, timeout=60)
        behaviour["sweep_floor"] = lambda event: together.wait() and None
        publish(1, 2)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.deliver, range(2)))  # hangs until the time-out unless both run at once
        assert EventDelivery.objects.filter(status="done").count() == 2

    def test_do_not_repeat_what_a_slow_one_is_still_doing(self) -> None:
        busy, go_on = threading.Event(), threading.Event()

        def slow(event: PotBroke) -> None:
            busy.set()
            go_on.wait(60)

        events.subscribe(PotBroke, note_once)
        behaviour["note_once"] = slow
        publish(1)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(self.deliver, 1)
            busy.wait(60)
            with clock.travel(timedelta(seconds=30)):  # its next attempt is due meanwhile
                pool.submit(self.deliver, 2).result(60)
            go_on.set()
            first.result(60)
        assert Job.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_away_neither_blocks_nor_loses_anything(tmp_path: Path) -> None:
    dead = Celery("dead", broker=f"redis+socket://{tmp_path}/nobody.sock")
    dead.conf.update(
        broker_transport_options=celery_app.conf.broker_transport_options, task_publish_retry=False
    )
    dead.set_current()
    took: list[float] = []
    try:
        while not took or (
            took[-1] > 1 and len(took) < 3
        ):  # a machine that is busy elsewhere is given another go
            started = time.monotonic()
            publish(len(took))
            took.append(time.monotonic() - started)
    finally:
        celery_app.set_current()
    assert took[-1] < 1, took
    assert received == []
    tasks.deliver_events("fast")  # what beat wakes every few seconds
    assert len(received) == len(took)


@pytest.mark.django_db
def test_old_deliveries_are_pruned_and_dead_ones_kept() -> None:
    with clock.travel(NOON):
        publish(1, 2, 3)
        events.publish(NobodyCares(1))
        events.deliver_due()
        EventDelivery.objects.filter(event__key="pot:2").update(status="dead")
    with clock.travel(NOON + timedelta(days=29)):
        publish(4)
        assert events.prune() == 0
    with clock.travel(NOON + timedelta(days=31)):
        assert events.prune() == 5  # two deliveries with their events, and the event that nobody awaited
        assert events.prune() == 0
    assert sorted(DomainEvent.objects.values_list("key", flat=True)) == ["pot:2", "pot:4"]
