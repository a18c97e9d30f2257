"""Reads a pasted Chinese address: who, phone, province, city, district, street. Pure: no Django, no clock.

People paste what a friend sent in a chat, in any order and with any separators, with or without labels, names glued to
the phone. Nothing here decides: the form shows what was understood, the shopper corrects and saves.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from shop.address_parsing_regions import (
    CITIES,
    DOUBLE_SURNAMES,
    MUNICIPALITIES,
    SINGLE_SURNAMES,
    SPECIAL_REGIONS,
)

MAX_TEXT = 500

_LABELS = {
    "receiver": "收货人姓名|收件人姓名|收货人|收件人|联系人|姓名|收货方",
    "phone": "收货人电话|收件人电话|联系电话|联系方式|手机号码|手机号|电话号码|手机|电话",
    "region": "所在地区|收货地区|所在区域|省市区|地区",
    "street": "详细地址|收货地址|收件地址|街道地址|地址",
    "postal_code": "邮政编码|邮编",
}
_LABEL = re.compile(
    "(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _LABELS.items()) + r")\s*[:：]\s*"
)
_MOBILE = re.compile(
    r"(?<![\d-])(?:\+?86[-\s]?)?(1[3-9]\d[-\s]?\d{4}[-\s]?\d{4})(?:\s*(?:转|-)\s*(\d{2,6}))?(?!\d)"
)
_LANDLINE = re.compile(r"(?<![\d-])(0\d{2,3}[-\s]?\d{7,8})(?!\d)")
_POSTCODE = re.compile(r"(?<!\d)([1-8]\d{5})(?!\d)")
_SEPARATORS = re.compile(r"[\n\r,，;；|、\t/。]+|\s+")
_SPACE = re.compile(r"[\s,，;；|、.。:：-]*")
# Words that make a token a place and not a name.
_PLACE = re.compile(
    r"[省市区县镇乡村路街道巷弄号楼层室栋幢座组队屯庄园苑城厦院厂店铺校馆站\d]|花园|广场|公寓|大学|公司|中心|驿站|门口|胡同"
)
_NEVER_NAMES = frozenset(
    {"单元", "广场", "花园", "公寓", "公司", "大学", "中心", "包裹", "万达", "万科", "保利", "家里"}
)
_DISTRICT = re.compile(
    r"([\u4e00-\u9fff]{1,12}?(?:自治县|自治旗|开发区|高新区|新区|林区|特区|区|县|市)|"
    r"[\u4e00-\u9fff]{1,6}?(?:左|右|中|前|后|联合|[\u4e00-\u9fff])旗)"
)
_NOT_DISTRICT = re.compile(r"[路街道号镇乡村弄巷苑园楼栋座厦场]|(?:小|社|校|园|厂|景|库|院)区$")
_END_NAME = re.compile(r"(?<=[\d号室楼层座栋幢户房元店弄院苑园])\s*([\u4e00-\u9fff·]{2,4})$")
_CHINESE_NAME = re.compile(r"[\u4e00-\u9fff·]{2,12}")
_TITLES = re.compile(r"(?:先生|女士|小姐|同学|老师|阿姨|叔叔)$")
# What people write around an address, and labels without a colon.
_CHATTER = re.compile(
    r"(?:麻烦|请|帮忙)?(?:寄到|寄给|发到|送到)?[:：]?|.{0,4}地址是?|(?:联系)?电话|手机号?|谢谢.{0,3}|(?:你|您)好.?|亲"
)
_LATIN = re.compile(r"[A-Za-z][A-Za-z .'-]*")
_RECEIVES = re.compile(r"[\(（]?\s*(?:收|代收|签收)\s*[\)）]?$")


@dataclass(frozen=True)
class ParsedAddress:
    """What was understood; an empty field was not found."""

    receiver: str = ""
    phone: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    street: str = ""
    postal_code: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.phone or self.province or self.street)


@dataclass(frozen=True)
class _Region:
    province: str
    city: str
    district: str
    start: int
    end: int


def parse_address(text: str) -> ParsedAddress:
    """Every field that can be told from the text, in any of the usual orders."""
    rest = _clean(text)
    rest, labelled = _labelled(rest)
    phone, rest = _take_phone(labelled.get("phone", ""), rest)
    postal_code, rest = _take_postcode(labelled.get("postal_code", ""), rest)
    receiver = _named(labelled.get("receiver", ""))
    region = _find_region(rest)
    if region is None:
        before, after = ("", rest) if receiver else _split_plain(rest)
        province = city = district = ""
    else:
        before, after = rest[: region.start], rest[region.end :]
        province, city, district = region.province, region.city, region.district
    before_parts, after_parts = _parts(before), _parts(after)
    if not receiver:
        receiver = _pick_name(before_parts, after_parts)
    if not receiver and after_parts:
        receiver, after_parts[-1] = _name_at_end(after_parts[-1])
    leftover = [part for part in before_parts if _PLACE.search(part)]
    street = _joined([*leftover, *after_parts])
    return ParsedAddress(
        receiver=receiver[:40],
        phone=phone,
        province=province,
        city=city,
        district=district,
        street=street[:200],
        postal_code=postal_code,
    )


def _clean(text: str) -> str:
    """Full-width letters and digits become plain ones; emoji and control signs become spaces."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT])
    kept = (
        char if char in "\n\r\t+|" or unicodedata.category(char)[0] not in "CSM" else " " for char in plain
    )
    return re.sub(r"[\[\]【】「」<>《》\"“”']", " ", "".join(kept)).strip()


