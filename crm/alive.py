"""Is she still a customer, and what will she buy? BG/NBD and Gamma-Gamma as pure functions of NumPy arrays.

BG/NBD: Fader, Hardie & Lee (2005), "Counting Your Customers the Easy Way: An Alternative to the Pareto/NBD Model",
Marketing Science 24(2). While she is alive, a customer buys at random with a rate of her own (gamma distributed over
customers: shape r, rate alpha); after each repeat purchase she leaves for good with a chance of her own (beta
distributed: a, b). P(alive): Fader, Hardie & Lee (2008), "Computing P(alive) Using the BG/NBD Model".

Gamma-Gamma: Fader & Hardie (2013), "The Gamma-Gamma Model of Monetary Value". Her amounts vary around a mean of her own
(gamma, shape p), the means vary over customers (q, v).

Arrays are one-dimensional of one length; times are in the unit of the given history, and alpha comes out in it; money
likewise, and v comes out in it. NumPy and SciPy take a third of a second to load: import this only where it is used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts load when they are first used
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Nothing that people do lies outside; at an end of it the likelihood has no maximum inside.
LEAST, MOST = np.log(1e-6), np.log(1e6)
RHYTHM_STARTS = ((0.3, 0.3, 0.8, 2.5), (1.0, 1.0, 1.0, 1.0), (3.0, 2.0, 0.2, 5.0), (0.5, 0.1, 3.0, 3.0))
SPEND_STARTS = ((3.0, 3.0), (1.0, 2.0), (10.0, 5.0))
NUDGE = 1e-6


class TooLittle(ValueError):
    """The history cannot say anything about the parameters: hardly anybody bought again, or no time passed."""


@dataclass(frozen=True)
class History:
    """Purchase histories, equal ones together: the sufficient statistics of the BG/NBD.

    `frequency` x: repeat purchases; `recency` t_x: time from the first to the last purchase; `age` T: time from the
    first purchase to the end of the observation; `count`: how many customers share the row.
    """

    frequency: Floats
    recency: Floats
    age: Floats
    count: Floats

    @classmethod
    def of(
        cls, frequency: ArrayLike, recency: ArrayLike, age: ArrayLike, count: ArrayLike | None = None
    ) -> "History":
        x = np.asarray(frequency, dtype=np.float64)
        many = np.ones_like(x) if count is None else np.asarray(count, dtype=np.float64)
        return cls(x, np.asarray(recency, dtype=np.float64), np.asarray(age, dtype=np.float64), many)

    @property
    def customers(self) -> int:
        return round(float(self.count.sum()))

    @property
    def repeaters(self) -> int:
        return round(float(self.count[self.frequency > 0].sum()))


@dataclass(frozen=True)
class Rhythm:
    """Parameters of a BG/NBD; `log_likelihood` is the total over all customers (0 where it was not fitted)."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float = 0.0
    converged: bool = True


@dataclass(frozen=True)
class Spend:
    """Parameters of a Gamma-Gamma; the mean over all customers exists only where q > 1."""

    p: float
    q: float
    v: float
    log_likelihood: float = 0.0
    converged: bool = True

    @property
    def mean(self) -> float:
        """What a purchase of somebody unknown is worth."""
        return self.p * self.v / (self.q - 1) if self.q > 1 else float("nan")


# --- BG/NBD: likelihood and fit ------------------------------------------------------------------------------------
def log_likelihood(rhythm: Rhythm, history: History) -> float:
    """The total log-likelihood of the paper, each row weighted by its count."""
    x = history.frequency
    alive, dead = _branches(rhythm, history)
    return float(history.count @ (_common(rhythm, x) + np.logaddexp(alive, dead)))


def fit_rhythm(history: History, *, starts: Sequence[Rhythm] = (), anew: bool = True) -> Rhythm:
    """The parameters of greatest likelihood, without a penalty, sought from several starts (`starts` first; not `anew`:
    from them alone).

    Raises TooLittle when fewer than two bought again or no time passed.
    """
    if history.repeaters < 2 or not (history.age > 0).any():
        raise TooLittle("nobody bought again")
    customers = history.count.sum()
    scale = float(history.count @ history.age / customers)
    # What depends on x alone is computed once for each x, not for each row.
    repeats, row_of = np.unique(history.frequency, return_inverse=True)
    weights = np.bincount(row_of, weights=history.count).astype(np.float64)

    def negative(logs: Floats) -> tuple[float, Floats]:
        """Mean log-likelihood per customer and its gradient by the logarithms of the parameters, both negative."""
        r, alpha, a, b = (float(value) for value in np.exp(logs))
        total, gradient = _summed(Rhythm(r, alpha, a, b), history, repeats, weights)
        return -total / customers, -gradient * np.exp(logs) / customers

    guesses = [(one.r, one.alpha, one.a, one.b) for one in starts]
    if anew:
        guesses += [(r, alpha * scale, a, b) for r, alpha, a, b in RHYTHM_STARTS]
    unit = np.array([0.0, np.log(scale), 0.0, 0.0])
    logs, least, converged = _lowest(negative, guesses, unit)
    r, alpha, a, b = (float(value) for value in np.exp(logs))
    return Rhythm(r, alpha, a, b, float(-least * customers), converged)


