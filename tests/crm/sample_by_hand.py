"""RFM and the lifecycle of the sample, from the file alone: plain Python, nothing of Pond, no library.

`python tests/crm/sample_by_hand.py FILE` prints the RFM table; what is done and why stands in docs/sample_by_hand.md.
"""

import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

LONDON, SHOP = ZoneInfo("Europe/London"), ZoneInfo("Asia/Shanghai")
SERVICES = {
    "M", "D", "S", "B", "PADS", "CRUK", "BANK CHARGES", "AMAZONFEE", "ADJUST", "ADJUST2", "TEST001",
}  # fmt: skip
SHIPPING = {"POST", "DOT", "C2"}


@dataclass
class Line:
    invoice: str
    code: str
    quantity: int
    pence: int
    at: datetime
    customer: str
    kind: str  # goods, shipping, back
    left: int = 0  # of goods: not given back


@dataclass(frozen=True)
class Buyer:
    frequency: int
    first: date
    last: date
    spent: int
    repeat: int  # of `spent`, what was paid after the first day


def kind_of(code: str, quantity: int, pence: int, *, is_back: bool) -> str:
    """ "" for a line that is no sale: stock corrections, gifts, services, and what takes services back."""
    service = code.upper() in SERVICES or code.upper().startswith("GIFT_")
    if pence == 0 or service or (quantity > 0) is is_back:
        return ""
    if is_back:
        return "" if code.upper() in SHIPPING else "back"
    return "shipping" if code.upper() in SHIPPING else "goods"


def lines_of(rows: Iterable[dict[str, str]]) -> list[Line]:
    lines = []
    for row in rows:
        quantity, price = int(row["Quantity"]), row["UnitPrice"]
        pence = round(float(price) * 100)
        kind = kind_of(row["StockCode"], quantity, pence, is_back=row["InvoiceNo"].startswith("C"))
        if not kind or pence < 0 or abs(float(price) * 100 - pence) > 1e-6:
            continue
        at = datetime.fromisoformat(row["InvoiceDate"]).replace(tzinfo=LONDON)
        line = Line(row["InvoiceNo"], row["StockCode"], abs(quantity), pence, at, row["CustomerID"], kind)
        line.left = line.quantity
        lines.append(line)
    return lines


def buyers_of(rows: Iterable[dict[str, str]], today: date) -> dict[str, Buyer]:
    """customer → what she bought by days of the shop, less what was given back of it."""
    lines = lines_of(rows)
    orders: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        if line.kind != "back":
            orders[line.invoice].append(line)
    orders = {
        number: parts for number, parts in orders.items() if any(part.kind == "goods" for part in parts)
    }
    back = given_back(lines, orders)
    days: dict[str, Counter[date]] = defaultdict(Counter)
    for number, parts in orders.items():
        customer, at = max(part.customer for part in parts), min(part.at for part in parts)
        kept = sum(part.pence * part.quantity for part in parts) - back[number]
        day = at.astimezone(SHOP).date()
        if customer and kept > 0 and day <= today:
            days[customer][day] += kept
    return {
        customer: Buyer(
            len(bought) - 1,
            min(bought),
            max(bought),
            sum(bought.values()),
            sum(bought.values()) - bought[min(bought)],
        )
        for customer, bought in days.items()
    }


def given_back(lines: list[Line], orders: dict[str, list[Line]]) -> Counter[str]:
    """invoice → pence. A cancellation meets purchases of the same customer, code and price, the latest first; one
    that they do not cover in full takes back what is not in this file, and is left out.
    """
    bought: dict[tuple[str, str, int], list[Line]] = defaultdict(list)
    for line in sorted((line for parts in orders.values() for line in parts), key=lambda one: one.at):
        if line.kind == "goods":
            bought[line.customer, line.code, line.pence].insert(0, line)
    back: Counter[str] = Counter()
    for line in sorted(
        (line for line in lines if line.kind == "back" and line.customer), key=lambda one: one.at
    ):
        before = [
            one for one in bought[line.customer, line.code, line.pence] if one.at <= line.at and one.left
        ]
        if sum(one.left for one in before) < line.quantity:
            continue
        wanted = line.quantity
        for one in before:
            taken = min(one.left, wanted)
            one.left -= taken
            wanted -= taken
            back[one.invoice] += taken * one.pence
    return back


