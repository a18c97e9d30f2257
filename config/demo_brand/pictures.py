"""Product pictures, drawn: one studio, one light from the left, soft colours. The same input gives the same bytes."""

import io
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

SIZE = 800
SMALL = 200  # soft things are worked out at this size
FINE = 2  # shapes are drawn this much larger, for smooth edges
LARGEST_BYTES = 60_000

Colour = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

# wall above, wall below, thing light, thing dark, accent
TONES: dict[str, tuple[Colour, Colour, Colour, Colour, Colour]] = {
    "mist": ((226, 234, 240), (196, 210, 221), (190, 208, 224), (104, 134, 163), (245, 248, 250)),
    "amber": ((250, 240, 222), (238, 216, 178), (238, 196, 118), (190, 128, 46), (255, 248, 232)),
    "tea": ((234, 239, 228), (207, 217, 194), (190, 204, 166), (112, 132, 88), (249, 251, 244)),
    "wood": ((239, 231, 222), (217, 201, 184), (196, 164, 130), (118, 86, 58), (250, 246, 240)),
    "leaf": ((228, 238, 229), (194, 216, 197), (140, 180, 146), (54, 104, 74), (246, 251, 246)),
    "rose": ((246, 233, 232), (230, 205, 204), (222, 176, 176), (160, 104, 110), (253, 247, 246)),
    "sea": ((224, 237, 241), (184, 211, 221), (130, 176, 198), (40, 88, 124), (245, 250, 252)),
    "milk": ((241, 238, 232), (219, 213, 203), (250, 247, 240), (206, 198, 184), (252, 250, 245)),
    "gold": ((244, 237, 224), (224, 209, 182), (204, 160, 102), (126, 82, 44), (252, 247, 238)),
    "snow": ((236, 240, 244), (208, 216, 225), (250, 252, 254), (176, 188, 204), (250, 252, 254)),
    "ink": ((232, 232, 234), (202, 203, 207), (92, 96, 106), (34, 36, 44), (236, 237, 240)),
}


def picture(*, shape: str, tone: str, label: str, seed: str, angle: int = 0) -> bytes:
    """A WebP of 800 × 800 pixels, under 60 kB. `angle` 1 is a second view: closer and from the other side."""
    chance = random.Random(f"{seed}:{angle}")
    top, bottom, light, dark, accent = TONES[tone]
    mask, details, label_box = SHAPES[shape](chance)
    if angle:
        mask, details = _closer(mask), _closer(details)
        label_box = None if label_box is None else _closer_box(label_box)
    scene = _full(_studio(_gradient(top, bottom), mask, accent, chance))
    body = Image.blend(_gradient(light, dark, sideways=True), _gradient(light, dark), 0.35)
    scene.paste(_full(body), (0, 0), mask)
    _shine(scene, mask, accent)
    scene.paste(_mix(dark, (20, 20, 24), 0.35), (0, 0, SIZE, SIZE), details)
    if label and label_box:
        _label(scene, label, label_box, dark, accent)
    elif angle:
        scene = scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _encoded(scene)


def _encoded(scene: Image.Image) -> bytes:
    for quality in (84, 70, 55, 40):
        out = io.BytesIO()
        scene.save(out, "WEBP", quality=quality, method=0)
        if out.tell() < LARGEST_BYTES:
            break
    return out.getvalue()


def _mix(one: Colour, two: Colour, share: float) -> Colour:
    return (
        round(one[0] + (two[0] - one[0]) * share),
        round(one[1] + (two[1] - one[1]) * share),
        round(one[2] + (two[2] - one[2]) * share),
    )


def _gradient(begin: Colour, end: Colour, *, sideways: bool = False) -> Image.Image:
    """Soft things are worked out small and made large at the end."""
    ramp = Image.linear_gradient("L").resize((SMALL, SMALL))
    ramp = ramp.rotate(90) if sideways else ramp
    return Image.composite(Image.new("RGB", ramp.size, end), Image.new("RGB", ramp.size, begin), ramp)


