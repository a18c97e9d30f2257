"""Flash sales on the front page: what runs and what comes, for everybody the same, in one statement."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from core import clock
from shop import queries
from shop.models import Offer, Product
from shop.pages import frame
from tests.shop import builders, instruments

pytestmark = pytest.mark.django_db
STRIP = 'data-test="flash-strip"'


@pytest.fixture(autouse=True)
def nothing_kept() -> Any:
    frame.forget_fragments()
    yield
    frame.forget_fragments()


def test_the_front_page_leads_to_what_runs_and_what_comes(client: Client, settings: Any) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert STRIP not in client.get("/").content.decode()
    moment = clock.now()
    times = {"starts_at": moment - timedelta(hours=1), "ends_at": moment + timedelta(hours=2)}
    dress, scarf, candle, later = (builders.sku(price_fen=9_900, product_name=f"秒杀 {n}") for n in range(4))
    running = instruments.offer(dress, quota=10, price_fen=4_900, **times)
    gone = instruments.offer(scarf, quota=5, **times)
    coming = instruments.offer(
        candle, starts_at=moment + timedelta(hours=3), ends_at=moment + timedelta(hours=5)
    )
    instruments.offer(later, starts_at=moment + timedelta(days=3), ends_at=moment + timedelta(days=4))
    instruments.offer(builders.sku(), kind="member", **times)
    instruments.offer(builders.sku(), is_active=False, **times)
    Offer.objects.filter(pk=running.pk).update(taken=6)
    Offer.objects.filter(pk=gone.pk).update(taken=5)
    assert [row.offer_id for row in queries.flash_offers()] == [running.pk, gone.pk, coming.pk]
    settings.FRAGMENT_SECONDS = 60.0
    for _kept in range(2):
        page = client.get("/").content.decode()
        assert page.count('data-test="flash-offer"') == 3
        assert f'href="/p/{dress.product_id}/#offers"' in page
        assert "已抢 60%" in page
        assert page.count('data-left="7') == 2  # two hours, counted anew for each page
    with clock.travel(timedelta(minutes=90)):
        assert re.search(r'data-left="1[78]\d\d"', client.get("/").content.decode())
    frame.forget_fragments()
    with CaptureQueriesContext(connection) as now:
        client.get("/")
    assert len(now) <= len(asked) + 2  # goods have come, too
    Product.objects.update(status=Product.OFF)
    assert queries.flash_offers() == []
