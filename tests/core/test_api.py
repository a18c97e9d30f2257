"""The ground of the REST interface: who may call, how often, once per key, and what a refusal says."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client

from core import clock, tokens
from core.api import TokenThrottle
from core.models import ApiCall, ApiToken, Job

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.core.api_urls")]
POTS = "/api/v1/pots/"


def key(*scopes: str) -> str:
    return tokens.issue_token(name="ERP", scopes=list(scopes))[1]


def bearer(secret: str, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {secret}",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }


def post(client: Client, secret: str, body: Any, **headers: str) -> Any:
    return client.post(POTS, body, content_type="application/json", headers=bearer(secret, **headers))


class TestKeys:
    def test_are_kept_as_hashes_only(self) -> None:
        secret = key("stock:read")
        row = ApiToken.objects.get()
        assert secret.startswith(row.prefix)
        assert secret not in str(row.__dict__)

    def test_open_what_their_scopes_name(self, client: Client) -> None:
        assert client.get(POTS, headers=bearer(key("stock:read"))).status_code == 200
        answer = client.get(POTS, headers=bearer(key("orders:read")))
        assert answer.status_code == 403
        assert answer.json()["code"] == "permission_denied"
        assert "stock:read" in answer.json()["message"]

    @pytest.mark.parametrize("header", ["", "Bearer pond_wrong", "Bearer ", "Basic YTpi"])
    def test_that_are_wrong_or_missing_get_401_in_chinese(self, client: Client, header: str) -> None:
        answer = client.get(POTS, headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert set(answer.json()) == {"code", "message", "request_id"}
        assert any("一" <= letter <= "鿿" for letter in answer.json()["message"])

    def test_that_were_revoked_are_closed(self, client: Client) -> None:
        secret = key("stock:read")
        assert tokens.revoke_tokens(token_ids=[ApiToken.objects.get().pk]) == 1
        assert client.get(POTS, headers=bearer(secret)).status_code == 401

    def test_note_their_use_once_a_minute(self, client: Client, django_assert_num_queries) -> None:
        secret = key("stock:read")
        noon = datetime(2026, 3, 1, 4, tzinfo=UTC)
        with clock.travel(noon):
            client.get(POTS, headers=bearer(secret))
            with django_assert_num_queries(2):  # the token, the page
                client.get(POTS, headers=bearer(secret))
        assert ApiToken.objects.get().last_used_at == noon
        with clock.travel(noon + timedelta(minutes=2)):
            client.get(POTS, headers=bearer(secret))
        assert ApiToken.objects.get().last_used_at == noon + timedelta(minutes=2)

    def test_answer_permission_questions_from_their_scopes(self, client: Client) -> None:
        answer = client.get("/api/v1/kiln/", headers=bearer(key("members:phone")))
        assert answer.json() == {"phone": True, "who": "ERP"}

    def test_cannot_use_a_method_that_the_door_does_not_name(self, client: Client) -> None:
        secret = key("members:phone")
        assert client.delete("/api/v1/kiln/", headers=bearer(secret)).status_code == 403
        assert client.put("/api/v1/kiln/", headers=bearer(secret)).status_code == 405


class TestColleagues:
    def test_read_what_the_admin_shows_them_and_write_nothing(self, client: Client, admin_user: User) -> None:
        client.force_login(admin_user)
        assert client.get(POTS).status_code == 200
        assert client.post(POTS, {"kind": "vase"}, content_type="application/json").status_code == 403
        assert Job.objects.count() == 0

    def test_without_the_permission_do_not_read(self, client: Client) -> None:
        user = User.objects.create_user("xiaoli", is_staff=True)
        client.force_login(user)
        assert client.get(POTS).status_code == 403
        user.is_staff = False
        user.save()
        user.user_permissions.add(*Permission.objects.filter(codename="view_stock"))
        assert client.get(POTS).status_code == 403


class TestWrites:
    def test_need_an_idempotency_key(self, client: Client) -> None:
        answer = post(client, key("stock:write"), {"kind": "vase"})
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_required")
        assert Job.objects.count() == 0

    def test_happen_once_per_key_and_are_answered_alike(self, client: Client) -> None:
        secret = key("stock:write")
        first = post(client, secret, {"kind": "vase"}, Idempotency_Key="k1")
        again = post(client, secret, {"kind": "vase"}, Idempotency_Key="k1")
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert again.headers["Idempotent-Replay"] == "true"
        assert Job.objects.count() == 1

    def test_refuse_a_key_that_came_with_another_body(self, client: Client) -> None:
        secret = key("stock:write")
        post(client, secret, {"kind": "vase"}, Idempotency_Key="k1")
        answer = post(client, secret, {"kind": "cup"}, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")
        assert Job.objects.count() == 1

    def test_keys_of_two_integrators_do_not_meet(self, client: Client) -> None:
        for _ in range(2):
            post(client, key("stock:write"), {"kind": "vase"}, Idempotency_Key="k1")
        assert Job.objects.count() == 2

    def test_that_are_refused_write_nothing_and_may_be_sent_again(self, client: Client) -> None:
        secret = key("stock:write")
        for _ in range(2):
            answer = post(client, secret, {"kind": "broken"}, Idempotency_Key="k1")
            assert (answer.status_code, answer.json()["code"]) == (409, "pot_broken")
            assert answer.json()["message"] == "这个花瓶碎了。"
        assert (Job.objects.count(), ApiCall.objects.count()) == (0, 0)

    def test_that_break_say_so_with_an_id_and_write_nothing(self, client: Client) -> None:
        client.raise_request_exception = False
        answer = post(client, key("stock:write"), {"kind": "explosive"}, Idempotency_Key="k1")
        assert answer.status_code == 500
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
        assert (Job.objects.count(), ApiCall.objects.count()) == (0, 0)

    def test_name_the_fields_that_are_wrong(self, client: Client) -> None:
        answer = post(client, key("stock:write"), {"kind": "x" * 21}, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert list(answer.json()["fields"]) == ["kind"]

    @pytest.mark.parametrize(
        ("body", "content_type", "status"),
        [("{", "application/json", 400), ("a=b", "application/x-www-form-urlencoded", 415)],
    )
    def test_refuse_what_is_not_json(self, client: Client, body: str, content_type: str, status: int) -> None:
        headers = bearer(key("stock:write"), Idempotency_Key="k1")
        answer = client.generic("POST", POTS, body, content_type=content_type, headers=headers)
        assert answer.status_code == status
        assert answer.json()["message"]

    def test_old_answers_are_forgotten(self, client: Client) -> None:
        post(client, key("stock:write"), {"kind": "vase"}, Idempotency_Key="k1")
        assert tokens.prune_calls() == 0
        with clock.travel(timedelta(days=8)):
            assert tokens.prune_calls() == 1


@pytest.mark.django_db(transaction=True)
def test_twins_at_the_same_time_have_one_effect_and_one_answer(client: Client) -> None:
    secret = key("stock:write")

    def send(_number: int) -> Any:
        try:
            return post(Client(), secret, {"kind": "vase"}, Idempotency_Key="k1").json()
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(6)))
    assert Job.objects.count() == 1
    assert all(answer == answers[0] for answer in answers)


class TestLists:
    def test_page_by_key_and_show_nothing_twice_while_rows_are_added(self, client: Client) -> None:
        for number in range(5):
            Job.objects.create(kind=f"pot {number}", created_at=clock.now())
        headers = bearer(key("stock:read"))
        page = client.get(f"{POTS}?limit=3", headers=headers).json()
        Job.objects.create(kind="pot 5", created_at=clock.now())
        rest = client.get(page["next"], headers=headers).json()
        assert [row["kind"] for row in page["results"] + rest["results"]] == [f"pot {n}" for n in range(6)]
        assert rest["next"] is None

    def test_refuse_a_forged_cursor(self, client: Client) -> None:
        answer = client.get(f"{POTS}?cursor=nonsense", headers=bearer(key("stock:read")))
        assert answer.status_code == 404


class TestThrottle:
    def test_turns_a_key_away_after_its_share_and_says_for_how_long(
        self, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TokenThrottle, "THROTTLE_RATES", {"token": "5/min"})
        secret, other = key("stock:read"), key("stock:read")
        noon = datetime(2026, 3, 1, 4, 0, 20, tzinfo=UTC)
        with clock.travel(noon):
            for _ in range(5):
                assert client.get(POTS, headers=bearer(secret)).status_code == 200
            answer = client.get(POTS, headers=bearer(secret))
            assert answer.status_code == 429
            assert answer.json()["code"] == "throttled"
            assert answer.headers["Retry-After"] == "40"
            assert client.get(POTS, headers=bearer(other)).status_code == 200
        with clock.travel(noon + timedelta(minutes=1)):
            assert client.get(POTS, headers=bearer(secret)).status_code == 200

    def test_is_open_when_the_cache_is_away(self, client: Client, settings: Any, tmp_path: Any) -> None:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"unix://{tmp_path}/nobody.sock",
            }
        }
        assert client.get(POTS, headers=bearer(key("stock:read"))).status_code == 200
