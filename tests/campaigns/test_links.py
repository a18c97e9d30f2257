"""A tracked link counts once, leads only to its own target, and cannot be made by others."""

import pytest
from django.test import Client

from campaigns import queries, services
from campaigns.errors import BrokenLink
from campaigns.services.links import link_token
from core import clock
from crm import services as crm_services
from crm.models import Activity
from tests.campaigns import house


@pytest.fixture(autouse=True)
def noon():
    with clock.travel(house.NOON):
        yield


def sent_broadcast(**changes):
    house.follower("甲", window=5)
    broadcast = house.broadcast(**changes)
    services.plan_broadcast(broadcast_id=broadcast.pk)
    services.start_broadcast(broadcast_id=broadcast.pk)
    services.release_broadcast(broadcast_id=broadcast.pk)
    return broadcast, broadcast.recipients.get()


def path_of(kind: str, row_id: int) -> str:
    return f"/t/{link_token(kind, row_id)}/"


@pytest.mark.django_db
def test_the_first_opening_counts_and_every_opening_leads_on():
    broadcast, recipient = sent_broadcast()
    for _ in range(2):
        response = Client().get(path_of("r", recipient.pk))
        assert response.status_code == 302
        assert response.headers["Location"].endswith("/p/1/")
    recipient.refresh_from_db()
    assert recipient.opened_at == clock.now()
    opened = Activity.objects.filter(kind="opened")
    assert [(fact.member_id, fact.subject) for fact in opened] == [(recipient.member_id, broadcast.origin)]


@pytest.mark.django_db
def test_a_look_by_a_machine_leads_on_and_counts_nothing():
    _broadcast, recipient = sent_broadcast()
    assert Client().head(path_of("r", recipient.pk)).status_code == 302
    recipient.refresh_from_db()
    assert recipient.opened_at is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    "token", ["r1-00000000000000000000", "r1", "x1-aaaa", "r99999999999999999999-" + "0" * 20]
)
def test_a_forged_link_is_not_found(token):
    assert Client().get(f"/t/{token}/").status_code == 404
    with pytest.raises(BrokenLink):
        services.open_link(token=token)


@pytest.mark.django_db
def test_the_signature_of_one_row_does_not_open_another():
    _broadcast, recipient = sent_broadcast()
    token = link_token("r", recipient.pk)
    with pytest.raises(BrokenLink):
        services.open_link(token=token.replace(f"r{recipient.pk}-", f"r{recipient.pk + 1}-"))


@pytest.mark.django_db
def test_a_target_given_by_the_caller_is_ignored():
    _broadcast, recipient = sent_broadcast()
    response = Client().get(path_of("r", recipient.pk) + "?next=https://evil.example/&url=//evil.example")
    assert response.headers["Location"].endswith("/p/1/")
    assert "evil" not in response.headers["Location"]


@pytest.mark.django_db
def test_a_shared_link_counts_for_the_recipient_who_is_logged_in():
    broadcast, recipient = sent_broadcast()
    token = link_token("s", broadcast.pk)
    services.open_link(token=token)
    recipient.refresh_from_db()
    assert recipient.opened_at is None
    services.open_link(token=token, viewer_id=recipient.member_id)
    recipient.refresh_from_db()
    assert recipient.opened_at is not None


@pytest.mark.django_db
def test_orders_within_three_days_count_for_the_broadcast():
    broadcast, recipient = sent_broadcast()
    for hours, fen in ((-1, 100), (1, 15900), (71, 5000), (73, 700)):
        crm_services.record_activity(
            member_id=recipient.member_id,
            kind="paid",
            at=clock.now() + house.timedelta(hours=hours),
            subject=f"order:{hours}",
            amount_fen=fen,
        )
    assert queries.conversions([broadcast.pk]) == {
        broadcast.pk: {"buyers": 1, "orders": 2, "paid_fen": 20900}
    }
