"""Evidence photos: whatever a phone sends becomes a plain JPEG, or is refused."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from django.core.files.base import ContentFile
from django.utils.translation import gettext as _
from PIL import Image, ImageOps, UnidentifiedImageError

from shop import aftersales_rules as rules
from shop.errors import BadPhoto
from shop.models import AfterSale, AfterSalePhoto

LONGEST_SIDE = 1600
MAX_PIXELS = 60_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")


@dataclass(frozen=True)
class Photo:
    content: bytes  # JPEG
    width: int
    height: int


def photos_of(files: Sequence[IO[bytes]]) -> list[Photo]:
    """Read and make anew, before any transaction: this takes time. Raises BadPhoto, and nothing is kept."""
    if len(files) > rules.MAX_PHOTOS:
        raise BadPhoto(_("At most %(count)d photos, please.") % {"count": rules.MAX_PHOTOS})
    return [_made_anew(file.read(rules.MAX_PHOTO_BYTES + 1)) for file in files]


def _made_anew(content: bytes) -> Photo:
    """Upright, at most 1600 px, without the place and camera that the phone wrote into it."""
    if len(content) > rules.MAX_PHOTO_BYTES:
        raise BadPhoto(
            _("A photo may have at most %(count)d MB.") % {"count": rules.MAX_PHOTO_BYTES // 2**20}
        )
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise BadPhoto(_("This photo is too large; at most 60 million pixels."))
            opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            picture = ImageOps.exif_transpose(opened)
            if picture.mode != "RGB":
                canvas = Image.new("RGB", picture.size, "white")
                rgba = picture.convert("RGBA")
                canvas.paste(rgba, mask=rgba.getchannel("A"))
                picture = canvas
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=84, exif=b"")
            return Photo(out.getvalue(), picture.width, picture.height)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise BadPhoto(
            _("One of the files is not a photo that can be shown. JPEG, PNG or WebP, please.")
        ) from error


def keep_photos(aftersale: AfterSale, photos: Sequence[Photo]) -> None:
    for place, photo in enumerate(photos, 1):
        row = AfterSalePhoto(aftersale=aftersale, width=photo.width, height=photo.height)
        row.file.save(f"{aftersale.number}-{place}.jpg", ContentFile(photo.content), save=False)
        row.save()