def _labelled(text: str) -> tuple[str, dict[str, str]]:
    """Values behind labels ("收货人: …"). What is a place stays in the text, in its order; the rest is taken out."""
    marks = list(_LABEL.finditer(text))
    if not marks:
        return text, {}
    values: dict[str, str] = {}
    kept = [text[: marks[0].start()]]
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        value = text[mark.end() : following.start() if following else len(text)].strip(" ,，;；\n\r\t")
        name = str(mark.lastgroup)
        if name in ("region", "street"):
            kept.append(value)
            continue
        first, *more = re.split(r"[\n\r,，;；]+|\s{2,}", value, maxsplit=1)
        values[name] = first.strip()
        kept.extend(more)
    return "\n".join(part for part in kept if part.strip()), values


def _take_phone(labelled: str, text: str) -> tuple[str, str]:
    """The phone and the text without it. A virtual number keeps its extension in the text of the street: couriers
    read it there, as the field takes digits only.
    """
    for source in (labelled, text):
        for pattern in (_MOBILE, _LANDLINE):
            found = pattern.search(source)
            if found is None:
                continue
            digits = re.sub(r"[-\s]", "", found[1])
            extension = found[2] if pattern is _MOBILE and found[2] else ""
            if source is text:
                text = f"{text[: found.start()]}\n{text[found.end() :]}"
            if extension:
                text = f"{text}\n转{extension}"
            return digits, text
    return "", text


def _take_postcode(labelled: str, text: str) -> tuple[str, str]:
    if re.fullmatch(r"\d{6}", labelled):
        return labelled, text
    for found in _POSTCODE.finditer(text):
        around = text[found.end() : found.end() + 1], text[max(found.start() - 1, 0) : found.start()]
        # Six digits standing alone; "310000号" or "A310012" are part of a street.
        if around[0] in ("", " ", "\n", ",", "，") and around[1] in ("", " ", "\n", ",", "，"):
            return found[1], f"{text[: found.start()]}\n{text[found.end() :]}"
    return "", text


@cache
def _provinces() -> list[tuple[str, str]]:
    """(as written, full name), longest first."""
    written = []
    for full in CITIES:
        short = re.sub(r"(?:省|市|自治区|特别行政区|壮族自治区|回族自治区|维吾尔自治区)$", "", full)
        short = re.sub(r"(?:壮族|回族|维吾尔)$", "", short)
        written += [
            (full, full),
            (short + "省", full),
            (short + "市", full),
            (short + "自治区", full),
            (short, full),
        ]
    return sorted(set(written), key=lambda pair: -len(pair[0]))