# --- RFM -----------------------------------------------------------------------------------------------------------
def ends_of(values: list[int]) -> list[int]:
    """The values at 20, 40, 60 and 80 per cent of all, smallest first."""
    ordered = sorted(values)
    return [ordered[math.ceil(len(ordered) * fifth / 5) - 1] for fifth in (1, 2, 3, 4)]


def rfm_of(buyers: dict[str, Buyer], today: date) -> dict[str, int]:
    measures = {
        customer: ((today - one.last).days, one.frequency + 1, one.spent) for customer, one in buyers.items()
    }
    ends = [ends_of([measure[place] for measure in measures.values()]) for place in range(3)]
    scores = {}
    for customer, measure in measures.items():
        days, times, spent = (sum(end < value for end in ends[place]) for place, value in enumerate(measure))
        scores[customer] = 100 * (5 - days) + 10 * (1 + times) + 1 + spent
    return scores


# --- BG/NBD (Fader, Hardie and Lee, 2005 and 2008) with given parameters ---------------------------------------------
@dataclass(frozen=True)
class Rhythm:
    r: float
    alpha: float
    a: float
    b: float

    def chance(self, x: int, recency: int, age: int) -> float:
        if x == 0:
            return 1.0
        odds = self.a / (self.b + x - 1) * ((self.alpha + age) / (self.alpha + recency)) ** (self.r + x)
        return 1 / (1 + odds)

    def expected(self, x: int, recency: int, age: int, days: int) -> float:
        """Purchases in so many days from now on; the paper's equation 10, its series summed term by term."""
        z = days / (self.alpha + age + days)
        term = total = 1.0
        number = 0
        while abs(term) > 1e-15 * total:
            over = (self.r + x + number) * (self.b + x + number)
            term *= over / (self.a + self.b + x - 1 + number) / (number + 1) * z
            total += term
            number += 1
        share = ((self.alpha + age) / (self.alpha + age + days)) ** (self.r + x) * total
        return (self.a + self.b + x - 1) / (self.a - 1) * (1 - share) * self.chance(x, recency, age)

    def vigour(self, x: int, recency: int, age: int) -> float:
        if x:
            return self.chance(x, recency, age)
        return min(1.0, self.expected(0, 0, age, 90) / self.expected(0, 0, 0, 90))


@dataclass(frozen=True)
class Life:
    chance_bps: int
    vigour_bps: int
    orders_milli: int
    stage: str


def lives_of(buyers: dict[str, Buyer], today: date, rhythm: Rhythm) -> dict[str, Life]:
    """customer → her place by the house's levels: 70, 40 and 15 per cent of vigour."""
    lives = {}
    for customer, one in buyers.items():
        history = one.frequency, (one.last - one.first).days, (today - one.first).days
        vigour = round(rhythm.vigour(*history) * 10_000)
        if vigour < 1_500:
            stage = "lost"
        elif vigour < 4_000:
            stage = "dormant"
        else:
            stage = "cooling" if vigour < 7_000 else "active" if one.frequency else "new"
        chance, orders = rhythm.chance(*history), rhythm.expected(*history, 90)
        lives[customer] = Life(round(chance * 10_000), vigour, round(max(orders, 0) * 1000), stage)
    return lives


def main(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    newest = max(datetime.fromisoformat(row["InvoiceDate"]) for row in rows)
    today = newest.replace(tzinfo=LONDON).astimezone(SHOP).date() + timedelta(days=1)
    buyers = buyers_of(rows, today)
    scores = rfm_of(buyers, today)
    out = csv.writer(sys.stdout)
    out.writerow(["customer", "days", "purchases", "pence", "rfm", f"as of {today}"])
    for customer, one in sorted(buyers.items()):
        out.writerow([customer, (today - one.last).days, one.frequency + 1, one.spent, scores[customer]])


if __name__ == "__main__":
    main(sys.argv[1])
