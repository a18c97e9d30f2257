"""Chinese punctuation for the demo's texts."""

import re

_CHINESE = r"[\u4e00-\u9fff\u201c\u201d\u300a\u300b\uff08\uff09]"
_FULL = dict(zip(",;:?!()", "\uff0c\uff1b\uff1a\uff1f\uff01\uff08\uff09", strict=True))
_HALF = re.compile(rf"(?<={_CHINESE})[,;:?!()]|[,;?!()](?={_CHINESE})")


def full_width(text: str) -> str:
    """Half-width punctuation beside Chinese characters becomes full-width: how these texts are set in print."""
    return _HALF.sub(lambda match: _FULL[match[0]], text)