def _full(image: Image.Image) -> Image.Image:
    return image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def _studio(wall: Image.Image, mask: Image.Image, accent: Colour, chance: random.Random) -> Image.Image:
    """A disc of light on the wall, a floor, a few out-of-focus leaves, and the thing's shadow to its right."""

    def lay(
        colour: Colour, softness: float, draw: Callable[[ImageDraw.ImageDraw], None], turn: int = 0
    ) -> None:
        sheet = Image.new("L", wall.size, 0)
        draw(ImageDraw.Draw(sheet))
        sheet = sheet.rotate(turn) if turn else sheet
        wall.paste(colour, (0, 0, SMALL, SMALL), sheet.filter(ImageFilter.GaussianBlur(softness)))

    x, y, r = chance.randint(60, 110), chance.randint(60, 90), chance.randint(55, 72)
    lay(accent, 9, lambda pen: pen.ellipse((x - r, y - r, x + r, y + r), fill=150))
    lay(accent, 2, lambda pen: pen.rectangle((0, 158, SMALL, SMALL), fill=46))

    def leaves(pen: ImageDraw.ImageDraw) -> None:
        for _ in range(3):
            x, y, r = chance.choice((-12, 212)), chance.randint(0, 90), chance.randint(20, 44)
            pen.ellipse((x - r, y - r * 0.45, x + r, y + r * 0.45), fill=52)

    lay((60, 84, 72), 4, leaves, turn=chance.randint(-30, 30))
    left, _top, right, bottom = mask.getbbox() or (0, 0, SIZE, SIZE)
    box = ((left + 6) / 4, (bottom - 26) / 4, (right + 70) / 4, (bottom + 22) / 4)
    lay((46, 48, 54), 5, lambda pen: pen.ellipse(box, fill=105))
    return wall


