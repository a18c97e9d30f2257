"""Preparing the sandbox for a demo, over its own HTTP interface. Nothing of a real installation comes here."""

from typing import Any

import requests
from django.conf import settings
from django.utils.translation import gettext as _

from wechat.errors import NotReached

PATIENCE_SECONDS = 60


def tell_sandbox(what: str, document: dict[str, Any]) -> None:
    """POST to `/sandbox/api/<what>` of the sandbox of this demo. Raises NotReached."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # the sandbox is on this machine, not behind a proxy
            answer = session.post(
                f"{settings.SANDBOX_URL}/sandbox/api/{what}", json=document, timeout=PATIENCE_SECONDS
            )
            answer.raise_for_status()
    except requests.RequestException as error:
        raise NotReached(
            "sandbox", _("The platform cannot be reached from this server."), detail=type(error).__name__
        ) from error
