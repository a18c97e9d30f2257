"""`manage.py wechat_account set KIND KEY …` and `wechat_account list`: accounts from the shell, secrets never shown."""

import argparse
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from core.errors import Refusal
from wechat.models import Account
from wechat.services.accounts import ALLOWED, set_account

CHOICES = {"mode": Account.MODES, "role": Account.ROLES}
# option → field; FILE options take the path of a PEM file ("-" is the standard input)
OPTIONS = {
    "--name": "name",
    "--appid": "appid",
    "--corpid": "corpid",
    "--agentid": "agentid",
    "--mchid": "mchid",
    "--secret": "secret",
    "--token": "token",
    "--aes-key": "aes_key",
    "--mode": "mode",
    "--role": "role",
    "--apiv3-key": "apiv3_key",
    "--merchant-serial": "merchant_serial",
    "--public-key-id": "public_key_id",
    "--api-base": "api_base",
    "--jssdk-url": "jssdk_url",
}
FILES = {"--merchant-key": "merchant_key", "--public-key": "public_key"}


class Command(BaseCommand):
    help = "Create or change an account of WeChat, WeCom or WeChat Pay, or list them (without secrets)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        actions.add_parser("list", help="show all accounts without secrets")
        change = actions.add_parser("set", help="create or change an account; what is not named stays")
        change.add_argument("kind", choices=sorted(ALLOWED), metavar="KIND")
        change.add_argument("key", metavar="KEY")
        for option, field in OPTIONS.items():
            choices = [choice for choice, _label in CHOICES[field]] if field in CHOICES else None
            change.add_argument(option, dest=field, choices=choices)
        for option, field in FILES.items():
            change.add_argument(option, dest=field, metavar="FILE")
        change.add_argument(
            "--inactive", dest="is_active", action="store_const", const=False, help="switch the account off"
        )
        change.add_argument(
            "--active", dest="is_active", action="store_const", const=True, help="switch the account on"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self._list()
            return
        names = [*OPTIONS.values(), *FILES.values(), "is_active"]
        fields = {name: options[name] for name in names if options.get(name) is not None}
        for field in FILES.values():
            if field in fields:
                fields[field] = _read(fields[field])
        try:
            account, is_new = set_account(kind=options["kind"], key=options["key"], fields=fields)
        except Refusal as error:
            raise CommandError(error.message) from None
        words = _("created") if is_new else _("changed")
        self.stdout.write(f"{account.kind} {account.key} {words}: {webhook_path(account)}")

    def _list(self) -> None:
        for account in Account.objects.order_by("kind", "key"):
            shown = {
                name: getattr(account, name)
                for name in (
                    "name",
                    "appid",
                    "corpid",
                    "agentid",
                    "mchid",
                    "merchant_serial",
                    "public_key_id",
                    "api_base",
                )
                if getattr(account, name)
            }
            if account.is_official:
                shown["mode"] = account.mode
            if account.kind != Account.PAY:
                shown["role"] = account.role
            kept = [name for name in Account.SECRET_FIELDS if getattr(account, name)]
            parts = [f"{name}={value}" for name, value in shown.items()]
            is_set, inactive = _("set"), _("inactive")
            parts += [f"{name}=({is_set})" for name in kept]
            state = "" if account.is_active else f" [{inactive}]"
            self.stdout.write(
                f"{account.kind} {account.key}{state} {webhook_path(account)} " + " ".join(parts)
            )


def webhook_path(account: Account) -> str:
    if account.kind == Account.MINI:
        return "–"
    family = "oa" if account.is_official else account.kind
    return f"/wechat/{family}/{account.key}/" + ("notify/" if family == "pay" else "")


def _read(path: str) -> str:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise CommandError(_("The file %(path)s cannot be read as a PEM file.") % {"path": path}) from None
    return text.strip() + "\n"
