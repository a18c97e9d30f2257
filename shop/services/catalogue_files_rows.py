"""The rows of a catalogue file, a batch at a time: judged against what there is, and written set-based."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef
from django.utils.translation import gettext as _

from core import clock
from crm import queries as crm_queries
from shop import catalogue_files, queries
from shop.catalogue_files import CHANGED, NEW, PRODUCT_COLUMNS, REFUSED, SAME, Wish
from shop.models import Brand, Category, CostPrice, MemberPrice, Product, Sku
from shop.services.catalogue import set_products_status
from shop.services.finding import refresh_products
from shop.services.stock import set_stocks, warehouse_id

_FIELDS = {"product_name": "name", "subtitle": "subtitle", "status": "status", "product_code": "code"}
_SKU_COLUMNS = ("spec", "price_fen", "list_price_fen", "weight_grams", "is_active")


@dataclass(slots=True)
class Verdict:
    """What a row would do or did, with the sentence for people. `current` is the SKU as it is, None for a new one."""

    wish: Wish
    kind: str
    text: str
    current: dict[str, Any] | None = None
    changes: dict[str, Any] = field(default_factory=dict)  # column → new value
    product_id: int | None = None  # of a product that exists


class Judge:
    """Judges the rows of one file one batch after the other; remembers what its earlier rows said."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """`keys`: the columns of the file."""
        keys = list(keys)
        self.keys = [key for key in keys if "@" in key]
        self._stores = catalogue_files.named(keys, "stock") + ["warehouse"] * ("on_hand" in keys)
        self.categories: dict[str, int | None] = {}
        for key, whole in queries.category_choices():
            names = whole.split(" / ")
            for first in range(len(names)):  # two shelves of one name: neither is meant
                word = "/".join(names[first:])
                self.categories[word] = None if word in self.categories else int(key)
        for pk, name in Category.objects.filter(parent=None).values_list("pk", "name"):
            self.categories[name] = pk  # a root's name is its whole path
        self.brands = dict(Brand.objects.values_list("name", "pk"))
        self._seen: set[str] = set()
        self._without_stock: set[int] = set()  # products of the batch whose SKUs lie in no store
        self._said: dict[tuple[str, str], dict[str, Any]] = {}  # product → what its rows say of it
        self._coming: set[tuple[str, str]] = set()  # products that earlier rows make

    def judge(self, batch: Sequence[Wish], *, lock: bool = False) -> list[Verdict]:
        """`lock` keeps the SKUs, and their pieces where the file sets them, as they were judged until the end of the
        transaction.
        """
        asked = [wish.sku_code for wish in batch]
        if lock:
            self._hold(asked)
        known = queries.catalogue_skus(asked, keys=self.keys)
        fresh = [wish.values for wish in batch if wish.sku_code not in known]
        codes = [values["product_code"] for values in fresh if "product_code" in values]
        codes += [wish.values["product_code"] for wish in batch if "product_code" in wish.values]
        names = [v["product_name"] for v in fresh if "product_name" in v and "product_code" not in v]
        by_code, by_name = queries.products_of_file(codes, names)
        there = {*by_code.values(), *(pk for ids in by_name.values() for pk in ids)}
        others = Product.objects.filter(pk__in=there).exclude(kind=Product.GOODS)
        self._without_stock = set(others.values_list("pk", flat=True)) if fresh and there else set()
        sellable = queries.sellable_skus([one["product_id"] for one in known.values()])
        verdicts = []
        for wish in batch:
            current = known.get(wish.sku_code)
            wish = catalogue_files.settled_stock(wish, current)
            problem = wish.problem or self._problem(wish, current)
            if not problem and current is None:
                verdict = self._fresh(wish, by_code, by_name)
            elif not problem and current is not None:
                verdict = self._changed(wish, current, by_code, sellable)
            else:
                verdict = Verdict(wish, REFUSED, problem, current)
            if not wish.problem:
                self._seen.add(wish.sku_code)
            verdicts.append(verdict)
        return verdicts

    def _hold(self, codes: list[str]) -> None:
        """Before anything is read: what waited for a lock would still show the pieces of before."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM shop_sku WHERE code = ANY(%s) ORDER BY id FOR NO KEY UPDATE", [codes]
            )
            ids = [pk for (pk,) in cursor.fetchall()]
            if self._stores:
                cursor.execute(
                    "SELECT k.id FROM shop_stock k JOIN crm_store p ON p.id = k.store_id"
                    " WHERE k.sku_id = ANY(%s) AND p.code = ANY(%s)"
                    " ORDER BY k.sku_id, k.store_id FOR UPDATE OF k",
                    [ids, self._stores],
                )

    def _problem(self, wish: Wish, current: dict[str, Any] | None) -> str:
        values = wish.values
        if wish.sku_code in self._seen:
            return _("This SKU code stands in the file twice.")
        if "category" in values and self.categories.get(values["category"]) is None:
            return _("There is no category “%(name)s”, or more than one.") % {"name": values["category"][:40]}
        if "brand" in values and values["brand"] not in self.brands:
            return _("There is no brand “%(name)s”.") % {"name": values["brand"][:40]}
        if current is None and (
            "price_fen" not in values or not (values.get("product_name") or values.get("product_code"))
        ):
            return _("A new SKU needs a price, and a product by its code or name.")
        return ""

    def _fresh(self, wish: Wish, by_code: dict[str, int], by_name: dict[str, list[int]]) -> Verdict:
        values = wish.values
        if "product_code" in values:
            key, found = ("code", values["product_code"]), by_code.get(values["product_code"])
        else:
            key, same_name = ("name", values["product_name"]), by_name.get(values["product_name"], [])
            if len(same_name) > 1:
                problem = _("Several products are called “%(name)s”: give the product code.")
                return Verdict(wish, REFUSED, problem % {"name": values["product_name"][:40]})
            found = same_name[0] if same_name else None
        if found is None and key not in self._coming and "product_name" not in values:
            return Verdict(
                wish, REFUSED, _("There is no product “%(code)s”, and the row names none.") % {"code": key[1]}
            )
        if values.get("status") == Product.ON_SALE and values.get("is_active") is False:
            return Verdict(wish, REFUSED, _("A product needs a SKU for sale to be on sale."))
        if found in self._without_stock and any(
            level for name, level in values.items() if name == "on_hand" or name.startswith("stock@")
        ):
            problem = _("Virtual goods, services and bundles have no stock of their own.")
            return Verdict(wish, REFUSED, problem)
        is_coming = found is None or key in self._coming
        problem = self._contradiction(key, {**values, "owner": "new" if is_coming else str(found)})
        if problem:
            return Verdict(wish, REFUSED, problem)
        if is_coming:
            self._coming.add(key)
        text = "，".join(
            f"{catalogue_files.label(name)}：{catalogue_files.shown(name, value)}"
            for name, value in values.items()
        )
        return Verdict(wish, NEW, text, product_id=found, changes=values)

    def _changed(
        self, wish: Wish, current: dict[str, Any], by_code: dict[str, int], sellable: dict[int, set[int]]
    ) -> Verdict:
        values, product_id = wish.values, int(current["product_id"])
        code = values.get("product_code")
        if code and by_code.get(code, product_id) != product_id:
            problem = _("Another product has the code “%(code)s”.") % {"code": code}
            return Verdict(wish, REFUSED, problem, current)
        stays = values.get("is_active", current["is_active"])
        if (
            values.get("status") == Product.ON_SALE
            and not stays
            and sellable.get(product_id, set()) <= {current["id"]}
        ):
            return Verdict(wish, REFUSED, _("A product needs a SKU for sale to be on sale."), current)
        key = ("code", current["product_code"]) if current["product_code"] else ("id", str(product_id))
        problem = self._contradiction(key, {**values, "owner": str(product_id)})
        if not problem and code and code != current["product_code"]:
            problem = self._contradiction(("code", code), {"owner": str(product_id)})
        if problem:
            return Verdict(wish, REFUSED, problem, current)
        changes = catalogue_files.differences(wish, current)
        return Verdict(
            wish,
            CHANGED if changes else SAME,
            catalogue_files.BETWEEN.join(change.text for change in changes),
            current,
            {change.field: change.new for change in changes},
            product_id,
        )

    def _contradiction(self, key: tuple[str, str], values: dict[str, Any]) -> str:
        """Why a row cannot hold beside the earlier ones; `owner` says which product the name in the file means."""
        said = self._said.setdefault(key, {})
        for name in (*PRODUCT_COLUMNS, "owner"):
            if name in values and said.get(name, values[name]) != values[name]:
                return _("Another line says something else about this product.")
        said.update({name: values[name] for name in (*PRODUCT_COLUMNS, "owner") if name in values})
        return ""


