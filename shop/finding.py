"""How products are found, as pure functions: what is kept for the search, and what a shopper's words ask for.

A product is found by tokens in one tsvector: words (shop.rules), the pinyin of its Chinese names, and marks such as
`=c12` for each category above it, `=b3` for its brand, `=v7` for each of its attributes' values. One index answers
all of it at once. No Django, no clock, no database.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from shop import rules

MAX_PRICE_FEN = 10_000_000_00
# Letters of pinyin that one token keeps; longer queries are cut to it. Short tokens are shared by many names: a
# beginning such as fashi then stands for dozens of tokens, not for thousands.
SOUND_LENGTH = 16
INITIALS_LENGTH = 8
MAX_CHOICES = 20  # of one filter: nobody ticks more

_CHINESE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]+")
_LATIN = re.compile(r"[^0-9a-z]+")
_VOWEL = re.compile(r"[aeiouv]")
# How goods are usually read, where a dictionary without context says something else: both are found.
_GOODS_READINGS = {
    "长": "chang",
    "薄": "bao",
    "重": "zhong",
    "行": "xing",
    "女": "nu",
    "绿": "lu",
    "旅": "lu",
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed down to. Values of one attribute are alternatives, different attributes all hold."""

    category_id: int | None = None
    brand_ids: tuple[int, ...] = ()
    values: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # attribute → its chosen values
    low_fen: int | None = None
    high_fen: int | None = None
    in_stock: bool = False
    any_category: tuple[int, ...] = ()  # of one of these and all below it, where no one category is the place

    @property
    def count(self) -> int:
        """How many are chosen, as the button says; the category is the place, not a filter."""
        return (
            len(self.brand_ids)
            + sum(len(chosen) for chosen in self.values.values())
            + (self.low_fen is not None or self.high_fen is not None)
            + self.in_stock
        )

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal filters, for caches."""
        values = tuple(sorted((attribute, tuple(sorted(ids))) for attribute, ids in self.values.items()))
        return (
            self.category_id,
            self.brand_ids,
            values,
            self.low_fen,
            self.high_fen,
            self.in_stock,
            self.any_category,
        )


ALL = Filters()


# --- What is kept of a product ----------------------------------------------------------------------------------


def marks(*, category_ids: Iterable[int], brand_id: int | None, value_ids: Iterable[int]) -> list[str]:
    """The tokens that filters ask for; no typed word looks like them."""
    return [
        *(f"=c{pk}" for pk in category_ids),
        *([f"=b{brand_id}"] if brand_id else []),
        *(f"=v{pk}" for pk in value_ids),
    ]


def sound_tokens(texts: Sequence[str]) -> list[str]:
    """Pinyin and initials from every syllable on: 连衣裙 is found by lianyiqun, yiqun, lyq, yq and their beginnings."""
    tokens: set[str] = set()
    for text in texts:
        for run in _CHINESE.findall(text):
            for syllables in _readings(run):
                for start in range(len(syllables)):
                    tokens.add("".join(syllables[start : start + 8])[:SOUND_LENGTH])
                    initials = "".join(one[0] for one in syllables[start:])[:INITIALS_LENGTH]
                    if len(initials) > 1:
                        tokens.add(initials)
    return sorted(tokens)


def sound_of(text: str, length: int = 400) -> str:
    """The whole text as one word of pinyin and Latin letters, for what is merely similar: "Silk 方巾" → silkfangjin."""
    parts: list[str] = []
    place = 0
    lowered = text.lower()
    for run in _CHINESE.finditer(lowered):
        parts.append(_LATIN.sub("", lowered[place : run.start()]))
        parts.extend(_readings(run[0])[0])
        place = run.end()
    parts.append(_LATIN.sub("", lowered[place:]))
    return "".join(parts)[:length]


@lru_cache(maxsize=20_000)
def _readings(run: str) -> tuple[tuple[str, ...], ...]:
    """The syllables of a run of Chinese characters; a second time as goods are read, where that differs.

    A character that no dictionary reads (䥿) has none.
    """
    from pypinyin import lazy_pinyin  # its dictionaries cost 30 MB: only who searches or indexes pays

    usual = tuple(one for one in (_LATIN.sub("", each) for each in lazy_pinyin(run)) if one)
    if len(usual) != len(run):
        return (usual,)
    goods = tuple(_GOODS_READINGS.get(letter, sound) for letter, sound in zip(run, usual, strict=True))
    return (usual,) if goods == usual else (usual, goods)


def in_order(spec: Mapping[str, str], name: str) -> dict[str, str]:
    """A SKU's properties in the order in which its name says them ("雾蓝 S"): the database sorts them its own way."""
    places = {key: name.find(str(value)) for key, value in spec.items()}
    return {
        key: str(spec[key])
        for key in sorted(spec, key=lambda key: places[key] if places[key] >= 0 else len(name))
    }


# --- What a shopper asks for ------------------------------------------------------------------------------------


def words_query(text: str) -> tuple[str, ...]:
    """The tsqueries that all have to hold: Latin by prefix (a word, pinyin or initials), Chinese by its bigrams.

    The little 子 of 裙子 and 裤子 does not matter: 裙子 finds 连衣裙. Empty: nothing to look for.
    """
    return tuple(_word_query(word) for word in rules.words_of(text[:100])[:8])


def _word_query(word: str) -> str:
    if len(word) == 1:  # a size, V, or 裙; as a beginning it would be that of thousands of initials
        return f"'{word}'"
    if word.isascii():
        exact = f"'{word[:64]}':*"
        cut = SOUND_LENGTH if _VOWEL.search(word) else INITIALS_LENGTH
        return f"({exact} | '{word[:cut]}':*)" if len(word) > cut and word.isalpha() else exact
    exact = " & ".join(f"'{word[i : i + 2]}'" for i in range(len(word) - 1))
    if word[-1] not in "子儿":
        return exact
    return f"(({exact}) | {_word_query(word[:-1])})"


def sounds_query(text: str) -> tuple[str, ...]:
    """What sounds like the words: 连衣群 asks for lianyiqun. Empty when there is no Chinese in it."""
    words = rules.words_of(text[:100])[:8]
    if all(word.isascii() for word in words):
        return ()
    sounds = (word if word.isascii() else sound_of(word) for word in words)
    return tuple(f"'{sound[:SOUND_LENGTH]}':*" for sound in sounds if sound)


def mark_groups(filters: Filters) -> dict[str, str]:
    """The tsqueries of category, brands and values by their facet: "" for the category, "brand", "a7"."""
    groups = {}
    if filters.category_id is not None:
        groups[""] = f"'=c{filters.category_id}'"
    elif filters.any_category:
        groups[""] = _either(f"'=c{pk}'" for pk in filters.any_category)
    if filters.brand_ids:
        groups["brand"] = _either(f"'=b{pk}'" for pk in filters.brand_ids[:MAX_CHOICES])
    for attribute_id, chosen in filters.values.items():
        if chosen:
            groups[f"a{attribute_id}"] = _either(f"'=v{pk}'" for pk in chosen[:MAX_CHOICES])
    return groups


def all_but_one(groups: Sequence[str]) -> str:
    """The tsquery of what fits all of several filters, or all but any one of them. Empty: that is everything."""
    if len(groups) < 2:
        return ""
    return _either(
        "(" + " & ".join((*groups[:number], *groups[number + 1 :])) + ")" for number in range(len(groups))
    )


def _either(terms: Iterable[str]) -> str:
    return "(" + " | ".join(terms) + ")"


def all_of(queries: Iterable[str]) -> str:
    """One tsquery of several that all have to hold; empty when there are none."""
    return " & ".join(queries)
