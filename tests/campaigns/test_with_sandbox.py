"""The whole way: she writes to the account, the broadcast reaches her phone, she taps the link, it is counted."""

import datetime
import re
from urllib.parse import urlsplit

import pytest
from django.test import Client

from campaigns import queries, services
from campaigns.models import Broadcast
from core import events
from crm.models import Member, MemberStats, TouchPolicy
from tests.campaigns import house
from wechat import tasks as wechat_tasks


@pytest.fixture
def no_quiet_hours(db):
    hour = datetime.time(4, 0)
    TouchPolicy.objects.update_or_create(id=1, defaults={"quiet_from": hour, "quiet_until": hour})


def settle(sandbox) -> None:
    """Callbacks in, notices handled, events delivered."""
    sandbox.deliver()
    wechat_tasks.handle_notices()
    events.deliver_due(limit=100)


def follow(sandbox, name: str) -> dict:
    person = sandbox.person(name)
    sandbox.post(f"people/{person['id']}/follow", account="brand")
    settle(sandbox)
    return person


def links_in(message: dict) -> list[str]:
    return re.findall(r"/t/[a-z0-9-]+/", str(message))


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("no_quiet_hours")
class TestWithSandbox:
    def test_a_broadcast_reaches_the_phone_and_the_tap_is_counted(self, sandbox):
        account = sandbox.account("brand")
        her = follow(sandbox, "小满")
        sandbox.post(f"people/{her['id']}/message", account="brand", text="在吗")
        settle(sandbox)
        broadcast = house.broadcast(account=account)
        services.plan_broadcast(broadcast_id=broadcast.pk)
        services.start_broadcast(broadcast_id=broadcast.pk)
        services.release_broadcast(broadcast_id=broadcast.pk)
        wechat_tasks.send_outbound()
        services.sweep_broadcasts()

        broadcast.refresh_from_db()
        figures = queries.broadcast_figures(broadcast)
        assert (figures.sent, figures.failed, broadcast.status) == (1, 0, Broadcast.DONE)
        [link] = links_in(sandbox.inbox(her))
        response = Client().get(link)
        assert urlsplit(response.headers["Location"]).path == "/p/1/"
        assert queries.broadcast_figures(broadcast).opened == 1

    def test_a_sleeper_gets_the_mass_message_of_the_win_back(self, sandbox):
        account = sandbox.account("brand")
        people = [follow(sandbox, name) for name in ("小满", "清禾")]
        member_ids = list(Member.objects.values_list("pk", flat=True))
        sandbox.advance(100 * 24 * 3600)
        long_ago = house.clock.now() - datetime.timedelta(days=90)
        MemberStats.objects.filter(pk__in=member_ids).update(
            orders_count=1, last_paid_at=long_ago, first_paid_at=long_ago, last_active_at=long_ago
        )
        rule = house.rule(account=account)
        assert services.run_win_back() == 2
        wechat_tasks.send_outbound()
        settle(sandbox)
        assert all(links_in(sandbox.inbox(person)) for person in people)
        assert queries.win_back_figures(rule).sent == 2
