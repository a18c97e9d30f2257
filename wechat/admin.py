"""WeChat in the admin: accounts and what is wrong with them, notices, outgoing messages, quotas."""

import json
from datetime import datetime
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextareaWidget

from core import clock
from core.admin import BaseAdmin, ReadOnlyAdmin
from wechat import envelopes, services
from wechat.models import (
    Account,
    ChannelUse,
    MassUse,
    Notice,
    OutboundBatch,
    OutboundMessage,
    ReplyWindow,
    SubscriptionQuota,
)
from wechat.outbound.quotas import limit_of
from wechat.services.accounts import BadAccount, change_account, check_account

MOST_COUNTED = 10_000
# The platforms' names of notices, in words.
TOPICS = {
    "event.subscribe": _("Follow"),
    "event.unsubscribe": _("Unfollow"),
    "event.scan": _("Code scanned"),
    "event.click": _("Menu clicked"),
    "event.view": _("Menu link opened"),
    "event.subscribe_msg_popup_event": _("Subscription answered"),
    "event.subscribe_msg_change_event": _("Subscription switched off"),
    "event.subscribe_msg_sent_event": _("Subscription notification result"),
    "event.templatesendjobfinish": _("Template message result"),
    "event.masssendjobfinish": _("Mass message result"),
    "change_external_contact.add_external_contact": _("Contact added"),
    "change_external_contact.add_half_external_contact": _("Contact added without verification"),
    "change_external_contact.edit_external_contact": _("Contact edited"),
    "change_external_contact.del_external_contact": _("Contact removed by staff"),
    "change_external_contact.del_follow_user": _("Contact left"),
    "change_external_chat.create": _("Customer group created"),
    "change_external_chat.update": _("Customer group changed"),
    "change_external_chat.dismiss": _("Customer group dismissed"),
    "change_external_tag.create": _("Enterprise tag created"),
    "change_external_tag.update": _("Enterprise tag changed"),
    "change_external_tag.delete": _("Enterprise tag deleted"),
    "TRANSACTION.SUCCESS": _("Payment succeeded"),
    "REFUND.SUCCESS": _("Refund succeeded"),
    "REFUND.ABNORMAL": _("Refund abnormal"),
    "REFUND.CLOSED": _("Refund closed"),
}
LONG_SECRETS = ("merchant_key",)


