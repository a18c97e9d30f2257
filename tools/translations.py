"""Chinese for every string that a person reads. Maintainers' tool; needs the development requirements.

    python tools/translations.py extract [CATALOG …]   collect the sources' strings into the .po files
    python tools/translations.py missing CATALOG …     print what has no Chinese yet, as JSON for `fill`
    python tools/translations.py fill CATALOG < FILE   take JSON {"English": "中文"}, then compile
    python tools/translations.py compile [CATALOG …]   write the .mo files, which are committed
    python tools/translations.py check [CATALOG …]     exit 1 and a list of what is missing or wrong

A catalog is a folder `locale/<catalog>`; CATALOGS says which sources feed it (first match wins). All catalogs
are merged when Pond runs, so a string that one catalog translates needs no entry in another. `extract` never
destroys a translation: what is no longer used stays as an obsolete entry and is revived when it returns. It also
turns half-width punctuation between Chinese characters into full-width. Plural strings have one Chinese form.
Catalogs without sources (`unfold`: the admin's own strings) are written by hand.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import polib
from babel.messages.extract import extract as babel_extract

ROOT = Path(__file__).resolve().parent.parent
LANGUAGE = "zh_Hans"


def of_nouns(*nouns: str) -> tuple[str, ...]:
    """The files of some of the shop's nouns, in every layer."""
    layers = ("models", "services", "queries", "admin", "pages", "api")
    return tuple(
        prefix
        for noun in nouns
        for prefix in (*(f"shop/{layer}/{noun}" for layer in layers), f"shop/{noun}", f"templates/shop/{noun}",
                       f"static/shop/{noun}", f"templates/admin/shop/{noun}")
    )  # fmt: skip


def of_crm_nouns(*nouns: str) -> tuple[str, ...]:
    """The files of some of crm's nouns, in every layer."""
    layers = ("models", "services", "queries", "admin")
    return tuple(
        prefix
        for noun in nouns
        for prefix in (
            *(f"crm/{layer}/{noun}" for layer in layers), f"crm/{noun}", f"templates/crm/{noun}",
            f"templates/crm/admin/{noun}", f"static/crm/{noun}",
        )
    )  # fmt: skip


