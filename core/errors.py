"""The base of every refusal: a message that a person can act on, and the HTTP status that doors answer with."""

from contextvars import ContextVar

raised: ContextVar[list[str] | None] = ContextVar("raised", default=None)
"""Codes of this request's refusals, for its line in the log: most pages say a refusal themselves and answer 200 or 302.
None outside of a request."""
MOST_NOTED = 20


class Refusal(Exception):
    """Something that may not be done, said in the person's language. Nothing was written.

    `code` is stable and for programs, `status` is what an HTTP door answers (400 unless a subclass says otherwise).
    """

    code = "refused"
    status = 400

    def __init__(self, message: str | None = None, *, code: str | None = None) -> None:
        super().__init__(str(message) if message is not None else self.code)
        if code:
            self.code = code
        codes = raised.get()
        if codes is not None and self.code not in codes and len(codes) < MOST_NOTED:
            codes.append(self.code)

    @property
    def message(self) -> str:
        return str(self.args[0])


class NotFound(Refusal):
    code, status = "not_found", 404


class Conflict(Refusal):
    code, status = "conflict", 409


class UnreadableFile(Refusal):
    """Not a CSV or XLSX file, empty, or in an encoding that is neither UTF-8 nor GB18030."""

    code = "unreadable_file"


class WrongMapping(Refusal):
    """The mapping of an import misses a needed column, or names one that the file does not have."""

    code = "wrong_mapping"


class ImportRunning(Conflict):
    """The same file is being brought in right now."""

    code = "import_running"
