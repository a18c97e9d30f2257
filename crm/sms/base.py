"""What a sender of codes is, and why a code was not sent."""

from typing import Protocol

AGAIN, UNKNOWN, NUMBER, OFTEN, HOUSE = "again", "unknown", "number", "often", "house"


class NotSent(Exception):
    """The provider did not take it, or nobody knows. `code` is the provider's own, without the number.

    `because` decides what follows: AGAIN is tried again; UNKNOWN (no answer came) is not, she may have it by now;
    NUMBER (nothing can be sent there), OFTEN (the provider's limit for a number) and HOUSE (balance, keys, template,
    signature) are final, and the last is for the operator to mend.
    """

    def __init__(self, code: str, *, because: str = AGAIN) -> None:
        super().__init__(code)
        self.code, self.because = code, because


class SmsSender(Protocol):
    """Sends one code to one number. Called outside of a transaction, perhaps twice with the same `reference`."""

    def send_code(self, *, phone: str, code: str, minutes: int, reference: str) -> None:
        """Returns when the provider has taken it, within ten seconds; raises NotSent. Writes no number into a log."""
