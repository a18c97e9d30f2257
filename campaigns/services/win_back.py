"""Win-back: find who has fallen silent, and give each spell of silence one message, or a reason."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F

from campaigns import rules
from campaigns.models import WinBackDecision, WinBackRule, WinBackSpell
from campaigns.queries import reach
from campaigns.services import content, links
from core import clock
from core.locks import lock_row, try_advisory_lock
from core.sweeps import sweep
from crm import queries as crm_queries
from crm import services as crm_services
from wechat import services as wechat_services

BATCH = 500


def run_win_back() -> int:
    """One round of all active rules; returns how many messages were handed over. May run twice at once."""
    active = WinBackRule.objects.filter(is_active=True).order_by("pk").values_list("pk", flat=True)
    return sweep(
        list(active),
        _run_rule,
        fault="win-back rule failed",
        put_off=lambda _pk: None,  # its spells wait for the next round, after those of the others
    )


def _run_rule(rule_id: int) -> int:
    find_spells(rule_id=rule_id)
    sent = 0
    while (decided := decide_spells(rule_id=rule_id))[0]:
        sent += decided[1]
    return sent


@transaction.atomic
def find_spells(*, rule_id: int) -> int:
    """One row for each member who has become silent under the rule. Idempotent on: rule, member, start of silence."""
    if not try_advisory_lock("campaigns.win_back", rule_id):
        return 0  # another beat is looking right now
    rule = WinBackRule.objects.filter(pk=rule_id, is_active=True).first()
    if rule is None:
        return 0
    moment = clock.now()
    WinBackRule.objects.filter(pk=rule_id).update(last_run_at=moment)
    sql, params = reach.compiled(reach.silent(moment - timedelta(days=rule.silent_days)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO campaigns_winbackspell
                (rule_id, member_id, spell_started_at, found_at, status, channel, "to", reason, tries, next_try_at)
            SELECT %s, s.member_id, s.silent_since, %s, 'waiting', '', '', '', 0, %s
            FROM ({sql}) s (member_id, silent_since)
            WHERE NOT EXISTS (
                SELECT 1 FROM campaigns_winbackspell w
                WHERE w.rule_id = %s AND w.member_id = s.member_id AND w.spell_started_at = s.silent_since
            )
            ORDER BY s.silent_since DESC LIMIT %s
            ON CONFLICT (rule_id, member_id, spell_started_at) DO NOTHING
            """,  # noqa: S608  compiled by the ORM
            [rule_id, moment, moment, *params, rule_id, rule.daily_limit],
        )
        return cursor.rowcount


@transaction.atomic
def decide_spells(*, rule_id: int) -> tuple[int, int]:
    """Look at the spells that are due: send, wait or give up, with a reason each time. Returns (looked at, sent).

    Locks: the rule, so that two workers do not each count the day's room for themselves; the spells.
    Idempotent on: the spell, which leaves `waiting` once.
    """
    rule = lock_row(WinBackRule.objects.filter(pk=rule_id, is_active=True))
    if rule is None:
        return 0, 0
    moment = clock.now()
    room = rule.daily_limit - released_today(rule_id, moment)
    spells = {
        spell.member_id: spell
        for spell in WinBackSpell.objects.select_for_update(skip_locked=True, of=("self",))
        .filter(rule_id=rule_id, status=WinBackSpell.WAITING, next_try_at__lte=moment)
        .order_by("next_try_at", "pk")[:BATCH]
    }
    if not spells:
        return 0, 0
    still_silent = dict(reach.silent(moment - timedelta(days=rule.silent_days)).filter(pk__in=list(spells)))
    rungs = content.channels_of(rule, rules.AUTO, ladder=tuple(rule.channels))
    verdicts = {
        member_id: (answer, reason, until)
        for member_id, answer, reason, until in reach.verdicts(
            reach.members(spells),
            purpose=rules.MARKETING,
            at=moment,
            account_id=rule.account_id,
            rungs=rungs,
        )
    }
    facts = reach.reach_of(
        list(spells),
        account_id=rule.account_id,
        template_id=rule.template_id,
        rungs=rungs,
        at=moment,
        purpose=rules.MARKETING,
    )
    decisions: list[WinBackDecision] = []
    going: dict[int, rules.Choice] = {}
    for member_id, spell in spells.items():
        spell.tries += 1
        answer, reason, until = verdicts.get(member_id, ("gone", "gone", None))
        if still_silent.get(member_id) != spell.spell_started_at:
            decisions.append(_settle(spell, WinBackSpell.ENDED, "active_again", moment))
        elif answer == "gone":
            decisions.append(_settle(spell, WinBackSpell.GAVE_UP, "gone", moment))
        elif len(going) >= room:
            spell.tries -= 1
            tomorrow = clock.day_start(clock.local(moment).date() + timedelta(days=1))
            decisions.append(_wait(spell, "daily_limit", tomorrow, moment))
        elif answer == "defer":
            # Quiet hours are no refusal: they cost no try.
            spell.tries -= 1
            decisions.append(_wait(spell, reason, until, moment))
        elif answer == "skip":
            decisions.append(_wait_or_give_up(spell, reason, None, moment))
        else:
            choice = rules.choose_channel(rungs, facts[member_id])
            if choice.channel:
                going[member_id] = choice
            else:
                decisions.append(_wait_or_give_up(spell, choice.reason, None, moment))
    going = rules.without_lone_mass(going, rungs, facts)
    for member_id in [member_id for member_id, choice in going.items() if not choice.channel]:
        # Tomorrow's sleepers may be her company; she is not given up for it before the tries are used.
        decisions.append(_wait_or_give_up(spells[member_id], going.pop(member_id).reason, None, moment))
    sent = _hand_over(rule, spells, going, decisions, moment)
    WinBackSpell.objects.bulk_update(
        spells.values(), ["status", "channel", "to", "reason", "tries", "next_try_at", "released_at"]
    )
    WinBackDecision.objects.bulk_create(decisions)
    return len(spells), sent


