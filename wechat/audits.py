"""What must hold in this room's rows."""

from collections.abc import Iterator

from django.utils.translation import gettext_lazy as _

from core.audits import Finding, audit_check, rows

CHECKED = {
    "sent_message_has_its_moment": (
        _("outgoing message"),
        _("it is sent, but nobody knows when"),
        "SELECT id FROM wechat_outboundmessage WHERE state = 'sent' AND sent_at IS NULL LIMIT 100",
    ),
    "message_in_flight_is_owned": (
        _("outgoing message"),
        _("it is being sent, but neither a lease nor a mass sending settles it"),
        "SELECT id FROM wechat_outboundmessage WHERE state = 'sending' AND lease_until IS NULL AND batch_id IS NULL"
        " LIMIT 100",
    ),
    "failure_has_a_reason": (
        _("outgoing message"),
        _("it failed or is in doubt, and does not say why"),
        "SELECT id FROM wechat_outboundmessage WHERE state IN ('failed', 'unknown') AND reason_code = '' LIMIT 100",
    ),
    "subscription_quota_counts_its_accepts": (
        _("subscription quota"),
        _("its number differs from its accepts"),
        "SELECT id FROM wechat_subscriptionquota WHERE remaining <> cardinality(accepted_ats) LIMIT 100",
    ),
    "mass_sending_knows_its_number": (
        _("mass sending"),
        _("it was handed over without a number of the platform"),
        "SELECT id FROM wechat_outboundbatch WHERE state IN ('sent', 'done') AND platform_id = '' AND recipients > 0"
        " LIMIT 100",
    ),
}


@audit_check("wechat", _("Messages and quotas of WeChat add up"))
def messages_and_quotas() -> Iterator[Finding]:
    for name, (subject, problem, query) in CHECKED.items():
        for (pk,) in rows(query):
            yield Finding(f"wechat.{name}", f"{subject} {pk}", str(problem))
