"""Pure rules of invoices: the form of a Chinese tax number. No Django, no clock, no database."""

import re

# GB 32100-2015, the unified social credit code: 17 characters of this alphabet (no I, O, S, V, Z), one to check.
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_WEIGHTS = tuple(3**place % 31 for place in range(17))
_OLD = re.compile(r"[0-9A-Z]{15}|[0-9A-Z]{20}")


def cleaned_tax_number(text: str) -> str:
    """Upper case, without spaces and dashes; full-width digits and letters become narrow ones."""
    narrow = "".join(chr(ord(one) - 0xFEE0) if "！" <= one <= "～" else one for one in text)
    return re.sub(r"[\s-]", "", narrow).upper()


def is_tax_number(text: str) -> bool:
    """A credit code of 18 characters whose check character is right, or a number of the old kinds (15 or 20)."""
    if len(text) != 18:
        return bool(_OLD.fullmatch(text))
    if any(one not in _ALPHABET for one in text):
        return False
    weighted = sum(_ALPHABET.index(one) * weight for one, weight in zip(text[:17], _WEIGHTS, strict=True))
    return _ALPHABET[(31 - weighted % 31) % 31] == text[17]