@transaction.atomic
def write_rows(
    verdicts: Sequence[Verdict], judge: Judge, *, cause: str, note: str = "", by: str = ""
) -> None:
    """Write what judged rows ask for; a row whose stock cannot be set is refused as a whole.

    Locks: stock, then the products by id; the SKUs are locked since they were judged. Idempotent on: cause and SKU
    for the stock; the rest is only written where it differs.
    """
    _make([one for one in verdicts if one.kind == NEW], judge)
    codes = ["warehouse", *catalogue_files.named(judge.keys, "stock")]
    places = crm_queries.stores(only_active=False)
    stores = dict(places.filter(code__in=codes).values_list("code", "pk"))
    stores.setdefault("warehouse", warehouse_id())
    levels = {
        (one.current["id"], stores[_store_of(name)]): level
        for one in verdicts
        if one.kind in (NEW, CHANGED) and one.current is not None
        for name, level in one.changes.items()
        if name == "on_hand" or name.startswith("stock@")
    }
    refused = set_stocks(levels=levels, cause=cause, note=note, by=by) if levels else {}
    for one in verdicts:
        if one.current is not None and one.current["id"] in refused:
            one.kind, one.text = REFUSED, refused[one.current["id"]].message
    changed = [one for one in verdicts if one.kind == CHANGED]
    _change_skus([one for one in changed if one.changes.keys() & set(_SKU_COLUMNS)])
    _change_prices([one for one in verdicts if one.kind in (NEW, CHANGED)])
    _change_products([one for one in verdicts if one.kind in (NEW, CHANGED)], judge)
    touched = {one.product_id for one in verdicts if one.kind in (NEW, CHANGED) and one.product_id}
    _take_off_empty(touched)
    refresh_products(product_ids=sorted(touched))