# catalog → path prefixes that feed it; the first catalog that matches a file gets it.
CATALOGS: dict[str, tuple[str, ...]] = {
    "shop_presale": of_nouns("presale", "limits", "add_ons"),
    "shop_pricing": of_nouns("pricing", "promotions", "rehearsals", "shipping_rates"),
    "shop_instruments": of_nouns("coupons", "offers", "hot"),
    "shop_fulfilment": of_nouns(
        "fulfilment", "routing", "rerouting", "pickup", "stocktaking", "transfers", "oms"
    ),
    "shop_value": of_nouns("recharge", "direct", "tallies", "mall", "memberships"),
    "shop_money": of_nouns("money", "tenders", "stored_value", "gift_cards", "reconciliation"),
    "shop_aftersales": of_nouns("aftersales", "invoices", "desk"),
    "shop_goods": of_nouns("bundles", "vouchers", "virtual", "goods"),
    "shop_finding": of_nouns("brands", "attributes", "finding", "catalogue_files"),
    "shop_booking": of_nouns("booking", "queueing"),
    "shop_voices": of_nouns("reviews", "favourites", "questions"),
    "shop_logistics": of_nouns("logistics", "tracking", "recovery", "funnel", "address_parsing"),
    "shop_points": of_nouns("points"),
    "shop_pages": ("templates/shop/", "shop/pages", "shop/forms.py", "static/shop/"),
    "shop_data": (
        "shop/imports",
        "shop/management/",
        "shop/api.py",
        "shop/api_urls.py",
        "templates/shop_data/",
    ),
    "crm_lifecycle": (
        *(
            f"crm/{layer}{noun}"
            for noun in ("lifecycle", "aipl", "rfm", "days")
            for layer in ("", "models/", "services/", "queries/", "admin/")
        ),
        *("crm/management/commands/lifecycle", "templates/crm/admin/lifecycle"),
        *(
            "templates/crm/admin/aipl",
            "templates/crm/admin/rfm",
            "templates/crm/admin/life_",
            "templates/crm/days",
        ),
    ),
    "crm_picture": tuple(
        f"{place}{noun}"
        for noun in ("picture", "tagrules", "fields", "syncs")
        for place in (
            *("crm/", "crm/models/", "crm/services/", "crm/queries/", "crm/admin/"),
            "templates/crm/",
        )
    ),
    "crm_imports": (*of_crm_nouns("imports"), "crm/management/commands/import"),
    "crm_value": of_crm_nouns("points", "tiers", "memberships"),
    "crm_identity": of_crm_nouns(
        "merg", "mydata", "retention", "looks", "sidebar", "erased", "guide", "phones", "sms"
    ),
    "config": ("config/",),
    "core": ("core/", "templates/core/", "templates/admin/", "templates/unfold/", "templates/pghistory/"),
    "wechat": ("wechat/", "templates/wechat/"),
    "crm_segments": (
        *(f"crm/{layer}/segments" for layer in ("models", "services", "queries", "admin")),
        *("crm/segments_audits", "templates/crm/admin/segment"),
    ),
    "crm": ("crm/", "templates/crm/"),
    "shop": ("shop/",),
    "community": ("community/", "templates/community/"),
    "campaigns": ("campaigns/", "templates/campaigns/"),
    "analytics": ("analytics/", "templates/analytics/"),
}
SKIPPED = ("wechat/sandbox/",)  # a program of its own, written in Chinese
KEYWORDS: dict[str, tuple[object, ...] | None] = {
    **dict.fromkeys(["_", "gettext", "gettext_lazy", "gettext_noop"]),
    **dict.fromkeys(["ngettext", "ngettext_lazy"], (1, 2)),
    **dict.fromkeys(["pgettext", "pgettext_lazy"], ((1, "c"), 2)),
    **dict.fromkeys(["npgettext", "npgettext_lazy"], ((1, "c"), 2, 3)),
}
WITHOUT_SOURCES = {"unfold"}
FULL_WIDTH = dict(zip(",;:?!()", "\uff0c\uff1b\uff1a\uff1f\uff01\uff08\uff09", strict=True))
CHINESE = r"[\u4e00-\u9fff\u201c\u201d\u300a\u300b\uff08\uff09]"
HALF_WIDTH = re.compile(
    rf"(?<={CHINESE})([,;:?!])\s?(?={CHINESE}|[%{{\w]|$)|[,;?!]\s?(?={CHINESE})|(?<={CHINESE})\((?=[^()]*\))"
)
CLOSING = re.compile(r"(\uff08[^()\uff08\uff09]*)\)")
HIDDEN = re.compile(r"""\bf(["'])(?:(?!\1)[^\n])*\{_\(""")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|(?<!\{)\{\w*\}(?!\})")

Key = tuple[str, str]  # context, msgid


@dataclass
class Message:
    plural: str = ""
    files: set[str] = field(default_factory=set)


def main(arguments: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "extract": extract,
        "missing": missing,
        "fill": fill,
        "compile": compile_catalogs,
        "check": check,
    }
    if not arguments or arguments[0] not in commands:
        print(__doc__)
        return 2
    unknown = [name for name in arguments[1:] if name not in all_catalogs()]
    if unknown:
        print(
            f"No such catalog: {', '.join(unknown)}. There are: {', '.join(all_catalogs())}.", file=sys.stderr
        )
        return 2
    return commands[arguments[0]](arguments[1:] or all_catalogs())


def extract(names: list[str]) -> int:
    needed = source_messages()
    for name in names:
        catalog = read(name)
        for entry in catalog:
            tidy(entry)
        if name not in CATALOGS:
            write(name, catalog)
            continue
        elsewhere = translated_in([other for other in all_catalogs() if other != name])
        own = needed[name]
        wanted_anywhere = {key for messages in needed.values() for key in messages}
        present: dict[Key, polib.POEntry] = {key_of(entry): entry for entry in catalog}
        for key, entry in present.items():
            used = key in own or (key in wanted_anywhere and key not in elsewhere)
            entry.obsolete = not used
            entry.occurrences = [(path, "") for path in sorted(own[key].files)] if key in own else []
        for key, message in own.items():
            if key in present or key in elsewhere:
                continue
            context, msgid = key
            entry = polib.POEntry(msgid=msgid, msgctxt=context or None)
            if message.plural:
                entry.msgid_plural, entry.msgstr_plural = message.plural, {0: ""}
            entry.occurrences = [(path, "") for path in sorted(message.files)]
            catalog.append(entry)
        catalog.sort(key=lambda entry: (entry.obsolete, entry.msgid.lower(), entry.msgctxt or ""))
        write(name, catalog)
        todo = sum(not is_translated(entry) for entry in catalog if not entry.obsolete)
        print(f"{name}: {len([e for e in catalog if not e.obsolete])} strings, {todo} without Chinese")
    return 0


