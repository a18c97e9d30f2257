"""The picture of how members flowed from groups on the left into groups on the right: plain geometry, no Django."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, GAP, BAR = 640, 420, 8, 10
LEAST = 2.0
"""No group that somebody is in is drawn thinner."""


@dataclass(frozen=True)
class Box:
    """A group's bar; `middle` is where its words stand."""

    key: str
    x: float
    y: float
    height: float
    count: int

    @property
    def middle(self) -> float:
        return round(self.y + self.height / 2, 1)


@dataclass(frozen=True)
class Ribbon:
    """Members on their way; `path` fills the band between both bars (SVG)."""

    before: str
    after: str
    count: int
    path: str


@dataclass(frozen=True)
class Picture:
    left: list[Box]
    right: list[Box]
    ribbons: list[Ribbon]
    width: int = WIDTH
    height: int = HEIGHT


def flow_picture(moves: Mapping[tuple[str, str], int], keys: Sequence[str]) -> Picture:
    """(before, after) → members, as boxes and ribbons; groups stand in the order of `keys`, empty ones are left out."""
    left = _boxes({key: sum(n for (before, _), n in moves.items() if before == key) for key in keys}, 0)
    right = _boxes(
        {key: sum(n for (_, after), n in moves.items() if after == key) for key in keys}, WIDTH - BAR
    )
    starts = {box.key: (box, box.y) for box in left}
    ends = {box.key: (box, box.y) for box in right}
    ribbons = []
    for before in keys:
        for after in keys:
            count = moves.get((before, after), 0)
            if not count:
                continue
            (source, y0), (target, y1) = starts[before], ends[after]
            h0, h1 = source.height * count / source.count, target.height * count / target.count
            starts[before], ends[after] = (source, y0 + h0), (target, y1 + h1)
            ribbons.append(Ribbon(before, after, count, _path(y0, h0, y1, h1)))
    return Picture(left, right, ribbons)


def _boxes(counts: Mapping[str, int], x: float) -> list[Box]:
    shown = {key: count for key, count in counts.items() if count}
    room = HEIGHT - GAP * max(len(shown) - 1, 0) - LEAST * len(shown)
    everybody = sum(shown.values())
    boxes, y = [], 0.0
    for key, count in shown.items():
        height = round(LEAST + room * count / everybody, 1)
        boxes.append(Box(key, x, round(y, 1), height, count))
        y += height + GAP
    return boxes


def _path(y0: float, h0: float, y1: float, h1: float) -> str:
    a, b, middle = BAR, WIDTH - BAR, WIDTH / 2
    return (
        f"M{a} {y0:.1f}C{middle} {y0:.1f} {middle} {y1:.1f} {b} {y1:.1f}"
        f"V{y1 + h1:.1f}C{middle} {y1 + h1:.1f} {middle} {y0 + h0:.1f} {a} {y0 + h0:.1f}Z"
    )
