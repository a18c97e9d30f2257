"""The models of the lifecycle against simulation, against plain integrals, and against themselves."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
from django.core.management import CommandError, call_command

from crm import alive
from crm.alive import History, Rhythm, Spend

TRUE = Rhythm(r=0.8, alpha=12.0, a=0.7, b=2.5)


def simulated(rhythm: Rhythm, people: int, seed: int) -> tuple[History, Any]:
    """What a population with these parameters would have bought, and whether each is still alive."""
    chance = np.random.default_rng(seed)
    rate = chance.gamma(rhythm.r, 1 / rhythm.alpha, people)
    leaving = chance.beta(rhythm.a, rhythm.b, people)
    age = chance.integers(30, 400, people).astype(float)
    last, bought, stays = np.zeros(people), np.zeros(people), np.ones(people, bool)
    going = stays.copy()
    while going.any():
        next_one = last + chance.exponential(1 / rate)
        going &= stays & (next_one <= age)
        last, bought = np.where(going, next_one, last), bought + going
        stays &= ~(going & (chance.random(people) < leaving))
    return History.of(bought, last, age), stays


@pytest.fixture(scope="module")
def crowd() -> tuple[History, Any]:
    return simulated(TRUE, 6_000, 7)


@pytest.fixture(scope="module")
def fitted(crowd: tuple[History, Any]) -> Rhythm:
    return alive.fit_rhythm(crowd[0])


def test_the_fit_finds_the_parameters_that_made_the_sales(crowd: tuple[History, Any], fitted: Rhythm) -> None:
    assert fitted.converged
    for name in ("r", "alpha", "a", "b"):
        assert getattr(fitted, name) == pytest.approx(getattr(TRUE, name), rel=0.2), name
    assert fitted.r / fitted.alpha == pytest.approx(TRUE.r / TRUE.alpha, rel=0.06)
    history = crowd[0]
    assert fitted.log_likelihood == pytest.approx(alive.log_likelihood(fitted, history))
    assert fitted.log_likelihood >= alive.log_likelihood(TRUE, history)
    step = 1e-5
    for name in ("r", "alpha", "a", "b"):  # finite differences: the top is flat in every direction
        value = getattr(fitted, name)
        sides = [
            alive.log_likelihood(Rhythm(**{**_parameters(fitted), name: value * (1 + way * step)}), history)
            for way in (1, -1)
        ]
        assert abs(sides[0] - sides[1]) / (2 * step) / history.customers < 1e-5, name


def _parameters(rhythm: Rhythm) -> dict[str, float]:
    return {name: getattr(rhythm, name) for name in ("r", "alpha", "a", "b")}


def test_equal_histories_weigh_as_many(crowd: tuple[History, Any]) -> None:
    history = crowd[0]
    whole = np.stack([history.frequency, np.floor(history.recency), history.age])[:, :1500]
    groups, counts = np.unique(whole, axis=1, return_counts=True)
    one_by_one, grouped = History.of(*whole), History.of(*groups, counts)
    assert len(grouped.count) < len(one_by_one.count)
    assert alive.log_likelihood(TRUE, grouped) == pytest.approx(alive.log_likelihood(TRUE, one_by_one))
    assert (grouped.customers, grouped.repeaters) == (one_by_one.customers, one_by_one.repeaters)


@pytest.mark.parametrize("rhythm", [TRUE, Rhythm(0.24, 4.4, 0.4, 0.5), Rhythm(2.0, 8.0, 1.0, 3.0)])
def test_likelihood_chance_and_expectation_are_the_integrals_of_the_story(rhythm: Rhythm) -> None:
    """The story told in numbers: sum over a grid of rates and chances of leaving, no closed form anywhere."""
    rates, rate_weights = scipy.special.roots_genlaguerre(80, rhythm.r - 1)
    rates, rate_weights = rates / rhythm.alpha, rate_weights / rate_weights.sum()
    nodes, leave_weights = scipy.special.roots_jacobi(80, rhythm.b - 1, rhythm.a - 1)
    leaves, leave_weights = (nodes + 1) / 2, leave_weights / leave_weights.sum()
    rate, leave = rates[:, None], leaves[None, :]
    weight = rate_weights[:, None] * leave_weights[None, :]
    for x, last, age, time in [(0, 0.0, 9.0, 6.0), (2, 5.0, 9.0, 6.0), (5, 8.0, 8.0, 12.0)]:
        history = History.of([x], [last], [age])
        still = weight * (1 - leave) ** x * rate**x * np.exp(-rate * age)
        gone = weight * leave * (1 - leave) ** (x - 1) * rate**x * np.exp(-rate * last) if x else 0 * weight
        likelihood = still.sum() + gone.sum()
        later = ((1 - np.exp(-rate * leave * time)) / leave * still).sum() / likelihood
        assert np.exp(alive.log_likelihood(rhythm, history)) == pytest.approx(likelihood, rel=1e-5)
        assert alive.chance_alive(rhythm, history)[0] == pytest.approx(still.sum() / likelihood, rel=1e-5)
        assert alive.expected_purchases(rhythm, history, time)[0] == pytest.approx(later, rel=1e-4)


def test_what_must_hold_for_anybody(crowd: tuple[History, Any], fitted: Rhythm) -> None:
    history, stays = crowd
    chance = alive.chance_alive(fitted, history)
    assert (chance[history.frequency == 0] == 1).all()
    assert ((chance > 0) & (chance <= 1)).all()
    again = history.frequency > 0
    for low, high in (
        (0.0, 0.3),
        (0.3, 0.6),
        (0.6, 0.85),
        (0.85, 1.0),
    ):  # who is called alive at 70 % is, in 70 %
        band = again & (chance > low) & (chance <= high)
        assert stays[band].mean() == pytest.approx(chance[band].mean(), abs=0.05)
    few = History(
        *(values[:400] for values in (history.frequency, history.recency, history.age, history.count))
    )
    expected = [alive.expected_purchases(fitted, few, time) for time in (0.5, 30, 90, 365)]
    assert all((less <= more + 1e-12).all() for less, more in pairwise(expected))
    vigour = alive.vigour(fitted, few, 90)
    assert ((vigour >= 0) & (vigour <= 1)).all()
    silent = alive.vigour(fitted, History.of([0, 0, 0], [0, 0, 0], [0, 30, 300]), 90)
    assert silent[0] == pytest.approx(1)
    assert (np.diff(silent) < 0).all(), "who bought once fades with the silence"
    keen = alive.expected_purchases(fitted, History.of([900.0], [890.0], [900.0]), 90)
    assert 0 < keen[0] < 120, "a keen buyer overflows nothing"
    alike = alive.expected_purchases(Rhythm(1.0, 9.0, 2e5, 8e5), History.of([3.0], [9.0], [10.0]), 30)
    assert np.isfinite(alike).all()


def test_amounts_are_fitted_and_drawn_to_the_mean() -> None:
    chance = np.random.default_rng(5)
    true = Spend(p=6.0, q=4.0, v=15.0)
    people = 8_000
    spread = chance.gamma(true.q, 1 / true.v, people)
    x = chance.integers(1, 9, people).astype(float)
    mean = chance.gamma(true.p * x, 1 / (spread * x))
    spend = alive.fit_spend(x, mean)
    assert spend.converged
    assert spend.mean == pytest.approx(true.mean, rel=0.03)
    assert (spend.p, spend.q, spend.v) == (
        pytest.approx(true.p, rel=0.2),
        pytest.approx(true.q, rel=0.2),
        pytest.approx(true.v, rel=0.3),
    )
    assert spend.log_likelihood >= alive.spend_log_likelihood(true, x, mean)
    amounts = alive.expected_amount(spend, np.array([0.0, 1.0, 50.0]), np.array([0.0, 100.0, 100.0]))
    assert amounts[0] == pytest.approx(spend.mean)
    assert spend.mean < amounts[1] < amounts[2] < 100


# --- The command ---------------------------------------------------------------------------------------------------
def of_file(path: Path, text: str, capsys: Any) -> dict[str, float]:
    path.write_text(text, encoding="utf-8")
    call_command("lifecycle_fit", summary=path)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1
    answer: dict[str, float] = json.loads(lines[0])
    return answer


def test_a_file_is_fitted_whatever_the_order_of_its_columns(
    crowd: tuple[History, Any], tmp_path: Path, capsys: Any
) -> None:
    history = crowd[0]
    rows = list(
        zip(*(part[:800].tolist() for part in (history.frequency, history.recency, history.age)), strict=True)
    )
    plain = "frequency,recency,T\n" + "".join(f"{int(x)},{last},{age}\n" for x, last, age in rows)
    answer = of_file(tmp_path / "plain.csv", plain, capsys)
    assert list(answer) == ["r", "alpha", "a", "b", "log_likelihood"]
    expected = alive.fit_rhythm(History.of(*np.array(rows).T))
    assert answer["log_likelihood"] == pytest.approx(expected.log_likelihood, abs=1e-4)
    amounts = [50 + 7 * (number % 11) for number in range(len(rows))]
    mixed = "\ufeffcustomer, T ,monetary,recency,frequency\n" + "".join(
        f"{number},{age},{amounts[number] if x else ''},{last},{x}\n"
        for number, (x, last, age) in enumerate(rows)
    )
    again = of_file(tmp_path / "mixed.csv", mixed, capsys)
    assert set(again) == {"r", "alpha", "a", "b", "log_likelihood", "p", "q", "v"}
    assert again["r"] == pytest.approx(answer["r"], rel=1e-4)


def test_parameters_at_the_end_of_the_search_are_said_to_be_so(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("frequency,recency,T\n" + "2,10,20\n" * 30, encoding="utf-8")
    call_command("lifecycle_fit", summary=path)
    told = capsys.readouterr()
    assert (len(told.out.splitlines()), bool(told.err)) == (1, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frequency,T\n1,2\n", "recency"),
        ("frequency,recency,T\n1,2,3\n1,x,3\n", "3"),
        ("frequency,recency,T\n-1,2,3\n", "2"),
        ("frequency,recency,T\n1.5,2,3\n", "2"),
        ("frequency,recency,T\n1_0,2,3\n1,2,3\n1,2,3\n", "2"),
        ("frequency,recency,T\n1,4,3\n", "2"),
        ("frequency,recency,T\n0,1,3\n", "2"),
        ("frequency,recency,T\n1,nan,3\n", "2"),
        ("frequency,recency,T\n1,2\n", "2"),
        ("frequency,recency,T,monetary\n1,2,3,0\n", "monetary"),
        ("frequency,recency,T\n0,0,3\n", ""),
        ("frequency,recency,T\n3,5,10\n", ""),
        ("frequency,recency,T\n1e300,2,3\n2,2,3\n", "1,000,000"),
        ("frequency,recency,T,monetary\n1,2,3,1e300\n", "monetary"),
        ("frequency,recency,T\n", ""),
        ("", "frequency"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_printed(
    text: str, words: str, tmp_path: Path, capsys: Any
) -> None:
    with pytest.raises(CommandError) as refused:
        of_file(tmp_path / "bad.csv", text, capsys)
    assert words in str(refused.value)
    assert refused.value.returncode == 1
    assert capsys.readouterr().out == ""
