"""The admin's home: cards, curves, the funnel, sleepers and the last broadcasts, for 7, 30 or 90 days."""

import json
from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from analytics import queries, rules
from campaigns import queries as campaign_queries
from core import clock
from core.money import yuan
from crm.queries.phones import sms_trouble

PERIODS = (7, 30, 90)


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """unfold's DASHBOARD_CALLBACK. Figures are for those who may see orders or members; others get the links."""
    user = request.user
    may_see = user.has_perm("shop.view_order") or user.has_perm("crm.view_member")
    context["may_see_figures"] = may_see
    if not may_see:
        return context
    asked = request.GET.get("days", "30")
    days = int(asked) if asked in {str(period) for period in PERIODS} else 30
    rows = queries.last_days(max(2 * days, 2))
    current, before = rows[-days:], rows[:days]
    today, yesterday = rows[-1], rows[-2]
    now, earlier = queries.sums(current), queries.sums(before)
    members = queries.members_now()
    funnel = queries.funnel(current[0].day, current[-1].day)
    context.update(
        {
            "title": _("Overview"),
            "periods": [
                {"days": period, "label": _("%(days)d days") % {"days": period}, "current": period == days}
                for period in PERIODS
            ],
            "days": days,
            "counted_until": clock.local(clock.now()),
            "today_cards": _today_cards(today, yesterday),
            "period_cards": _period_cards(now, earlier, current, days),
            "funnel_steps": _funnel_steps(funnel),
            "members_now": members,
            "dormant_bars": _dormant_bars(members),
            "follow_chart": _follow_chart(current),
            "sales_chart": _sales_chart(current),
            "chart_options": _options(legend=True),
            "sales_options": _sales_options(),
            "last_broadcasts": [_broadcast_row(row) for row in campaign_queries.last_broadcasts(5)],
            "has_sales": any(row.paid_orders or row.paid_fen for row in current),
            "has_follows": any(row.followed or row.unfollowed for row in current),
            "top_sources": _with_share(queries.top_sources(current[0].day)),
            "links": {
                name: address
                for name in (
                    "shop_order",
                    "crm_member",
                    "crm_segment",
                    "crm_channelcode",
                    "campaigns_broadcast",
                    "campaigns_winbackrule",
                    "shop_product",
                    "wechat_account",
                )
                if (address := _list_address(name))
            },
        }
    )
    context["sms_trouble"] = sms_trouble()
    steps = queries.first_steps()
    context["first_steps"] = _steps(steps) if steps.done < 5 else []
    context["steps_done"] = steps.done
    context["is_empty"] = not steps.has_member and not steps.has_order
    return context


def _list_address(name: str) -> str:
    try:
        return reverse(f"admin:{name}_changelist")
    except NoReverseMatch:
        return ""


def _card(label: str, value: str, change: rules.Change, *, note: str, href: str, icon: str) -> dict[str, Any]:
    return {"label": label, "value": value, "change": change, "note": note, "href": href, "icon": icon}


def _today_cards(today: Any, yesterday: Any) -> list[dict[str, Any]]:
    note = _("yesterday %(value)s")
    orders, members = _list_address("shop_order"), _list_address("crm_member")

    def counted(name: str, label: str, href: str, icon: str, *, more_is_good: bool = True) -> dict[str, Any]:
        now, before = getattr(today, name), getattr(yesterday, name)
        return _card(
            label,
            f"{now:,}",
            rules.change(now, before, more_is_good=more_is_good),
            note=note % {"value": f"{before:,}"},
            href=href,
            icon=icon,
        )

    return [
        _card(
            _("Paid today"),
            amount(today.paid_fen),
            rules.change(today.paid_fen, yesterday.paid_fen),
            note=note % {"value": amount(yesterday.paid_fen)},
            href=orders,
            icon="payments",
        ),
        counted("orders", _("Orders today"), orders, "receipt_long"),
        counted("visitors", _("Visitors today"), members, "visibility"),
        counted("followed", _("New followers today"), members, "person_add"),
        counted("unfollowed", _("Lost followers today"), members, "person_remove", more_is_good=False),
    ]


def _period_cards(now: Any, earlier: Any, current: list[Any], days: int) -> list[dict[str, Any]]:
    note = _("%(days)d days before: %(value)s")

    def counted(name: str, label: str, icon: str, *, more_is_good: bool = True) -> dict[str, Any]:
        is_money = name.endswith("_fen")
        value, before = getattr(now, name), getattr(earlier, name)
        show = amount if is_money else (lambda count: f"{count:,}")
        return {
            **_card(
                label,
                show(value),
                rules.change(value, before, more_is_good=more_is_good),
                note=note % {"days": days, "value": show(before)},
                href="",
                icon=icon,
            ),
            "spark": spark([getattr(day, name) for day in current]),
        }

    return [
        counted("paid_fen", _("Paid amount"), "payments"),
        counted("paid_orders", _("Paid orders"), "receipt_long"),
        counted("visitors", _("Visitors"), "visibility"),
        counted("followed", _("New followers"), "person_add"),
        counted("unfollowed", _("Lost followers"), "person_remove", more_is_good=False),
    ]


def amount(fen: int) -> str:
    """Money on a card: whole yuan from 10,000 yuan on, where fen say nothing and take the room."""
    return f"¥{yuan(fen)}" if abs(fen) < 10_000_00 else f"¥{yuan(fen // 100 * 100).removesuffix('.00')}"


def spark(values: list[int], *, width: int = 120, height: int = 32) -> str:
    """The points of a small curve for an SVG polyline."""
    if len(values) < 2 or not any(values):
        return f"0,{height - 1} {width},{height - 1}"
    top, step = max(values), width / (len(values) - 1)
    return " ".join(
        f"{number * step:.1f},{height - 2 - (height - 4) * value / top:.1f}"
        for number, value in enumerate(values)
    )