def _store_of(key: str) -> str:
    return "warehouse" if key == "on_hand" else key.partition("@")[2]


def _change_prices(verdicts: Sequence[Verdict]) -> None:
    """What the shop pays for them, and what tiers pay."""
    costs: dict[int, int | None] = {}
    tiers: dict[tuple[int, str], int | None] = {}
    for one in verdicts:
        assert one.current is not None, "new ones are made by now"
        for name, fen in one.changes.items():
            if name == "cost_fen":
                costs[one.current["id"]] = fen
            elif name.startswith("tier@"):
                tiers[one.current["id"], name.partition("@")[2][:40]] = fen
    CostPrice.objects.filter(sku__in=[pk for pk, fen in costs.items() if fen is None]).delete()
    CostPrice.objects.bulk_create(
        [CostPrice(sku_id=pk, cost_fen=fen) for pk, fen in sorted(costs.items()) if fen is not None],
        update_conflicts=True,
        unique_fields=["sku"],
        update_fields=["cost_fen"],
    )
    for tier in {tier for (_pk, tier), fen in tiers.items() if fen is None}:
        gone = [pk for (pk, word), fen in tiers.items() if word == tier and fen is None]
        MemberPrice.objects.filter(tier=tier, sku__in=gone).delete()
    MemberPrice.objects.bulk_create(
        [
            MemberPrice(sku_id=pk, tier=tier, price_fen=fen)
            for (pk, tier), fen in sorted(tiers.items())
            if fen is not None
        ],
        update_conflicts=True,
        unique_fields=["sku", "tier"],
        update_fields=["price_fen"],
    )


