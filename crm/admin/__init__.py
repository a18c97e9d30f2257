"""The admin pages of members, split by noun."""

from crm.admin import codes, lifecycle, members, places, segments, tags, touch

__all__ = ["codes", "lifecycle", "members", "places", "segments", "tags", "touch"]
