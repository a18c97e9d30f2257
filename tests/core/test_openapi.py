"""The REST interface describes itself fully, and its page needs nobody else's server."""

import re
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        return dict(SchemaGenerator().get_schema(request=None, public=True))


def test_the_description_is_valid_and_without_warnings(schema: dict[str, Any]) -> None:
    validate_schema(schema)
    assert not GENERATOR_STATS._warn_cache, list(GENERATOR_STATS._warn_cache)
    assert not GENERATOR_STATS._error_cache, list(GENERATOR_STATS._error_cache)


ONCE_BY_NATURE = {"/api/v1/members/by-mini-code/"}
"""The code of a login works once; whose it is does not change by asking again."""


def test_every_call_names_its_key_and_its_refusals(schema: dict[str, Any]) -> None:
    for path, methods in schema["paths"].items():
        for method, call in methods.items():
            assert {"ApiToken": []} in call["security"], path
            assert {"401", "403"} <= set(call["responses"]), path
            if method == "post" and path not in ONCE_BY_NATURE:
                names = [parameter["name"] for parameter in call["parameters"]]
                assert "Idempotency-Key" in names, path


@pytest.mark.django_db
def test_the_page_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/api/docs/").content.decode()
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert addresses
    assert all(address.startswith("/") for address in addresses), addresses
    assert client.get("/api/schema/").status_code == 200
