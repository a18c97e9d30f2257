"""Balancers and Prometheus get the truth; people get a page with a reference."""

import pytest
from django.core.cache import cache
from django.test import Client, override_settings

from core import clock
from core.models import Job


def test_alive_asks_nobody(client: Client) -> None:
    assert client.get("/healthz").content == b"ok"


@pytest.mark.django_db
class TestReady:
    def test_when_database_cache_and_migrations_are(self, client: Client) -> None:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        assert set(answer.json()["checks"]) == {"database", "migrations", "cache"}

    def test_not_when_the_cache_is_away(self, client: Client, tmp_path) -> None:
        away = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"unix://{tmp_path}/nobody.sock",
            }
        }
        with override_settings(CACHES=away):
            answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["database"] == "ok"
        assert answer.json()["checks"]["cache"] != "ok"
        cache.clear()


@pytest.mark.django_db
def test_metrics_count_requests_and_show_the_queues(client: Client) -> None:
    Job.objects.create(kind="import", created_at=clock.now())
    client.get("/healthz")
    text = client.get("/metrics").content.decode()
    assert 'pond_requests_total{method="GET",status="200",view="healthz"}' in text
    assert 'pond_jobs_open{status="queued"} 1.0' in text


@pytest.mark.django_db
class TestProblems:
    def test_of_pages_are_chinese_with_a_reference(self, client: Client) -> None:
        answer = client.get("/no/such/page/", headers={"X-Request-ID": "given-id-1"})
        assert answer.status_code == 404
        assert "页面不存在" in answer.content.decode()
        assert answer.headers["X-Request-ID"] == "given-id-1"
        assert "given-id-1" in answer.content.decode()

    def test_of_the_api_are_json(self, client: Client) -> None:
        answer = client.get("/api/v1/nothing/")
        assert answer.status_code == 404
        assert set(answer.json()) == {"code", "message", "request_id"}

    def test_an_id_that_could_forge_log_lines_is_replaced(self, client: Client) -> None:
        answer = client.get("/healthz", headers={"X-Request-ID": "a b\tc"})
        assert answer.headers["X-Request-ID"] != "a b\tc"
