"""The admin pages of members, split by noun."""

from crm.admin import (
    codes,
    fields,
    lifecycle,
    members,
    picture,
    places,
    points,
    segments,
    segments_kept,
    syncs,
    tagrules,
    tags,
    tiers,
    touch,
)

__all__ = [
    "codes",
    "fields",
    "lifecycle",
    "members",
    "picture",
    "places",
    "points",
    "segments",
    "segments_kept",
    "syncs",
    "tagrules",
    "tags",
    "tiers",
    "touch",
]
