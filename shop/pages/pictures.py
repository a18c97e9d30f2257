"""Addresses and sizes of pictures for `<img>`: width and height keep the place free before the picture is there."""

from typing import NamedTuple

from django.core.files.storage import default_storage

from shop.queries import ImageRow

THUMBNAIL_WIDTH = 480


class Picture(NamedTuple):
    url: str
    width: int
    height: int
    alt: str = ""
    srcset: str = ""


def of_url(url: str, width: int, height: int, alt: str = "") -> Picture | None:
    """One file, for places as large as a card; None when there is no picture."""
    return Picture(url, width, height, alt) if url else None


def of_image(image: ImageRow) -> Picture:
    """The small file for slow networks, the large one for sharp screens: the browser chooses."""
    srcset = ""
    if image.thumbnail_url != image.url and image.width > THUMBNAIL_WIDTH:
        srcset = f"{image.thumbnail_url} {THUMBNAIL_WIDTH}w, {image.url} {image.width}w"
    return Picture(image.thumbnail_url or image.url, image.width, image.height, image.alt, srcset)


def of_name(name: str) -> Picture | None:
    """The picture that an order line remembers."""
    return Picture(default_storage.url(name), 0, 0) if name else None