def missing(names: list[str]) -> int:
    needed, known = source_messages(), translated_in(all_catalogs())
    todo = {key_text(key): "" for name in names for key in sorted(needed.get(name, {})) if key not in known}
    print(json.dumps(todo, ensure_ascii=False, indent=1))
    return 0


def fill(names: list[str]) -> int:
    if len(names) != 1:
        print("fill needs one catalog.", file=sys.stderr)
        return 2
    given: dict[str, str] = json.load(sys.stdin)
    extract(names)
    catalog = read(names[0])
    entries = {key_text(key_of(entry)): entry for entry in catalog if not entry.obsolete}
    for text, chinese in given.items():
        entry = entries.get(text)
        if entry is None:
            if names[0] in CATALOGS:
                print(f"not used or already translated elsewhere: {text}")
                continue
            context, _, msgid = text.rpartition("\x04")
            entry = polib.POEntry(msgid=msgid, msgctxt=context or None)
            catalog.append(entry)
        if entry.msgid_plural:
            entry.msgstr_plural = {0: chinese}
        else:
            entry.msgstr = chinese
        entry.fuzzy = False
        tidy(entry)
    write(names[0], catalog)
    return compile_catalogs(names)


def compile_catalogs(names: list[str]) -> int:
    for name in names:
        if po_path(name).exists():
            po_path(name).with_suffix(".mo").write_bytes(read(name).to_binary())
    return 0


def check(names: list[str]) -> int:
    needed = source_messages()
    known = translated_in(all_catalogs())
    wanted = {key for messages in needed.values() for key in messages}
    faults: list[str] = []
    for name in names:
        own = needed.get(name, {})
        catalog = read(name)
        entries = {key_of(entry): entry for entry in catalog if not entry.obsolete}
        for key, message in sorted(own.items()):
            if key not in known:
                verdict = "untranslated" if key in entries else "missing (run extract)"
                faults.append(f"{name}: {verdict}: {key[1]!r} in {', '.join(sorted(message.files))}")
        for key, entry in entries.items():
            if name in CATALOGS and key not in wanted:
                faults.append(f"{name}: stale (run extract): {key[1]!r}")
            if is_translated(entry) and placeholders(entry.msgid_plural or entry.msgid) - placeholders(
                chinese_of(entry)
            ):
                faults.append(f"{name}: placeholders differ: {key[1]!r} → {chinese_of(entry)!r}")
        compiled = po_path(name).with_suffix(".mo")
        if po_path(name).exists() and (not compiled.exists() or compiled.read_bytes() != catalog.to_binary()):
            faults.append(f"{name}: not compiled (run compile)")
    faults += list(hidden_in_f_strings())
    whole = set(names) == set(all_catalogs())
    for line in contradictions(set(names)):
        if whole:
            faults.append(line)
        else:
            print(f"note: {line}")
    for fault in faults:
        print(fault)
    strings = sum(len(needed.get(name, {})) for name in names)
    print(f"{strings} strings, {len(faults)} faults")
    return 1 if faults else 0


def contradictions(names: set[str]) -> Iterator[str]:
    """One string with two translations: only one of them would ever be shown."""
    first: dict[Key, tuple[str, str]] = {}
    for name in all_catalogs():
        for entry in read(name):
            if entry.obsolete or not is_translated(entry):
                continue
            chinese = chinese_of(entry)
            other, said = first.setdefault(key_of(entry), (name, chinese))
            if said != chinese and {name, other} & names:
                yield f"{entry.msgid!r}: {said!r} in {other}, {chinese!r} in {name}: use one, or pgettext"


def source_messages() -> dict[str, dict[Key, Message]]:
    """Every translatable string of the sources, by catalog."""
    found: dict[str, dict[Key, Message]] = {name: {} for name in CATALOGS}
    for path in source_files():
        relative = path.relative_to(ROOT).as_posix()
        name = catalog_of(relative)
        if name is None:
            continue
        for context, msgid, plural in messages_of(path):
            message = found[name].setdefault((context, msgid), Message())
            message.plural = message.plural or plural
            message.files.add(relative)
    return found


