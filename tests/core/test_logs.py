"""No secret and no full phone number reaches a log line, whatever is logged and however."""

import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from core import logs

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----"
SECRETS = [
    "hush-hush-hush",
    "13812345678",
    "MIIEvQIBADANBg",
    "eyJhbGciOi",
    "pond_9fK2mQ",
]


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest) -> Iterator[StringIO]:
    before = logging.getLogger().handlers[:]
    logs.configure({"level": "DEBUG", "format": request.param})
    sink = StringIO()
    for handler in logging.getLogger().handlers:
        handler.setStream(sink)  # type: ignore[attr-defined]
    yield sink
    logging.getLogger().handlers = before


def clean(sink: StringIO) -> str:
    text = sink.getvalue()
    assert text
    for secret in SECRETS:
        assert secret not in text, text
    return text


def test_structured_values_are_hidden_by_their_names(lines: StringIO) -> None:
    structlog.get_logger("t").warning(
        "calling", secret="hush-hush-hush", access_token="eyJhbGciOi", apiv3_key="hush-hush-hush", path="/x"
    )
    assert "/x" in clean(lines)


def test_secrets_inside_text_addresses_and_nested_values_are_hidden(lines: StringIO) -> None:
    log = structlog.get_logger("t")
    log.info("GET /cgi-bin/token?appid=wx1&secret=hush-hush-hush&grant_type=x")
    log.info("sent", body={"secret": "hush-hush-hush", "to": ["13812345678"]}, number=13812345678)
    log.info("key", pem=PEM)
    log.info("header", value="Authorization: Bearer pond_9fK2mQxyzxyz")
    log.info("platform refused", answer="{'errcode': 40001, 'errmsg': 'invalid credential'}")
    assert "40001" in clean(lines)


def test_foreign_libraries_and_exceptions_are_hidden_too(lines: StringIO) -> None:
    logging.getLogger("requests").warning("url %s", "https://x/?access_token=eyJhbGciOi&a=1")
    logging.getLogger("other").info("call 13812345678 now")
    try:
        raise ValueError("bad answer: {'secret': 'hush-hush-hush', 'phone': '13812345678'}")
    except ValueError:
        structlog.get_logger("t").exception("failed")
        logging.getLogger("django.request").exception("failed")
    text = clean(lines)
    assert "138****5678" in text
    assert "ValueError" in text


def test_the_request_id_is_on_every_line_of_the_request(lines: StringIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="abc12345")
    try:
        structlog.get_logger("t").info("one")
        logging.getLogger("other").warning("two")
    finally:
        structlog.contextvars.clear_contextvars()
    assert clean(lines).count("abc12345") == 2


def test_a_request_id_is_whole_though_digits_in_it_look_like_a_phone() -> None:
    made, given = "64fa9d5c8a7742f885e15557508351cc", "13800005678"
    assert logs.redact_event(None, "", {"request_id": made})["request_id"] == made
    assert logs.redact_event(None, "", {"request_id": given})["request_id"] == "138****5678"