def _common(rhythm: Rhythm, x: Floats) -> Floats:
    """What both branches of the likelihood share: it depends on x alone."""
    r, alpha, a, b = rhythm.r, rhythm.alpha, rhythm.a, rhythm.b
    shared = scipy.special.gammaln(r + x) - scipy.special.gammaln(r) + r * np.log(alpha)
    return np.asarray(
        shared
        + scipy.special.gammaln(a + b)
        + scipy.special.gammaln(b + x)
        - scipy.special.gammaln(b)
        - scipy.special.gammaln(a + b + x)
    )


def _branches(rhythm: Rhythm, history: History) -> tuple[Floats, Floats]:
    """Logarithms of the two summands: alive until T, or gone after the last purchase (only where x > 0)."""
    x = history.frequency
    alive = -(rhythm.r + x) * np.log(rhythm.alpha + history.age)
    left = np.log(rhythm.a / np.where(x > 0, rhythm.b + x - 1, 1.0))
    left -= (rhythm.r + x) * np.log(rhythm.alpha + history.recency)
    return alive, np.where(x > 0, left, -np.inf)


def _summed(
    rhythm: Rhythm, history: History, repeats: Floats, weights: Floats
) -> tuple[float, NDArray[np.float64]]:
    """The total log-likelihood and its gradient by (r, alpha, a, b)."""
    r, alpha, a, b = rhythm.r, rhythm.alpha, rhythm.a, rhythm.b
    x, count = history.frequency, history.count
    alive, dead = _branches(rhythm, history)
    both = np.logaddexp(alive, dead)
    total = float(weights @ _common(rhythm, repeats) + count @ both)
    gone = np.exp(dead - both)  # the chance that she has left, 0 where x = 0
    stays, goes = alpha + history.age, alpha + history.recency
    by_r = weights @ (scipy.special.psi(r + repeats) - scipy.special.psi(r) + np.log(alpha))
    by_r -= count @ ((1 - gone) * np.log(stays) + gone * np.log(goes))
    by_alpha = weights.sum() * r / alpha - count @ ((r + x) * ((1 - gone) / stays + gone / goes))
    pull = scipy.special.psi(a + b) - scipy.special.psi(a + b + repeats)
    by_a = weights @ pull + count @ gone / a
    by_b = weights @ (pull + scipy.special.psi(b + repeats) - scipy.special.psi(b))
    by_b -= count @ (gone / np.where(x > 0, b + x - 1, 1.0))
    return total, np.array([by_r, by_alpha, by_a, by_b])


def _lowest(
    negative: Callable[[Floats], tuple[float, Floats]], guesses: Sequence[Sequence[float]], unit: Floats
) -> tuple[Floats, float, bool]:
    """The lowest point found from all guesses: (logarithms, value, did the search end inside at a flat place)."""
    bounds = [(LEAST + shift, MOST + shift) for shift in unit]
    best: Any = None
    for guess in guesses:
        start = np.clip(np.log(np.asarray(guess)), *np.array(bounds).T)
        found = scipy.optimize.minimize(
            negative,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 2_000, "maxfun": 4_000, "ftol": 1e-15, "gtol": 1e-9},
        )
        if np.isfinite(found.fun) and (best is None or found.fun < best.fun):
            best = found
    if best is None:
        raise TooLittle("no parameters fit this history")
    inside = all(low + 0.1 < value < high - 0.1 for value, (low, high) in zip(best.x, bounds, strict=True))
    return best.x, float(best.fun), bool(inside and np.abs(best.jac).max() < 1e-5)


# --- BG/NBD: what follows for a customer ---------------------------------------------------------------------------
def chance_alive(rhythm: Rhythm, history: History) -> Floats:
    """P(alive at T), one for each row. 1 where x = 0: in this model one leaves only after a repeat purchase."""
    alive, dead = _branches(rhythm, history)
    return np.asarray(np.exp(alive - np.logaddexp(alive, dead)))


def expected_purchases(rhythm: Rhythm, history: History, time: float) -> Floats:
    """Purchases expected in `time` from T on, one number for each row.

    By Euler's transformation of its hypergeometric function, (1-z)^(r+x) 2F1(r+x, b+x; c; z) is
    (1-z)^(a-1) 2F1(a+b-1-r, a-1; c; z): the arguments no longer grow with x, so that a keen buyer overflows nothing.
    Where it is a and b that are huge (everybody alike), the paper's own form holds.
    """
    r, a, b, x = rhythm.r, rhythm.a, rhythm.b, history.frequency
    if abs(a - 1) < NUDGE:  # the formula divides by a - 1; its limit is smooth
        a = 1 + NUDGE
    c = a + b + x - 1
    c = np.where(np.abs(c) < NUDGE, NUDGE, c)
    z = time / (rhythm.alpha + history.age + time)
    with np.errstate(over="ignore", invalid="ignore"):
        share = (1 - z) ** (a - 1) * scipy.special.hyp2f1(a + b - 1 - r, a - 1, c, z)
        plain = ~np.isfinite(share)
        if plain.any():
            own = (1 - z) ** (r + x) * scipy.special.hyp2f1(r + x, b + x, c, z)
            share = np.where(plain, own, share)
    expected = c / (a - 1) * (1 - share) * chance_alive(rhythm, history)
    return np.maximum(np.asarray(expected, dtype=np.float64), 0.0)