def _funnel_steps(funnel: queries.Funnel) -> list[dict[str, Any]]:
    steps = [
        (_("Followed"), funnel.followed),
        (_("Visited the shop"), funnel.visited),
        (_("Placed an order"), funnel.ordered),
        (_("Completed payment"), funnel.paid),
    ]
    rows = []
    previous = funnel.followed
    for label, count in steps:
        rows.append(
            {
                "label": label,
                "count": count,
                "of_all": rules.share(count, funnel.followed),
                "of_previous": rules.share(count, previous),
                "width": max(rules.share(count, funnel.followed), 1.5) if count else 1.5,
            }
        )
        previous = count
    return rows


def _dormant_bars(members: queries.Members) -> list[dict[str, Any]]:
    return [
        {
            "label": _("silent for %(days)d days") % {"days": days},
            "count": count,
            "share": rules.share(count, members.buyers),
        }
        for days, count in members.dormant.items()
    ]


def _labels(days: list[Any]) -> list[str]:
    return [f"{row.day.month}/{row.day.day}" for row in days]


def _follow_chart(days: list[Any]) -> str:
    return json.dumps(
        {
            "labels": _labels(days),
            "datasets": [
                {
                    "label": _("New followers"),
                    "data": [row.followed for row in days],
                    "backgroundColor": "#10b981",
                    "borderRadius": 3,
                    "stack": "followers",
                },
                {
                    "label": _("Lost followers"),
                    "data": [-row.unfollowed for row in days],
                    "backgroundColor": "#f59e0b",
                    "borderRadius": 3,
                    "stack": "followers",
                },
            ],
        }
    )


def _sales_chart(days: list[Any]) -> str:
    return json.dumps(
        {
            "labels": _labels(days),
            "datasets": [
                {
                    "type": "line",
                    "label": _("Paid amount (yuan)"),
                    # Yuan with two decimals only for the picture; sums are never made of these.
                    "data": [round(row.paid_fen / 100, 2) for row in days],
                    "borderColor": "#059669",
                    "backgroundColor": "rgba(16,185,129,0.12)",
                    "fill": True,
                    "tension": 0.35,
                    "pointRadius": 0 if len(days) > 14 else 3,
                    "pointHitRadius": 12,
                    "borderWidth": 2,
                    "yAxisID": "y",
                },
                {
                    "type": "bar",
                    "label": _("Paid orders"),
                    "data": [row.paid_orders for row in days],
                    "backgroundColor": "rgba(99,102,241,0.35)",
                    "borderRadius": 3,
                    "yAxisID": "orders",
                },
            ],
        }
    )


def _options(*, legend: bool) -> str:
    return json.dumps(_base_options(legend=legend))


def side_by_side() -> str:
    """Of columns that stand beside each other."""
    options = _base_options(legend=True)
    options["scales"]["x"]["stacked"] = False
    return json.dumps(options)


def _base_options(*, legend: bool) -> dict[str, Any]:
    return {
        "responsive": True,
        "maintainAspectRatio": False,
        "animation": False,
        "interaction": {"mode": "index", "intersect": False},
        "plugins": {
            "legend": {
                "display": legend,
                "align": "end",
                "labels": {"boxWidth": 10, "boxHeight": 10, "color": "#9ca3af"},
            }
        },
        "scales": {
            "x": {
                "stacked": True,
                "grid": {"display": False},
                "ticks": {"maxRotation": 0, "autoSkipPadding": 16, "color": "#9ca3af"},
            },
            "y": {"beginAtZero": True, "ticks": {"precision": 0, "color": "#9ca3af"}, "grid": {}},
        },
    }


def _sales_options() -> str:
    options = _base_options(legend=True)
    options["scales"]["orders"] = {
        "position": "right",
        "beginAtZero": True,
        "grid": {"display": False},
        "ticks": {"precision": 0, "color": "#9ca3af"},
    }
    return json.dumps(options)


def _broadcast_row(row: dict[str, Any]) -> dict[str, Any]:
    broadcast = row["broadcast"]
    return {
        **row,
        "href": reverse("admin:campaigns_broadcast_change", args=[broadcast.pk]),
        "open_rate": rules.share(row["opened"], row["released"]),
        "paid": yuan(row["paid_fen"]),
    }


def _with_share(sources: list[tuple[str, int]]) -> list[dict[str, Any]]:
    top = sources[0][1] if sources else 0
    return [{"name": name, "count": count, "width": rules.share(count, top)} for name, count in sources]


def _steps(steps: queries.FirstSteps) -> list[dict[str, Any]]:
    return [
        {"done": done, "label": label, "advice": advice, "href": _list_address(name)}
        for done, label, advice, name in (
            (
                steps.has_account,
                _("Connect your service account"),
                _("Then followers, messages and payments arrive here."),
                "wechat_account",
            ),
            (
                steps.has_product,
                _("Put the first product on sale"),
                _("With a picture, a price and stock; the shop is open at once."),
                "shop_product",
            ),
            (
                steps.has_member,
                _("Print a channel code and let people follow"),
                _("On parcels, at the till, in the window: each code counts whom it brought."),
                "crm_channelcode",
            ),
            (
                steps.has_order,
                _("Place a test order"),
                _("Walk the way of a shopper once, from the code to the payment."),
                "shop_order",
            ),
            (
                steps.has_broadcast,
                _("Write the first broadcast"),
                _("You see who gets it, and who does not and why, before it goes."),
                "campaigns_broadcast",
            ),
        )
    ]
