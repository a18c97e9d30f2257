"""Refusals of the campaigns room: nothing was written, and the message says what to do."""

from django.utils.translation import gettext as _

from core.errors import Conflict, NotFound, Refusal


class NotNow(Conflict):
    """The broadcast is not in a state in which this can be done."""

    code = "not_now"

    def __init__(self, status_label: str) -> None:
        super().__init__(
            _(
                "This cannot be done now: the broadcast is “%(status)s”. Reload the page to see where it stands."
            )
            % {"status": status_label}
        )


class NobodyToReach(Refusal):
    """The plan has nobody who may get it."""

    code = "nobody_to_reach"

    def __init__(self) -> None:
        super().__init__(
            _(
                "Nobody in this audience may get the message now. Look at the reasons in the plan, then change it."
            )
        )


class NotSendable(Refusal):
    """The message itself is not complete or not allowed on the channel."""

    code = "not_sendable"


class InThePast(Refusal):
    code = "in_the_past"

    def __init__(self) -> None:
        super().__init__(_("Choose a moment in the future, or start the broadcast now."))


class NoSuchMember(Refusal):
    """The test member cannot be reached."""

    code = "no_such_member"


class BrokenLink(NotFound):
    """A tracked link that we did not sign."""

    code = "broken_link"

    def __init__(self) -> None:
        super().__init__(_("This link is not complete. Open it again from the message."))
