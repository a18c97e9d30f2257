"""Writing a chunk of a file's rows into the house, set-based: copied to a table of the transaction, and from there
members with all that they have. It may run again: who is there is found by the source's number.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from core import clock
from core.locks import advisory_lock
from crm.models import Consent, Identity, MemberImport
from crm.services.erased import erased_numbers_among
from crm.services.people import CONFIDENCE

# Reasons that only other rows and what is there already show.
ALREADY_THERE = "already_there"
STANDS_TWICE = "stands_twice"
WAS_ERASED = "was_erased"

ROWS = """
DROP TABLE IF EXISTS pg_temp.member_rows;
CREATE TEMP TABLE member_rows (
    number bigint, verdict text, reason text, external_id text, name text, phone text, birthday date,
    joined_at timestamptz, tags text[], is_consent_given boolean, consent_at timestamptz, fields jsonb
) ON COMMIT DROP
"""
REFUSE = """
UPDATE member_rows SET verdict = 'refused', reason = %s WHERE verdict = 'waiting' AND tags && %s::text[]
"""
# LIMIT keeps the planner at the index: the other way is to read everybody who was ever imported, for every chunk.
KNOWN = """
UPDATE member_rows line SET verdict = 'skipped',
    reason = CASE WHEN given.occurrence > 1 OR given.known_at = ANY(%s::timestamptz[]) THEN %s ELSE %s END