def released_today(rule_id: int, moment: datetime) -> int:
    return WinBackSpell.objects.filter(
        rule_id=rule_id, released_at__gte=clock.day_start(clock.local(moment).date())
    ).count()


def _settle(spell: WinBackSpell, status: str, reason: str, moment: datetime) -> WinBackDecision:
    spell.status, spell.reason, spell.next_try_at = status, reason, None
    return WinBackDecision(spell=spell, at=moment, answer=status, reason=reason)


def _wait(spell: WinBackSpell, reason: str, until: datetime, moment: datetime) -> WinBackDecision:
    spell.reason, spell.next_try_at = reason, max(until, moment + timedelta(minutes=1))
    return WinBackDecision(spell=spell, at=moment, answer="later", reason=reason, until=spell.next_try_at)


def _wait_or_give_up(
    spell: WinBackSpell, reason: str, until: datetime | None, moment: datetime
) -> WinBackDecision:
    next_try = rules.next_try(moment, until=until, tries=spell.tries)
    if next_try is None:
        return _settle(spell, WinBackSpell.GAVE_UP, reason, moment)
    return _wait(spell, reason, next_try, moment)


def _hand_over(
    rule: WinBackRule,
    spells: dict[int, WinBackSpell],
    going: dict[int, rules.Choice],
    decisions: list[WinBackDecision],
    moment: datetime,
) -> int:
    if not going:
        return 0
    bodies = _bodies(rule, {choice.channel for choice in going.values()})
    names = crm_queries.names_of(list(going))
    sent = 0
    for channel in sorted(bodies):
        wanted = [member_id for member_id, choice in going.items() if choice.channel == channel]
        # The moment makes the origin unique per round: a second spell of the same member is a second touch.
        round_origin = f"{rule.origin}:{int(moment.timestamp())}"
        account_id = reach.work_account_id() if channel == rules.WORK_MASS else rule.account_id
        crm_services.book_touches(
            member_ids=wanted,
            purpose=rules.MARKETING,
            channel=channel,
            origin=round_origin,
            at=moment,
            account_id=account_id,
        )
        booked = set(crm_queries.touched_member_ids(round_origin).filter(member_id__in=wanted))
        rows: list[tuple[str, int, dict[str, str] | None]] = []
        for member_id in wanted:
            spell, choice = spells[member_id], going[member_id]
            if member_id not in booked:
                decisions.append(_wait_or_give_up(spell, "frequency_cap", None, moment))
                continue
            spell.status, spell.channel, spell.to = WinBackSpell.SENT, channel, choice.to
            spell.reason, spell.next_try_at, spell.released_at = "", None, moment
            decisions.append(WinBackDecision(spell=spell, at=moment, answer="sent", channel=channel))
            filled = None
            if channel not in rules.GROUPED:
                filled = {"name": names.get(member_id, ""), "url": links.link_address(links.SPELL, spell.pk)}
            rows.append((choice.to, spell.pk, filled))
        if rows:
            wechat_services.enqueue_messages(
                account_id=account_id, channel=channel, body_id=bodies[channel], rows=rows, origin=rule.origin
            )
            sent += len(rows)
    return sent


