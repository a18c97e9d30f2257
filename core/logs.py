"""Structured logs with the request's id, and no secret or full phone number in any line."""

import logging
import logging.config
import re
from typing import Any

import structlog

SECRET_KEYS = re.compile(
    r"(secret|token|password|aes_?key|apiv3|private|signature|authorization|cookie|session_key)", re.I
)
SECRET_IN_TEXT = re.compile(
    r"((?:secret|token|password|signature|(?<![a-z])code)[\"']?\s*[=:]\s*[\"']?|bearer\s+)([^&\s\"',}]{4,})",
    re.I,
)
PHONE = re.compile(r"(?<!\d)(1[3-9]\d)\d{4}(\d{4})(?!\d)")
# A request's: digits in it may look like a phone, and who searches the log needs it whole.
MADE_ID = re.compile(r"[0-9a-f]{32}")
KEY_BLOCK = re.compile(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", re.S)


def redacted(text: str) -> str:
    """The text without secrets' values, key blocks and the middle of phone numbers."""
    text = KEY_BLOCK.sub("[key]", text)
    text = SECRET_IN_TEXT.sub(r"\1[redacted]", text)
    return PHONE.sub(r"\1****\2", text)


def redact_event(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
    """structlog processor: hide values under secret-like keys, and secrets and phones inside any text."""
    for key, value in event.items():
        if key == "request_id" and MADE_ID.fullmatch(str(value)):
            continue
        if isinstance(value, str):
            event[key] = "[redacted]" if key != "event" and SECRET_KEYS.search(key) else redacted(value)
        elif isinstance(value, dict | list | tuple | set) or (
            isinstance(value, int) and PHONE.fullmatch(str(value))
        ):
            event[key] = redacted(str(value))
    return event


def configure(options: dict[str, str]) -> None:
    """Django's LOGGING_CONFIG: `options` are {"level": "INFO", "format": "json"|"console"}."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = (
        [
            structlog.processors.format_exc_info,
            redact_event,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
        if options["format"] == "json"
        else [structlog.processors.format_exc_info, redact_event, structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "pond": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "foreign_pre_chain": shared,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
                }
            },
            "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "pond"}},
            "root": {"handlers": ["console"], "level": options["level"]},
            "loggers": {
                "django.server": {"level": "WARNING"},
                "urllib3": {"level": "WARNING"},
                "celery": {"level": "WARNING"},  # a line per sweep would bury what matters
                "asyncio": {"level": "WARNING"},
            },
        }
    )