FROM (
    SELECT number, known.created_at AS known_at, occurrence
    FROM (
        SELECT number, external_id, row_number() OVER (PARTITION BY external_id ORDER BY number) AS occurrence
        FROM member_rows WHERE verdict = 'waiting'
    ) fresh LEFT JOIN LATERAL (
        SELECT created_at FROM crm_identity
        WHERE kind = 'import' AND account_id IS NULL AND is_verified AND value = %s || ':' || fresh.external_id LIMIT 1
    ) known ON true
    WHERE occurrence > 1 OR known.created_at IS NOT NULL
) given
WHERE line.number = given.number
"""
ESCAPED, PLAIN = re.compile(r"\\([\\tnr])"), {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}
# Her number is not kept in the log either.
ERASED = """
UPDATE member_rows SET verdict = 'refused', reason = %s, external_id = ''
WHERE verdict = 'waiting' AND external_id = ANY(%s)
"""
# All that a new member has, in one statement. Constraints and the log for the bitmaps see the rows as any others. What
# is not in the file's order is sorted, so that neighbours in the big indexes are written together.
WRITE = """
WITH line AS MATERIALIZED (
    SELECT nextval('crm_member_id_seq') AS member_id, external_id, name, phone, birthday,
           COALESCE(joined_at, %s::timestamptz) AS joined_at, tags, is_consent_given, consent_at, fields, number
    FROM member_rows WHERE verdict = 'waiting'
), own AS (
    SELECT %s::text AS source, %s::timestamptz AS now, %s::text AS text_version, %s::text AS proof,
           %s::integer AS number_bps, %s::integer AS phone_bps
), members AS (
    INSERT INTO crm_member (id, name, avatar_url, birthday, time_zone, note, tier, joined_via, session_version,
                            created_at)
    SELECT member_id, name, '', birthday, '', '', '', 'import', 1, joined_at FROM line
), figures AS (
    INSERT INTO crm_memberstats (member_id, orders_count, paid_fen, refunded_fen, visits_count, marketing_consent,
                                 consent_at)
    SELECT member_id, 0, 0, 0, 0, is_consent_given,
           CASE WHEN is_consent_given IS NOT NULL THEN COALESCE(line.consent_at, own.now) END FROM line, own
), identities AS (
    INSERT INTO crm_identity (member_id, kind, value, is_verified, source, confidence_bps, is_following, created_at,
                              lookup_attempts)
    SELECT member_id, 'import', own.source || ':' || external_id, true, 'file', own.number_bps, false, own.now, 0
    FROM line, own
    UNION ALL
    SELECT * FROM (
        SELECT member_id, 'phone', phone, false, 'file', own.phone_bps, false, own.now, 0
        FROM line, own WHERE phone <> '' ORDER BY phone
    ) phones
), facts AS (
    INSERT INTO crm_activity (member_id, kind, at, subject, amount_fen, data)
    SELECT member_id, 'joined', joined_at, 'import', 0, '{}' FROM line ORDER BY joined_at
), tagged AS (
    INSERT INTO crm_membertag (member_id, tag_id, origin, at)
    SELECT member_id, tag.id, 'import:' || own.source, own.now
    FROM line, own, unnest(line.tags) named
    JOIN unnest(%s::text[], %s::bigint[]) AS tag (name, id) ON tag.name = named
), consents AS (
    INSERT INTO crm_consent (member_id, purpose, is_given, channel, text_version, proof, at)
    SELECT member_id, %s, is_consent_given, 'import', own.text_version, left(own.proof || ':' || number, 200),
           COALESCE(line.consent_at, own.now)
    FROM line, own WHERE is_consent_given IS NOT NULL
), kept AS (
    INSERT INTO crm_memberfieldvalue (member_id, field_id, text, number, date)
    SELECT member_id, field.id, value ->> 'text', (value ->> 'number')::numeric, (value ->> 'date')::date
    FROM (SELECT member_id, fields FROM line WHERE fields IS NOT NULL) given,
         jsonb_each(given.fields) AS said(key, value)
    JOIN crm_memberfield field ON field.id = said.key::bigint
)
SELECT count(*) FROM line
"""
LOG = """
WITH logged AS (
    INSERT INTO crm_memberimportline (run_id, number, verdict, reason, external_id)
    SELECT %s, number, verdict, reason, external_id FROM member_rows WHERE verdict <> 'waiting'
    RETURNING verdict
)
SELECT count(*) FILTER (WHERE verdict = 'skipped'), count(*) FILTER (WHERE verdict = 'refused') FROM logged
"""


@dataclass(frozen=True)
class Written:
    """What became of the rows of a chunk, and when: by that moment its members are known as of this run."""

    imported: int
    skipped: int
    refused: int
    at: datetime


def write(
    run: MemberImport,
    lane: int,
    lines: Sequence[tuple[int, tuple[str, ...]]],
    tags: dict[str, int],
    too_many: Sequence[str],
    reason: str,
    moments: Sequence[str],
) -> Written:
    """Judged rows with their numbers become members or are logged with their reason; `tags` are by name, those in
    `too_many` cannot be made and refuse their rows with `reason`; `moments` are those of this run's earlier chunks.

    Who is there already is skipped and left as she is; who was erased is refused and stays forgotten. Nothing is
    published and no message goes out: history is not news. Locks: advisory on the source (shared) and on its lane.
    """
    text = "".join([f"{number}\t" + "\t".join(line) + "\n" for number, line in lines])
    advisory_lock("import", run.source, is_shared=True)  # an import of orders makes members of it alone
    advisory_lock("import", run.source, lane)
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(ROWS)
        cursor.copy_expert("COPY member_rows FROM STDIN", io.StringIO(text))
        if too_many:
            cursor.execute(REFUSE, [reason, list(too_many)])
        cursor.execute(KNOWN, [list(moments), STANDS_TWICE, ALREADY_THERE, run.source])
        if gone := erased_numbers_among(run.source, _numbers(lines)):
            cursor.execute(ERASED, [WAS_ERASED, list(gone)])
        cursor.execute(
            WRITE,
            [
                moment,
                *(run.source, moment, run.columns.get("consent_text", ""), run.file_name[:180]),
                *(CONFIDENCE[Identity.FILE], CONFIDENCE[Identity.TYPED]),
                *(list(tags), list(tags.values())),
                Consent.MARKETING,
            ],
        )
        imported = int(cursor.fetchone()[0])
        cursor.execute(LOG, [run.pk])
        skipped, refused = cursor.fetchone()
        return Written(imported, skipped, refused, moment)


def _numbers(lines: Sequence[tuple[int, tuple[str, ...]]]) -> Iterator[str]:
    """The member numbers of judged rows, as they were before COPY's escapes; made while they are read."""
    for _number, (verdict, _reason, number, *_rest) in lines:
        if verdict == "waiting":
            yield number if "\\" not in number else ESCAPED.sub(lambda one: PLAIN[one[1]], number)
