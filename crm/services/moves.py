"""Moves between the words that a state machine has for members, counted by day: the transition matrix."""

from typing import Any, NamedTuple

from core import clock
from crm.models import LifeMove


class Machine(NamedTuple):
    """Where a state machine keeps its rows, its moves, and what its column for the state is called."""

    rows: str
    moves: str
    word: str

    def counting(self, moved: str) -> str:
        """SQL that adds moves to a day's counts: `moved` selects `before` and `after`; parameters: day, cause."""
        named = f"from_{self.word}, to_{self.word}"
        return f"""
            INSERT INTO {self.moves} AS known (day, cause, {named}, members_count)
            SELECT %s::date, %s, before, after, count(*) FROM ({moved}) moved
            WHERE before <> after GROUP BY before, after
            ON CONFLICT (day, cause, {named})
                DO UPDATE SET members_count = known.members_count + excluded.members_count
        """  # noqa: S608  our own names

    def forget(self, cursor: Any, condition: str, params: list[Any]) -> int:
        """Take rows (`life` in the condition) away and count them as having left; how many."""
        counted = self.counting(f"SELECT {self.word} AS before, '' AS after FROM gone")  # noqa: S608
        cursor.execute(
            f"""
            WITH gone AS (DELETE FROM {self.rows} life WHERE {condition} RETURNING life.{self.word}),
                counted AS ({counted})
            SELECT count(*) FROM gone
            """,  # noqa: S608  our own names and conditions
            [*params, clock.today(), LifeMove.TIME],
        )
        return int(cursor.fetchone()[0])


LIFE = Machine("crm_memberlife", "crm_lifemove", "stage")
AIPL = Machine("crm_memberaipl", "crm_aiplmove", "step")
