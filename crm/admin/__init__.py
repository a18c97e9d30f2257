"""The admin pages of members, split by noun."""

from crm.admin import codes, members, places, segments, tags, touch

__all__ = ["codes", "members", "places", "segments", "tags", "touch"]