class CappedPaginator(Paginator):
    """Counts to ten thousand and stops: who needs more narrows the list by a filter."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[:MOST_COUNTED].count()


class AccountForm(forms.ModelForm):
    """Secrets can be written but never read: an empty field keeps what is there."""

    class Meta:
        model = Account
        fields = "__all__"
        widgets = {
            **{
                name: UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False)
                for name in Account.SECRET_FIELDS
                if name not in LONG_SECRETS
            },
            **{name: UnfoldAdminTextareaWidget(attrs={"rows": 4}) for name in LONG_SECRETS},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = {name: getattr(self.instance, name) for name in Account.SECRET_FIELDS}
        for name in Account.SECRET_FIELDS:
            if name not in self.fields:
                continue
            self.fields[name].required = False
            self.initial[name] = ""
            if self.kept[name]:
                self.fields[name].help_text = _("Is set and never shown. Leave it empty to keep it.")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        for name in Account.SECRET_FIELDS:
            if name in values and not values[name]:
                values[name] = self.kept[name]
        return values

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        try:
            check_account(self.instance)
        except BadAccount as error:
            self.add_error(error.field if error.field in self.fields else None, error.message)


@admin.register(Account)
class AccountAdmin(BaseAdmin):
    form = AccountForm
    list_display = ["name_or_key", "kind", "role", "key", "identity", "mode", "is_active"]
    list_filter = ["kind", "role", "is_active"]
    search_fields = ["name", "key", "appid", "corpid", "mchid"]
    ordering = ["kind", "key"]
    actions_detail = ["test_connection"]
    readonly_fields = ["webhook"]

    @display(description=_("name"), ordering="name")
    def name_or_key(self, account: Account) -> str:
        return str(account)

    @display(description=_("identity"))
    def identity(self, account: Account) -> str:
        return account.corpid or account.mchid or account.appid or "–"

    @display(description=_("webhook address"))
    def webhook(self, account: Account) -> SafeString | str:
        """To be copied into the platform's page."""
        if not account.pk:
            return str(_("Shown when the account is saved."))
        if account.kind == Account.MINI:
            return str(_("A mini program calls nobody here: its backend uses the REST interface."))
        name = {"work": "wechat:work", "pay": "wechat:pay_notify"}.get(account.kind, "wechat:oa")
        address = settings.PUBLIC_URL + reverse(name, args=[account.key])
        return format_html(
            '<input type="text" readonly value="{}" onfocus="this.select()" aria-label="{}"'
            ' class="border rounded-default px-3 py-2 w-full max-w-2xl font-mono text-sm bg-white dark:bg-base-900">',
            address,
            _("webhook address"),
        )

    def get_fieldsets(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """Only what the account's kind has; a new one shows all until its kind is chosen and saved."""
        kept_for = () if obj and obj.kind == Account.PAY else ("role",)
        head = (None, {"fields": [("kind", "key"), ("name", "is_active"), *kept_for, "webhook"]})
        callback = _("The callback token and EncodingAESKey are chosen on the platform's page.")
        official = {"fields": ["appid", "secret", ("token", "aes_key"), "mode"], "description": callback}
        work = {
            "fields": [("corpid", "agentid"), "secret", ("token", "aes_key")],
            "description": callback,
        }
        either = {
            "fields": ["appid", ("corpid", "agentid"), "secret", ("token", "aes_key"), "mode"],
            "description": callback,
        }
        money = [("mchid", "merchant_serial"), "apiv3_key", "merchant_key", "public_key_id", "public_key"]
        more = ["api_base", "jssdk_url", "daily_limits"]
        if obj is None:
            return [
                head,
                (_("Official account or WeCom"), either),
                (_("WeChat Pay"), {"fields": money, "classes": ["collapse"]}),
                (_("Addresses and limits"), {"fields": more, "classes": ["collapse"]}),
            ]
        if obj.kind == Account.MINI:
            own: Any = (_("Keys"), {"fields": ["appid", "secret"]})
        elif obj.kind == Account.PAY:
            own = (_("WeChat Pay"), {"fields": ["appid", *money]})
        else:
            own = (_("Keys"), work if obj.kind == Account.WORK else official)
        if obj.kind in (Account.PAY, Account.MINI):
            more = [name for name in more if name != "jssdk_url"]
        return [head, own, (_("Addresses and limits"), {"fields": more, "classes": ["collapse"]})]

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> list[str]:
        # The key is part of the address that the platform calls.
        return [*self.readonly_fields, "kind", "key"] if obj else list(self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        change_account(obj, changed=set(form.changed_data))

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Notices and messages belong to it: an account is switched off, not deleted."""
        return False

    @action(description=_("Test the connection"), url_path="test-connection", permissions=["test_connection"])
    def test_connection(self, request: HttpRequest, object_id: str) -> HttpResponse:
        report = services.test_connection(account_id=int(object_id))
        words = report.message
        if report.code:
            words = f"{words} ({report.code})"
        if report.detail and not report.ok:
            words = f"{words} {report.detail}"
        self.message_user(request, words, messages.SUCCESS if report.ok else messages.ERROR)
        return HttpResponseRedirect(reverse("admin:wechat_account_change", args=[object_id]))

    def has_test_connection_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self.has_change_permission(request)


@admin.register(Notice)
class NoticeAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = [
        "arrived",
        "account_name",
        "meaning",
        "sender",
        "state",
        "deliveries",
        "handler",
        "short_error",
    ]
    list_filter = ["status", "account", ("received_at", admin.DateFieldListFilter)]
    list_select_related = ["account"]
    search_fields = ["=sender", "=topic"]
    search_help_text = _("Sender or topic, in full")
    ordering = ["-pk"]
    actions = ["replay"]
    actions_detail = ["replay_one"]
    fieldsets = [
        (None, {"fields": [("account", "topic"), ("sender", "status"), ("received_at", "handled_at")]}),
        (_("Deduplication"), {"fields": ["decision", "fingerprint", ("deliveries", "last_received_at")]}),
        (_("Handling"), {"fields": [("handler", "attempts"), "next_attempt_at", "error"]}),
        (_("As received"), {"fields": ["raw", "decrypted", "headers"]}),
    ]
    readonly_fields = ["decision", "raw", "decrypted"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notice]:
        rows: QuerySet[Notice] = super().get_queryset(request)
        match = request.resolver_match
        return (
            rows.defer("body", "content") if match and match.url_name == "wechat_notice_changelist" else rows
        )

    @display(
        description=_("status"),
        ordering="status",
        label={"new": "info", "done": "success", "ignored": "", "failed": "danger"},
    )
    def state(self, notice: Notice) -> tuple[str, Any]:
        return notice.status, notice.get_status_display()

    @display(description=_("arrived at"), ordering="pk")
    def arrived(self, notice: Notice) -> SafeString | str:
        return _moment(notice.received_at)

    @display(description=_("WeChat account"), ordering="account")
    def account_name(self, notice: Notice) -> SafeString:
        return _one_line(str(notice.account))

    @display(description=_("topic"), ordering="topic")
    def meaning(self, notice: Notice) -> SafeString:
        """In words, with the platform's own name on hover."""
        words = TOPICS.get(notice.topic)
        if words is None and notice.topic.startswith("message."):
            words = _("Message received")
        return format_html(
            '<span class="whitespace-nowrap" title="{}">{}</span>', notice.topic, words or notice.topic
        )

    @display(description=_("error"))
    def short_error(self, notice: Notice) -> str:
        return notice.error[:80]

    @display(description=_("decision"))
    def decision(self, notice: Notice) -> str:
        if notice.deliveries == 1:
            return str(_("Delivered once, stored."))
        return ngettext(
            "Delivered %(times)d times: stored once, %(repeats)d repeat not handled again.",
            "Delivered %(times)d times: stored once, %(repeats)d repeats not handled again.",
            notice.deliveries - 1,
        ) % {"times": notice.deliveries, "repeats": notice.deliveries - 1}

    @display(description=_("body as received"))
    def raw(self, notice: Notice) -> SafeString:
        return _preformatted(bytes(notice.body).decode("utf-8", "replace"))

    @display(description=_("fields"))
    def decrypted(self, notice: Notice) -> SafeString | str:
        """The fields that the handler saw; of Pay notices only the envelope, the resource stays encrypted."""
        try:
            fields = envelopes.parse(notice.content.encode() if notice.content else bytes(notice.body))
        except envelopes.Malformed:
            return "–"
        return _preformatted(json.dumps(fields, ensure_ascii=False, indent=2))

    @admin.action(description=_("Replay"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Notice]) -> None:
        count = services.replay_notices(notice_ids=list(queryset.values_list("pk", flat=True)))
        words = ngettext("%(count)d notice is handled again.", "%(count)d notices are handled again.", count)
        self.message_user(request, words % {"count": count}, messages.SUCCESS)

    @action(description=_("Replay"), url_path="replay", permissions=["replay"])
    def replay_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        self.replay(request, Notice.objects.filter(pk=object_id))
        return HttpResponseRedirect(reverse("admin:wechat_notice_change", args=[object_id]))

    def has_replay_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return bool(request.user.has_perm("wechat.change_notice"))


def _moment(value: datetime | None) -> SafeString | str:
    if value is None:
        return "–"
    return _one_line(f"{clock.local(value):%Y-%m-%d %H:%M:%S}")


def _one_line(text: str) -> SafeString:
    return format_html('<span class="whitespace-nowrap">{}</span>', text)


def _preformatted(text: str) -> SafeString:
    return format_html(
        '<pre class="whitespace-pre-wrap break-all text-xs max-h-96 overflow-auto">{}</pre>', text[:20_000]
    )


STATE_LABELS = {
    "pending": "info",
    "held": "warning",
    "sending": "info",
    "sent": "success",
    "failed": "danger",
    "unknown": "warning",
    "cancelled": "",
}


@admin.register(OutboundMessage)
class OutboundMessageAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = [
        *("created", "account_name", "channel_name", "to", "words", "state_label", "short_reason"),
        *("origin", "sent"),
    ]
    list_filter = ["state", "channel", "account"]
    list_select_related = ["account", "body"]
    search_fields = ["=to", "=origin", "=dedupe_key"]
    search_help_text = _("Receiver or origin, in full")
    ordering = ["-pk"]
    actions = ["send_again"]
    fields = [
        ("account", "channel"),
        ("to", "state"),
        "content",
        "vars",
        "reason_words",
        ("attempts", "next_attempt_at"),
        ("created_at", "sent_at"),
        ("origin", "origin_id"),
        ("platform_id", "batch"),
    ]
    readonly_fields = ["content", "reason_words"]

    @display(description=_("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, message: OutboundMessage) -> tuple[str, Any]:
        return message.state, message.get_state_display()

    @display(description=_("WeChat account"), ordering="account")
    def account_name(self, message: OutboundMessage) -> SafeString:
        return _one_line(str(message.account))

    @display(description=_("channel"), ordering="channel")
    def channel_name(self, message: OutboundMessage) -> SafeString:
        return _one_line(message.get_channel_display())

    @display(description=_("created at"), ordering="pk")
    def created(self, message: OutboundMessage) -> SafeString | str:
        return _moment(message.created_at)

    @display(description=_("sent at"), ordering="sent_at")
    def sent(self, message: OutboundMessage) -> SafeString | str:
        return _moment(message.sent_at)

    @display(description=_("content"))
    def words(self, message: OutboundMessage) -> SafeString:
        text = str(message.body)
        return _one_line(text if len(text) <= 18 else f"{text[:17]}…")

    @display(description=_("content as sent"))
    def content(self, message: OutboundMessage) -> SafeString:
        return _preformatted(json.dumps(message.body.content, ensure_ascii=False, indent=2))

    @display(description=_("reason"))
    def short_reason(self, message: OutboundMessage) -> SafeString:
        return format_html('<span class="block min-w-48">{}</span>', self.reason_words(message))

    @display(description=_("reason"))
    def reason_words(self, message: OutboundMessage) -> str:
        if not message.reason_code:
            return "–"
        return f"{message.reason} ({message.reason_code})"

    @admin.action(
        description=_("Send again (a message of unknown outcome may arrive twice)"), permissions=["send"]
    )
    def send_again(self, request: HttpRequest, queryset: QuerySet[OutboundMessage]) -> None:
        count = services.retry_messages(message_ids=list(queryset.values_list("pk", flat=True)))
        words = ngettext("%(count)d message waits again.", "%(count)d messages wait again.", count)
        self.message_user(request, words % {"count": count}, messages.SUCCESS if count else messages.WARNING)

    def has_send_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("wechat.change_outboundmessage"))


@admin.register(OutboundBatch)
class OutboundBatchAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = [
        "id",
        "account",
        "channel",
        "body",
        "state_label",
        "recipients",
        "platform_id",
        "created_at",
    ]
    list_filter = ["state", "channel", "account"]
    list_select_related = ["account", "body"]
    ordering = ["-pk"]
    fields = [
        ("account", "channel"),
        ("body", "state"),
        ("recipients", "platform_id"),
        "result",
        ("created_at", "checked_at"),
    ]

    @display(
        description=_("state"),
        ordering="state",
        label={
            "sending": "info",
            "sent": "info",
            "done": "success",
            "failed": "danger",
            "unknown": "warning",
        },
    )
    def state_label(self, batch: OutboundBatch) -> tuple[str, Any]:
        return batch.state, batch.get_state_display()


@admin.register(ChannelUse)
class ChannelUseAdmin(ReadOnlyAdmin):
    list_display = ["day", "account", "channel", "used", "limit", "paused_until", "pause_reason"]
    list_filter = ["account", "channel"]
    list_select_related = ["account"]
    ordering = ["-day", "account", "channel"]

    @display(description=_("limit"))
    def limit(self, use: ChannelUse) -> str:
        number = limit_of(use.account, use.channel)
        return "–" if number is None else str(number)


@admin.register(ReplyWindow)
class ReplyWindowAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = ["openid", "account", "trigger", "remaining", "opened_at", "expires_at"]
    list_filter = ["trigger", "account"]
    list_select_related = ["account"]
    search_fields = ["=openid"]
    ordering = ["-pk"]


@admin.register(SubscriptionQuota)
class SubscriptionQuotaAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = ["openid", "account", "template_id", "remaining", "refused_at"]
    list_filter = ["account"]
    list_select_related = ["account"]
    search_fields = ["=openid", "=template_id"]
    ordering = ["-pk"]
    fields = [("account", "openid"), ("template_id", "remaining"), "refused_at"]


@admin.register(MassUse)
class MassUseAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    list_display = ["recipient", "account", "month", "used"]
    list_filter = ["account"]
    list_select_related = ["account"]
    search_fields = ["=recipient"]
    ordering = ["-pk"]