def _shine(scene: Image.Image, mask: Image.Image, accent: Colour) -> None:
    """Light along the left edge, dark along the right one."""
    small = mask.reduce(4)
    for shift, softness, strength, colour in ((4, 2, 150, accent), (-5, 2.5, 90, (24, 24, 30))):
        edge = ImageChops.subtract(small, ImageChops.offset(small, shift, 1)).filter(
            ImageFilter.GaussianBlur(softness)
        )
        edge = edge.point([value * strength // 255 for value in range(256)]).resize(
            scene.size, Image.Resampling.BICUBIC
        )
        scene.paste(colour, (0, 0, SIZE, SIZE), ImageChops.multiply(edge, mask))


def _closer(image: Image.Image) -> Image.Image:
    return image.resize((1080, 1080), Image.Resampling.BILINEAR).crop((140, 190, 140 + SIZE, 190 + SIZE))


def _closer_box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (value * 1080 // SIZE for value in box)
    return left - 140, top - 190, right - 140, bottom - 190


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    spec = find_spec("pylopdf_fonts_zh_cn")
    assert spec is not None, "the font package is a requirement"
    assert spec.origin is not None, "the font package is a folder"
    path = next(Path(spec.origin).parent.rglob("*.[ot]tf"))
    return ImageFont.truetype(str(path), size)


def _label(
    scene: Image.Image, text: str, box: tuple[int, int, int, int], dark: Colour, accent: Colour
) -> None:
    """A paper label: the name of the scent, and the brand below."""
    left, top, right, bottom = box
    pen = ImageDraw.Draw(scene)
    pen.rectangle(box, fill=_mix(accent, (255, 255, 255), 0.45))
    pen.rectangle((left + 6, top + 6, right - 6, bottom - 6), outline=_mix(dark, (255, 255, 255), 0.25))
    width, height = right - left, bottom - top
    size = min(height * 2 // 5, (width - 28) // max(len(text), 1))
    middle = (left + right) // 2
    ink = _mix(dark, (0, 0, 0), 0.45)
    pen.text((middle, top + height * 42 // 100), text, font=_font(size), fill=ink, anchor="mm")
    pen.text(
        (middle, bottom - height // 5), "POND 池塘", font=_font(max(size // 3, 12)), fill=ink, anchor="mm"
    )


# Shapes: each returns the mask of the thing, the mask of its dark details, and where its label goes.

Shape = tuple[Image.Image, Image.Image, "tuple[int, int, int, int] | None"]


class _Sheet:
    """Two fine masks to draw on, in the picture's own coordinates."""

    def __init__(self) -> None:
        size = (SIZE * FINE, SIZE * FINE)
        self.mask, self.details = Image.new("L", size, 0), Image.new("L", size, 0)
        self._mask, self._details = ImageDraw.Draw(self.mask), ImageDraw.Draw(self.details)

    def polygon(self, points: Points, *, dark: bool = False, fill: int = 255) -> None:
        pen = self._details if dark else self._mask
        pen.polygon([(x * FINE, y * FINE) for x, y in points], fill=fill)

    def box(
        self,
        left: float,
        top: float,
        right: float,
        bottom: float,
        *,
        radius: float = 0,
        dark: bool = False,
        fill: int = 255,
    ) -> None:
        pen = self._details if dark else self._mask
        pen.rounded_rectangle(
            (left * FINE, top * FINE, right * FINE, bottom * FINE), radius=radius * FINE, fill=fill
        )

    def ellipse(
        self, left: float, top: float, right: float, bottom: float, *, dark: bool = False, fill: int = 255
    ) -> None:
        pen = self._details if dark else self._mask
        pen.ellipse((left * FINE, top * FINE, right * FINE, bottom * FINE), fill=fill)

    def line(self, points: Points, *, width: float = 3, fill: int = 110, dark: bool = True) -> None:
        pen = self._details if dark else self._mask
        pen.line([(x * FINE, y * FINE) for x, y in points], fill=fill, width=int(width * FINE), joint="curve")

    def done(self, label: tuple[int, int, int, int] | None = None) -> Shape:
        return self.mask.reduce(FINE), self.details.reduce(FINE), label


def _square(chance: random.Random) -> Shape:
    sheet = _Sheet()
    half = chance.randint(128, 150)
    sheet.box(400 - half, 320, 400 + half, 690, radius=22)
    sheet.box(352, 268, 448, 330, radius=6)
    sheet.box(338, 176, 462, 282, radius=8, dark=True)
    return sheet.done((400 - half + 40, 440, 400 + half - 40, 600))


def _round(chance: random.Random) -> Shape:
    sheet = _Sheet()
    r = chance.randint(168, 184)
    sheet.ellipse(400 - r, 690 - 2 * r, 400 + r, 690)
    sheet.box(400 - r * 0.55, 672, 400 + r * 0.55, 692, radius=6)
    sheet.box(360, 690 - 2 * r - 34, 440, 690 - 2 * r + 16, radius=4)
    sheet.ellipse(336, 690 - 2 * r - 138, 464, 690 - 2 * r - 20, dark=True)
    middle = 690 - r
    return sheet.done((300, middle - 66, 500, middle + 74))


def _tall(chance: random.Random) -> Shape:
    sheet = _Sheet()
    half = chance.randint(88, 102)
    sheet.box(400 - half, 292, 400 + half, 692, radius=14)
    sheet.box(366, 250, 434, 300, radius=4)
    sheet.box(400 - half + 14, 138, 400 + half - 14, 262, radius=6, dark=True)
    return sheet.done((400 - half + 22, 420, 400 + half - 22, 590))


def _facet(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.polygon(
        [(300, 330), (500, 330), (560, 420), (560, 620), (500, 692), (300, 692), (240, 620), (240, 420)]
    )
    sheet.box(358, 282, 442, 336, radius=4)
    sheet.polygon([(340, 180), (460, 180), (476, 282), (324, 282)], dark=True)
    for x in (300, 500):
        sheet.line([(x, 332), (x, 690)], width=2, fill=46)
    return sheet.done((316, 430, 484, 590))


def _drop(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.ellipse(240, 384, 560, 694)
    sheet.polygon([(262, 470), (372, 300), (428, 300), (538, 470)])
    sheet.box(366, 262, 434, 312, radius=4)
    sheet.polygon([(400, 128), (446, 262), (354, 262)], dark=True)
    return sheet.done((312, 480, 488, 622))


def _candle(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.box(262, 366, 538, 692, radius=26)
    sheet.ellipse(262, 336, 538, 400)
    sheet.ellipse(286, 350, 514, 388, dark=True, fill=64)
    sheet.line([(400, 372), (400, 332)], width=4, fill=220)
    sheet.polygon([(400, 246), (424, 306), (412, 334), (388, 334), (376, 306)], fill=225)
    return sheet.done((316, 462, 484, 612))


def _diffuser(chance: random.Random) -> Shape:
    sheet = _Sheet()
    for index in range(7):
        lean = (index - 3) * chance.uniform(26, 34)
        sheet.line([(400 + lean * 0.12, 430), (400 + lean, 132 + abs(lean) * 0.4)], width=6, fill=235)
    sheet.box(276, 452, 524, 692, radius=30)
    sheet.box(346, 396, 454, 470, radius=10)
    sheet.box(338, 392, 462, 420, radius=6, dark=True)
    return sheet.done((322, 520, 478, 640))


def _spray(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.box(304, 330, 496, 692, radius=34)
    sheet.box(362, 262, 438, 340, radius=6)
    sheet.box(338, 190, 462, 270, radius=12, dark=True)
    sheet.box(300, 206, 344, 236, radius=6, dark=True)
    return sheet.done((326, 440, 474, 600))


def _pump(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.box(280, 352, 520, 692, radius=24)
    sheet.box(366, 300, 434, 360, radius=4)
    sheet.box(384, 214, 416, 304, dark=True)
    sheet.box(286, 186, 432, 222, radius=12, dark=True)
    return sheet.done((316, 440, 484, 604))


def _tube(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.polygon([(282, 168), (518, 168), (492, 606), (308, 606)])
    sheet.box(278, 156, 522, 186, radius=4)
    sheet.box(318, 604, 482, 692, radius=10, dark=True)
    return sheet.done((328, 320, 472, 470))


def _tin(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.ellipse(214, 420, 586, 692)
    sheet.ellipse(214, 390, 586, 640)
    sheet.line(
        [(216, 530), (240, 588), (320, 632), (400, 642), (480, 632), (560, 588), (584, 530)], width=3, fill=80
    )
    return sheet.done((306, 452, 494, 578))


def _soap(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.polygon([(212, 480), (500, 426), (592, 500), (592, 612), (306, 690), (212, 596)])
    sheet.line([(212, 486), (306, 566), (592, 504)], width=3, fill=60)
    sheet.line([(306, 566), (306, 688)], width=3, fill=60)
    return sheet.done()


def _box(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.polygon([(268, 300), (494, 262), (548, 306), (548, 664), (330, 692), (268, 640)])
    sheet.line([(268, 304), (330, 344), (548, 308)], width=3, fill=70)
    sheet.line([(330, 344), (330, 690)], width=3, fill=70)
    return sheet.done((356, 420, 524, 580))


def _dish(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.ellipse(196, 520, 604, 692)
    sheet.ellipse(232, 536, 568, 660, dark=True, fill=36)
    sheet.line([(400, 600), (430, 250)], width=6, fill=225)
    for index in range(4):
        sheet.line(
            [(430 + index * 2, 244 - index * 26), (424 - index * 5, 222 - index * 26)],
            width=3,
            fill=30 - index * 6,
        )
    return sheet.done()


def _scarf(chance: random.Random) -> Shape:
    """A square folded once and laid on the floor, with its border and a few waves."""
    sheet = _Sheet()
    sheet.polygon([(400, 190), (622, 420), (404, 690), (178, 452)])
    for inset, fill in ((26, 90), (40, 40)):
        outline = [
            (400, 190 + inset),
            (622 - inset, 421),
            (404, 690 - inset),
            (178 + inset, 451),
            (400, 190 + inset),
        ]
        sheet.line(outline, width=4, fill=fill)
    for index in range(6):
        y = 350 + index * 40
        reach = 150 - abs(index - 2.5) * 34
        wave = [(400 - reach + step * reach / 6, y + (9 if step % 2 else -9)) for step in range(13)]
        sheet.line(wave, width=3, fill=70)
    sheet.polygon([(404, 690), (500, 572), (560, 640), (470, 704)])
    sheet.line([(404, 690), (500, 572)], width=3, fill=90)
    return sheet.done()


def _bag(chance: random.Random) -> Shape:
    sheet = _Sheet()
    sheet.line([(312, 360), (322, 214), (400, 172), (478, 214), (488, 360)], width=16, fill=255, dark=False)
    sheet.polygon([(226, 346), (574, 346), (604, 692), (196, 692)])
    sheet.line([(230, 386), (570, 386)], width=3, fill=70)
    return sheet.done((330, 480, 470, 590))


def _garment(points: Points, seams: list[Points], buttons: list[tuple[float, float]]) -> Shape:
    sheet = _Sheet()
    sheet.line([(400, 96), (400, 128), (430, 146)], width=5, fill=170)
    sheet.line([(262, 196), (400, 138), (538, 196)], width=7, fill=170)
    sheet.polygon(points)
    for seam in seams:
        sheet.line(seam, width=3, fill=62)
    for x, y in buttons:
        sheet.ellipse(x - 5, y - 5, x + 5, y + 5, dark=True, fill=150)
    return sheet.done()


def _mirrored(half: Points) -> Points:
    return [*half, *[(800 - x, y) for x, y in reversed(half)]]


def _dress(chance: random.Random) -> Shape:
    hem = chance.randint(196, 216)
    outline = _mirrored([(372, 186), (316, 166), (246, 300), (288, 324), (318, 268), (330, 408), (hem, 706)])
    folds: list[Points] = [[(360, 430), (330, 700)], [(400, 430), (400, 706)], [(440, 430), (470, 700)]]
    return _garment(outline, [*folds, [(330, 408), (400, 418), (470, 408)]], [])


def _slip(chance: random.Random) -> Shape:
    outline = _mirrored([(366, 250), (330, 160), (318, 160), (322, 300), (332, 430), (244, 706)])
    return _garment(outline, [[(370, 420), (344, 700)], [(430, 420), (456, 700)]], [])


def _shirt(chance: random.Random) -> Shape:
    outline = _mirrored([(366, 184), (312, 170), (196, 520), (258, 546), (306, 372), (300, 676)])
    seams: list[Points] = [
        [(400, 216), (400, 676)],
        [(366, 186), (400, 232), (434, 186)],
        [(306, 372), (318, 260)],
        [(494, 372), (482, 260)],
    ]
    return _garment(outline, seams, [(412, y) for y in range(280, 660, 70)])


def _knit(chance: random.Random) -> Shape:
    outline = _mirrored([(360, 192), (306, 180), (188, 540), (256, 566), (304, 388), (304, 644)])
    ribs: list[Points] = [[(x, 612), (x, 644)] for x in range(316, 490, 14)]
    return _garment(outline, [*ribs, [(360, 194), (400, 220), (440, 194)], [(304, 610), (496, 610)]], [])


def _tee(chance: random.Random) -> Shape:
    outline = _mirrored([(360, 190), (304, 178), (208, 340), (274, 384), (302, 344), (298, 668)])
    return _garment(
        outline,
        [[(360, 192), (400, 222), (440, 192)], [(302, 344), (314, 258)], [(498, 344), (486, 258)]],
        [],
    )


def _coat(chance: random.Random) -> Shape:
    outline = _mirrored([(356, 180), (296, 174), (178, 560), (252, 590), (292, 410), (264, 712)])
    seams: list[Points] = [
        [(400, 330), (404, 710)],
        [(356, 182), (340, 280), (400, 330), (460, 280), (444, 182)],
        [(292, 520), (350, 532)],
        [(508, 520), (450, 532)],
    ]
    return _garment(outline, seams, [(420, 400), (420, 480)])


def _trousers(chance: random.Random) -> Shape:
    outline = _mirrored([(320, 170), (314, 260), (270, 706), (376, 706), (398, 360)])
    return _garment(
        outline,
        [
            [(320, 200), (480, 200)],
            [(400, 200), (400, 350)],
            [(344, 300), (330, 700)],
            [(456, 300), (470, 700)],
        ],
        [],
    )


def _skirt(chance: random.Random) -> Shape:
    outline = _mirrored([(326, 190), (318, 226), (206, 690)])
    pleats: list[Points] = [[(330 + index * 20, 232), (226 + index * 50, 688)] for index in range(1, 8)]
    return _garment(outline, [[(318, 226), (482, 226)], *pleats], [])


SHAPES: dict[str, Callable[[random.Random], Shape]] = {
    "square": _square, "round": _round, "tall": _tall, "facet": _facet, "drop": _drop, "candle": _candle,
    "diffuser": _diffuser, "spray": _spray, "pump": _pump, "tube": _tube, "tin": _tin, "soap": _soap, "box": _box,
    "dish": _dish, "scarf": _scarf, "bag": _bag, "dress": _dress, "slip": _slip, "shirt": _shirt, "knit": _knit,
    "tee": _tee, "coat": _coat, "trousers": _trousers, "skirt": _skirt,
}  # fmt: skip