def _bodies(rule: WinBackRule, channels: set[str]) -> dict[str, int]:
    """The rule's bodies, made anew only when its words have changed."""
    shared = links.link_address(links.SHARED_RULE, rule.pk)
    bodies: dict[str, int] = {}
    kept = dict(rule.bodies)
    for channel in channels:
        words = content.body_content(rule, channel, shared_link=shared)
        fingerprint = hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:16]
        if kept.get(channel, [None])[0] != fingerprint:
            kept[channel] = [fingerprint, wechat_services.make_body(content=words)]
        bodies[channel] = kept[channel][1]
    if kept != rule.bodies:
        WinBackRule.objects.filter(pk=rule.pk).update(bodies=kept)
    return bodies


# --- Switching ------------------------------------------------------------------------------------------------------


@transaction.atomic
def switch_rule(*, rule_id: int, is_active: bool) -> bool:
    """Turn a rule on or off; True when it changed. Who waits under it waits on, and is looked at again."""
    changed = bool(
        WinBackRule.objects.filter(pk=rule_id).exclude(is_active=is_active).update(is_active=is_active)
    )
    if changed and is_active:
        WinBackSpell.objects.filter(rule_id=rule_id, status=WinBackSpell.WAITING).update(
            next_try_at=clock.now(), tries=F("tries") * 0
        )
    return changed


def preview(rule: WinBackRule) -> dict[str, int]:
    """How many are silent now, how many of them have not had this spell's message, and how many may get it now."""
    moment = clock.now()
    silent_from = moment - timedelta(days=rule.silent_days)
    sql, params = reach.compiled(reach.silent(silent_from))
    rungs = content.channels_of(rule, rules.AUTO, ladder=tuple(rule.channels))
    verdict_sql, verdict_params = reach.compiled(
        reach.verdicts(
            crm_queries.silent_since(silent_from),
            purpose=rules.MARKETING,
            at=moment,
            account_id=rule.account_id,
            rungs=rungs,
        )
    )
    choice, choice_params = reach.choice_sql(
        rungs, account_id=rule.account_id, template_id=rule.template_id, at=moment
    )
    openids, openid_params = reach.compiled(reach.openids(rule.account_id, rules.MARKETING))
    contacts, contact_params = reach.compiled(reach.contacts(rules.MARKETING))
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*), count(*) FILTER (WHERE is_open),
                count(*) FILTER (WHERE is_open AND channel <> '' AND answer = 'send'),
                count(*) FILTER (WHERE is_open AND channel <> '' AND answer = 'defer')
            FROM (
                SELECT DISTINCT ON (s.member_id) s.member_id, v.answer, {choice} AS channel, NOT EXISTS (
                    SELECT 1 FROM campaigns_winbackspell w WHERE w.rule_id = %s AND w.member_id = s.member_id
                    AND w.spell_started_at = s.silent_since AND w.status <> 'waiting'
                ) AS is_open
                FROM ({sql}) s (member_id, silent_since)
                JOIN ({verdict_sql}) v (member_id, answer, reason, until) ON v.member_id = s.member_id
                LEFT JOIN ({openids}) o (member_id, value) ON o.member_id = s.member_id
                LEFT JOIN ({contacts}) c (member_id, value) ON c.member_id = s.member_id
            ) r
            """,  # noqa: S608  compiled by the ORM
            [
                *choice_params,
                rule.pk or 0,
                *params,
                *verdict_params,
                *openid_params,
                *contact_params,
            ],
        )
        silent, open_spells, now, later = cursor.fetchone()
    return {"silent": silent, "open": open_spells, "now": now, "later": later}


def channels_in_order(channels: Sequence[str]) -> list[str]:
    return [channel for channel in rules.LADDER if channel in channels]
