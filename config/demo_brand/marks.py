"""What the demo's goods have in common beside brand and material: scent and season. Lists are narrowed down by them."""

from config.demo_brand.catalogue import ITEMS, Item
from shop.models import Attribute, AttributeValue, Product

# value → words of an item's name or facts that mean it
SCENTS = {
    "花香": ["睡莲", "桂", "玫瑰", "栀子", "铃兰", "茉莉"],
    "木质": ["雪松", "檀", "乌木", "香根草"],
    "绿叶": ["叶", "竹", "无花果", "苔"],
    "柑橘": ["柠", "佛手柑", "葡萄柚", "橙", "柑橘"],
    "东方": ["琥珀", "没药", "安息香"],
}
SEASONS = {
    "春": ["雾", "茶", "轻风衣"],
    "夏": ["海盐", "亚麻", "短袖", "栀子"],
    "秋": ["桂", "银杏", "风衣"],
    "冬": ["羊绒", "羽绒", "初雪", "琥珀", "大衣"],
}
MARKS = {"香调": SCENTS, "季节": SEASONS}


def put_marks(products: dict[str, Product]) -> None:
    """Give each product (by its name) its values."""
    values = _values()
    for item in ITEMS:
        if product := products.get(item.name):
            product.values.add(*(value for name, value in values.items() if _has(item, *name)))


def _values() -> dict[tuple[str, str], AttributeValue]:
    made = {}
    for place, (name, values) in enumerate(MARKS.items(), 10):
        attribute, _created = Attribute.objects.get_or_create(name=name, defaults={"position": place})
        for position, value in enumerate(values):
            made[(name, value)], _created = AttributeValue.objects.get_or_create(
                attribute=attribute, name=value, defaults={"position": position}
            )
    return made


def _has(item: Item, attribute: str, value: str) -> bool:
    if attribute == "香调":
        smells = item.category in ("香水", "居家香氛")
        return smells and any(word in item.name + "".join(item.facts.values()) for word in SCENTS[value])
    return any(word in item.name for word in SEASONS[value])