def hidden_in_f_strings() -> Iterator[str]:
    """What `extract` cannot see, so that nobody translates it: a call of gettext inside of an f-string."""
    for path in source_files():
        if path.suffix == ".py":
            for found in HIDDEN.finditer(path.read_text()):
                line = path.read_text()[: found.start()].count("\n") + 1
                yield f"{path.relative_to(ROOT).as_posix()}:{line}: gettext inside of an f-string is not extracted"


def source_files() -> Iterator[Path]:
    packages = sorted(
        {prefix.split("/")[0] for prefixes in CATALOGS.values() for prefix in prefixes}
        - {"templates", "static"}
    )
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.suffix in (".html", ".txt"):
            yield path


def catalog_of(relative: str) -> str | None:
    if relative.startswith(SKIPPED):
        return None
    return next((name for name, prefixes in CATALOGS.items() if relative.startswith(prefixes)), None)


def messages_of(path: Path) -> Iterator[Key | tuple[str, str, str]]:
    """(context, msgid, plural or "") of one file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        if "gettext" not in text:
            return
        method, source = "python", text
    elif "{% load " in text:  # a Django template cannot translate without loading i18n
        from django.conf import settings
        from django.utils.translation.template import templatize

        if not settings.configured:
            settings.configure(USE_I18N=True)
        # The text around the tags became X's; its indentation would upset the tokenizer.
        method, source = "python", "\n".join(line.strip() for line in templatize(text).splitlines())
    else:
        method, source = "jinja2.ext:babel_extract", text
    options = {"encoding": "utf-8", "trimmed": "true", "silent": "false"}
    try:
        results = list(babel_extract(method, BytesIO(source.encode()), keywords=KEYWORDS, options=options))
    except Exception as error:
        if path.suffix != ".py" and not re.search(r"_\(|gettext\(|\{%-?\s*trans", text):
            return  # a Django template with nothing to translate
        raise SystemExit(
            f"{path.relative_to(ROOT)} cannot be read: {type(error).__name__}: {error}"
        ) from error
    for _line, message, _comments, context in results:
        msgid, plural = message if isinstance(message, tuple) else (message, "")
        if msgid:
            yield context or "", msgid, plural or ""


def all_catalogs() -> list[str]:
    folders = {path.name for path in (ROOT / "locale").iterdir() if path.is_dir()}
    return sorted(folders | set(CATALOGS) | WITHOUT_SOURCES)


def translated_in(names: list[str]) -> set[Key]:
    return {
        key_of(entry) for name in names for entry in read(name) if not entry.obsolete and is_translated(entry)
    }


def key_of(entry: polib.POEntry) -> Key:
    return entry.msgctxt or "", entry.msgid


def key_text(key: Key) -> str:
    """The form in the JSON of `missing` and `fill`: context, U+0004, msgid."""
    return f"{key[0]}\x04{key[1]}" if key[0] else key[1]


def chinese_of(entry: polib.POEntry) -> str:
    return str(entry.msgstr_plural.get(0, "")) if entry.msgid_plural else str(entry.msgstr)


def is_translated(entry: polib.POEntry) -> bool:
    return bool(chinese_of(entry)) and not entry.fuzzy


def tidy(entry: polib.POEntry) -> None:
    """Full-width punctuation between Chinese characters."""

    def full(text: str) -> str:
        text = HALF_WIDTH.sub(lambda match: FULL_WIDTH[match[0].strip()], text)
        return CLOSING.sub("\\1\uff09", text)

    if entry.msgid_plural:
        entry.msgstr_plural = {0: full(chinese_of(entry))}
    else:
        entry.msgstr = full(entry.msgstr)


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


def po_path(name: str) -> Path:
    return ROOT / "locale" / name / LANGUAGE / "LC_MESSAGES" / "django.po"


def read(name: str) -> polib.POFile:
    """The catalog, empty with a proper head when it has no file yet."""
    path = po_path(name)
    if path.exists():
        return polib.pofile(str(path), wrapwidth=110)
    catalog = polib.POFile(wrapwidth=110)
    catalog.metadata = {
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Language": LANGUAGE,
        "Plural-Forms": "nplurals=1; plural=0;",
    }
    return catalog


def write(name: str, catalog: polib.POFile) -> None:
    """Replace the file at once, so that a reader never sees half of it."""
    path = po_path(name)
    if not catalog and not path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"django.po.{os.getpid()}")
    catalog.save(str(fresh))
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