@cache
def _cities() -> list[tuple[str, str, str]]:
    """(as written, full name, province), longest first. Autonomous prefectures are also known by their first word."""
    written = []
    for province, names in CITIES.items():
        for name in names.split():
            has_ending = re.search(r"(?:自治州|地区|盟|区|县)$", name) is not None
            full = name if has_ending else f"{name}市"
            written.append((full, full, province))
            if not has_ending:
                written.append((name, full, province))
            elif name.endswith("州"):
                short = re.match(r"(西双版纳|博尔塔拉|巴音郭楞|黔西南|黔东南|[\u4e00-\u9fff]{2})", name)
                if short:
                    written += [(f"{short[1]}州", full, province), (f"{short[1]}自治州", full, province)]
    return sorted(written, key=lambda entry: -len(entry[0]))


@cache
def _any_place() -> re.Pattern[str]:
    written = {written for written, *_rest in (*_provinces(), *_cities())}
    return re.compile(f"(?={'|'.join(sorted(written, key=len, reverse=True))})")


def _find_region(text: str) -> _Region | None:
    """Where the address begins: a province, or a city that says which province."""
    starts = sorted(
        {
            0,
            *(match.end() for match in _SEPARATORS.finditer(text)),
            *(match.start() for match in _any_place().finditer(text)),
        }
    )
    best: tuple[int, _Region] | None = None
    for start in starts:
        region = _region_at(text, start)
        if region is None:
            continue
        score = 4 * bool(region.province) + 2 * bool(region.city) + bool(region.district)
        written = text[region.start : region.end]
        score += 3 * bool(re.search(r"[省市]|自治区|特别行政区", written))
        # A street named after a city ("北京西路") is no region.
        if re.match(r"[东南西北中]?[一二三四五]?(?:路|街|道|巷|大道)", text[region.end :]) and not re.search(
            r"[省市区县]", written
        ):
            continue
        if best is None or score > best[0]:
            best = (score, region)
    return best[1] if best else None


def _region_at(text: str, start: int) -> _Region | None:
    position = start
    province = city = district = ""
    for written, full in _provinces():
        if text.startswith(written, position) and not _is_city_instead(text, position, written, full):
            province = full
            position = _past(text, position + len(written))
            break
    found = _city_at(text, position, province)
    if found is not None:
        city, inferred, position = found
        province = province or inferred
    if not province:
        return None
    if province in MUNICIPALITIES or province in SPECIAL_REGIONS:
        position, city = _municipal_city(text, position, province)
    elif not city:
        # Not in the table: a county-level city after the province stands where the city stands.
        unknown = re.match(r"[\u4e00-\u9fff]{2,8}?(?:自治州|地区|盟|市)", text[position:])
        if unknown and not _NOT_DISTRICT.search(unknown[0][:-1]):
            city, position = unknown[0], _past(text, position + unknown.end())
    position, district = _district_at(text, position)
    return _Region(province, city, district, start, position)


def _is_city_instead(text: str, position: int, written: str, full: str) -> bool:
    """吉林市 is the city, 吉林 and 吉林省 the province; 海南藏族自治州 is not the island."""
    after = text[position + len(written) :]
    if full == "吉林省" and written.endswith("市"):
        return True
    return full == "海南省" and after.startswith("藏族")


def _city_at(text: str, position: int, province: str) -> tuple[str, str, int] | None:
    for written, full, of_province in _cities():
        if province and of_province != province:
            continue
        if not text.startswith(written, position):
            continue
        after = text[position + len(written) :]
        if (
            full.endswith("市")
            and not written.endswith("市")
            and re.match(r"路|街(?!道)|大道|巷|[东南西北中]路", after)
        ):
            continue
        return full, of_province, _past(text, position + len(written))
    return None


