"""HTTP to the platforms: one pooled session per thread, time-outs always, failures typed by what surely happened."""

import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests
from django.utils.translation import gettext as _
from requests.adapters import HTTPAdapter

from wechat.errors import NotReached, OutcomeUnknown, PlatformBusy
from wechat.gateway.addresses import is_local

TIMEOUT_SECONDS = (3, 8)  # to connect, to read
PAUSES_SECONDS = (0.2, 0.6)  # before the second and third try

_local = threading.local()


def _session(url: str) -> requests.Session:
    """The proxy settings of the environment count for the vendors, not for a stand-in on this machine."""
    name = "inside" if is_local(urlsplit(url).hostname or "") else "outside"
    session: requests.Session | None = getattr(_local, name, None)
    if session is None:
        session = requests.Session()
        session.trust_env = name == "outside"
        session.mount("https://", HTTPAdapter(pool_connections=8, pool_maxsize=8))
        session.mount("http://", HTTPAdapter(pool_connections=8, pool_maxsize=8))
        setattr(_local, name, session)
    return session


def request(
    method: str,
    url: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    repeatable: bool,
    judge_5xx: bool = True,
) -> requests.Response:
    """One exchange. `repeatable`: doing it twice is harmless, so lost answers and 5xx are tried up to three times.

    A connection that was never made is always tried again. Raises NotReached, OutcomeUnknown, PlatformBusy (5xx,
    unless the caller judges those itself).
    """
    for pause in (*PAUSES_SECONDS, None):
        try:
            response = _session(url).request(
                method,
                url,
                params=params,
                data=body,
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.ConnectTimeout:
            failure: NotReached | OutcomeUnknown | PlatformBusy = _not_reached()
        except requests.ReadTimeout:
            failure = _outcome_unknown()
        except requests.ConnectionError as error:
            failure = _not_reached() if _never_connected(error) else _outcome_unknown()
        except requests.RequestException:
            failure = _outcome_unknown()
        else:
            if response.status_code < 500 or (not judge_5xx and (pause is None or not repeatable)):
                return response
            failure = PlatformBusy(
                f"http_{response.status_code}",
                _("The platform is out of order for the moment; it is tried again later."),
                detail=response.text[:200],
                retry_after=30,
            )
        may_repeat = repeatable or isinstance(failure, NotReached)
        if pause is None or not may_repeat:
            if isinstance(failure, PlatformBusy) and not repeatable:
                raise _outcome_unknown(failure.code)
            raise failure
        time.sleep(pause)
    raise AssertionError("unreachable")


def _never_connected(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return type(reason).__name__ in ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError")


def _not_reached() -> NotReached:
    return NotReached(
        "not_reached",
        _("The platform cannot be reached from this server: check its network, DNS and firewall."),
        retry_after=30,
    )


def _outcome_unknown(code: str = "no_answer") -> OutcomeUnknown:
    return OutcomeUnknown(
        code, _("The call went out, but no answer came back: it may have been carried out or not.")
    )


def to_json(document: Any) -> bytes:
    """UTF-8 without escapes, as the platforms demand."""
    return orjson.dumps(document)


def from_json(response: requests.Response) -> dict[str, Any]:
    """The answer's object. Raises OutcomeUnknown when it is none."""
    try:
        document = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise OutcomeUnknown(
            f"http_{response.status_code}",
            _("The platform answered something that is not its protocol; is the API base address right?"),
            detail=response.text[:200],
        )
    return document