def _make(fresh: Sequence[Verdict], judge: Judge) -> None:
    """New products first, each once, then the SKUs."""
    moment = clock.now()
    products: dict[str, Product] = {}
    for one in fresh:
        if one.product_id is None:
            values = one.changes
            key = values.get("product_code") or f"\0{values['product_name']}"
            if key not in products and "product_name" in values:
                products[key] = Product(
                    **{_FIELDS[name]: values[name] for name in _FIELDS if name in values},
                    created_at=moment,
                    updated_at=moment,
                )
    Product.objects.bulk_create(products.values())
    for one in fresh:
        if one.product_id is None:
            key = one.changes.get("product_code") or f"\0{one.changes['product_name']}"
            one.product_id = products[key].pk
    ids = {one.product_id for one in fresh if one.product_id}
    places = dict(
        Sku.objects.filter(product_id__in=ids).values_list("product_id").annotate(Count("pk")).order_by()
    )
    skus = []
    for one in fresh:
        assert one.product_id is not None, "made above"
        place = places.get(one.product_id, 0)
        places[one.product_id] = place + 1
        values = {name: one.changes[name] for name in _SKU_COLUMNS if name in one.changes}
        if "spec" in values:
            values["name"] = " ".join(values["spec"].values())[:80]
        skus.append(Sku(product_id=one.product_id, code=one.wish.sku_code, position=place, **values))
    Sku.objects.bulk_create(skus)
    for one, sku in zip(fresh, skus, strict=True):
        one.current = {"id": sku.pk}


def _change_skus(changed: Sequence[Verdict]) -> None:
    columns: list[list[Any]] = [[] for _column in range(7)]
    for one in changed:
        assert one.current is not None, "a changed row has its SKU"
        new = {name: one.changes.get(name, one.current[name]) for name in _SKU_COLUMNS}
        spec = one.changes.get("spec")
        name = " ".join(spec.values())[:80] if spec else None
        row = (one.current["id"], new["price_fen"], new["list_price_fen"], new["weight_grams"], new["is_active"],
               json.dumps(new["spec"], ensure_ascii=False), name)  # fmt: skip
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    if not columns[0]:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE shop_sku s SET price_fen = w.price, list_price_fen = w.was, weight_grams = w.weight,
                is_active = w.active, spec = w.spec::jsonb, name = coalesce(w.name, s.name)
            FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::int[], %s::bool[], %s::text[], %s::text[])
                 AS w(id, price, was, weight, active, spec, name)
            WHERE s.id = w.id
            """,
            columns,
        )


def _change_products(verdicts: Sequence[Verdict], judge: Judge) -> None:
    """What the rows say of their products: rows of one product agree, so each column is written once."""
    wanted: dict[int, dict[str, Any]] = {}
    for one in verdicts:
        said = {name: one.changes[name] for name in PRODUCT_COLUMNS if name in one.changes}
        if said and one.product_id:
            wanted.setdefault(one.product_id, {}).update(said)
    moment = clock.now()
    products = Product.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    for product in products.defer("search", "detail"):
        said = wanted[product.pk]
        new = {_FIELDS[name]: said[name] for name in _FIELDS if name in said}
        if "category" in said:
            new["category_id"] = judge.categories[said["category"]]
        if "brand" in said:
            new["brand_id"] = judge.brands[said["brand"]]
        different = {name: value for name, value in new.items() if getattr(product, name) != value}
        if different:
            Product.objects.filter(pk=product.pk).update(**different, updated_at=moment)


def _take_off_empty(touched: Iterable[int | None]) -> None:
    """A product whose last SKU was switched off leaves the shelf."""
    for_sale = Sku.objects.filter(product=OuterRef("pk"), is_active=True)
    on_sale = Product.objects.filter(pk__in=list(touched), status=Product.ON_SALE)
    empty = list(on_sale.exclude(Exists(for_sale)).values_list("pk", flat=True))
    if empty:
        set_products_status(product_ids=empty, status=Product.OFF)