def _municipal_city(text: str, position: int, province: str) -> tuple[int, str]:
    short = province[:2]
    for written in (province, "市辖区", "县", f"{short}城区"):
        if text.startswith(written, position) and written != "县":
            position = _past(text, position + len(written))
    return position, province


def _district_at(text: str, position: int) -> tuple[int, str]:
    found = _DISTRICT.match(text, position)
    if found is not None:
        name = found[0]
        # 鼓楼区 and 苏州's 工业园区 are districts; what is longer and has a street or house in it is not.
        is_short = len(name) <= 3 and not name.endswith(("小区", "社区", "校区", "园区"))
        if is_short or name == "工业园区" or not _NOT_DISTRICT.search(name):
            return _past(text, found.end()), name
    # Cities without districts (东莞, 中山, 儋州) go on with a town or street: that stays in the street.
    return position, ""


def _past(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _split_plain(text: str) -> tuple[str, str]:
    """Without any region: names before the first token that is a place."""
    parts = _parts(text)
    for number, part in enumerate(parts):
        if _PLACE.search(part):
            return " ".join(parts[:number]), "\n".join(parts[number:])
    return text, ""


def _parts(text: str) -> list[str]:
    parts: list[str] = []
    for part in (piece.strip(" :：-()（）") for piece in _SEPARATORS.split(text)):
        if not part.strip(".收!") or _CHATTER.fullmatch(part):
            continue
        if parts and _LATIN.fullmatch(part) and _LATIN.fullmatch(parts[-1]):  # Tom Lee
            parts[-1] += f" {part}"
        else:
            parts.append(part)
    return parts


def _named(text: str) -> str:
    return _RECEIVES.sub("", " ".join(text.split())).strip(" ,，:：")


def _is_name(part: str) -> bool:
    bare = _TITLES.sub("", _named(part))
    if not bare or bare in _NEVER_NAMES or re.search(r"\d", bare):
        return False
    if _CHINESE_NAME.fullmatch(bare):
        if "·" in bare:
            return True
        if bare[:2] in DOUBLE_SURNAMES and len(bare) in (2, 3, 4):
            return True
        has_surname = bare[0] in SINGLE_SURNAMES
        limit = 3 if has_surname else 0
        if bare != part and has_surname:  # 李女士, 王某某 收
            return len(bare) <= 3
        return 2 <= len(bare) <= limit and not _PLACE.search(bare[1:])
    return bool(re.fullmatch(r"[A-Za-z][A-Za-z .'-]{1,30}", bare))


def _pick_name(before: list[str], after: list[str]) -> str:
    """Take the name out of the tokens around the region: surely a name first, then whatever is no place."""
    for parts in (before, after):
        order = range(len(parts)) if parts is before else range(len(parts) - 1, 0, -1)
        for number in order:
            if _is_name(parts[number]):
                return _named(parts.pop(number))
    for parts, order in ((before, range(len(before))), (after, range(len(after) - 1, 0, -1))):
        for number in order:
            bare = _named(parts[number])
            if not _PLACE.search(bare) and 1 < len(bare) <= 12 and bare not in _NEVER_NAMES:
                parts.pop(number)
                return bare
    return ""


def _name_at_end(part: str) -> tuple[str, str]:
    """A name glued to the end of the street: "…3幢502室王小明(收)"."""
    bare = _RECEIVES.sub("", part).rstrip(" (（")
    found = _END_NAME.search(bare)
    if found and _is_name(found[1]):
        return found[1], bare[: found.start()]
    return "", part


def _joined(parts: list[str]) -> str:
    """Pieces of a street put together: Chinese without spaces, Latin words and numbers kept apart."""
    street = ""
    for part in parts:
        needs_space = (
            street[-1:].isascii() and part[:1].isascii() and street[-1:].strip() and part[:1].strip()
        )
        street += f" {part}" if needs_space else part
    return street.strip(" ,，.。-")