def vigour(rhythm: Rhythm, history: History, time: float, *, expected: Floats | None = None) -> Floats:
    """How much of a customer is left, 0 to 1, one number for each row: what stages are judged by.

    With repeat purchases it is P(alive), which knows her own rhythm. After a single purchase she has shown none, and
    P(alive) is 1 however long she is silent; there it is the purchases still expected in `time`, as a share of what
    is expected of somebody who bought for the first time just now: the rhythm of the brand. `expected` are those
    purchases where they are known already.
    """
    fresh = History.of([0.0], [0.0], [0.0])
    if expected is None:
        expected = expected_purchases(rhythm, history, time)
    left = expected / expected_purchases(rhythm, fresh, time)[0]
    return np.where(history.frequency > 0, chance_alive(rhythm, history), np.minimum(left, 1.0))


def calibration(
    frequency: Floats, predicted: Floats, actual: Floats, count: Floats, *, most: int = 7
) -> list[dict[str, float]]:
    """Purchases predicted and made in a holdout, mean per customer, by repeat purchases before it.

    `predicted` is per customer of the row, `actual` the sum of its customers; `most` stands for itself and above.
    """
    group = np.minimum(frequency, most).astype(np.int64)
    people = np.bincount(group, weights=count, minlength=most + 1)
    sums = (np.bincount(group, weights=values, minlength=most + 1) for values in (predicted * count, actual))
    return [
        {"frequency": x, "members": int(many), "predicted": float(said / many), "actual": float(made / many)}
        for x, (many, said, made) in enumerate(zip(people, *sums, strict=True))
        if many
    ]


# --- Gamma-Gamma ---------------------------------------------------------------------------------------------------
def spend_log_likelihood(spend: Spend, frequency: Floats, mean: Floats) -> float:
    """The total log-likelihood of the paper; x > 0 purchases with a mean amount > 0 each."""
    q, v, px = spend.q, spend.v, spend.p * frequency
    rows = (
        scipy.special.gammaln(px + q)
        - scipy.special.gammaln(px)
        - scipy.special.gammaln(q)
        + q * np.log(v)
        + (px - 1) * np.log(mean)
    )
    return float(np.sum(rows + px * np.log(frequency) - (px + q) * np.log(v + frequency * mean)))


def fit_spend(frequency: ArrayLike, mean: ArrayLike, *, near: Spend | None = None) -> Spend:
    """The parameters of greatest likelihood for x > 0 purchases (of each customer) with a mean amount > 0; sought from
    several starts, or from `near` alone.

    Raises TooLittle for fewer than two customers.
    """
    x, amount = np.asarray(frequency, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    if len(x) < 2:
        raise TooLittle("nobody bought again")
    scale = float(amount.mean())
    sums, log_sums = x * amount, np.log(x * amount)

    def negative(logs: Floats) -> tuple[float, Floats]:
        p, q, v = (float(value) for value in np.exp(logs))
        px, log_all = p * x, np.log(v + sums)
        both = scipy.special.psi(px + q)
        by_p = np.sum(x * (both - scipy.special.psi(px) + log_sums - log_all))
        by_q = np.sum(both + np.log(v) - log_all) - len(x) * scipy.special.psi(q)
        by_v = np.sum(q / v - (px + q) / (v + sums))
        total = spend_log_likelihood(Spend(p, q, v), x, amount)
        return -total / len(x), -np.array([by_p * p, by_q * q, by_v * v]) / len(x)

    guesses = (
        [(p, q, scale * (q - 1) / p) for p, q in SPEND_STARTS] if near is None else [(near.p, near.q, near.v)]
    )
    logs, least, converged = _lowest(negative, guesses, np.array([0.0, 0.0, np.log(scale)]))
    p, q, v = (float(value) for value in np.exp(logs))
    return Spend(p, q, v, float(-least * len(x)), converged)


def expected_amount(spend: Spend, frequency: Floats, mean: Floats) -> Floats:
    """What her next purchase is worth: her own mean, drawn to everybody's the fewer she made.

    `mean` is read only where x > 0; where x = 0 it is everybody's, NaN when that does not exist (q <= 1).
    """
    known = frequency > 0
    below = spend.p * frequency + spend.q - 1
    own = spend.p * (spend.v + np.where(known, frequency * mean, 0.0)) / np.where(below > 0, below, np.nan)
    return np.where(known, own, spend.mean)
