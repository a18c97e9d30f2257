"""Why a file cannot be brought in at all. A line that cannot is not an error: it is refused in the report."""

from core.errors import Conflict, Refusal


class UnreadableFile(Refusal):
    """Not a CSV or XLSX file, empty, or in an encoding that is neither UTF-8 nor GB18030."""

    code = "unreadable_file"


class WrongMapping(Refusal):
    """The mapping misses a needed column, or names one that the file does not have."""

    code = "wrong_mapping"


class ImportRunning(Conflict):
    """The same file is being brought in right now."""

    code = "import_running"
