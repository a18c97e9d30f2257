"""The admin pages of members, split by noun."""

from crm.admin import (
    codes,
    fields,
    lifecycle,
    members,
    picture,
    places,
    segments,
    syncs,
    tagrules,
    tags,
    touch,
)

__all__ = [
    "codes",
    "fields",
    "lifecycle",
    "members",
    "picture",
    "places",
    "segments",
    "syncs",
    "tagrules",
    "tags",
    "touch",
]
