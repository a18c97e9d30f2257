"""What this room refuses, in words a person can act on."""

from core.errors import Conflict, NotFound, Refusal


class NoSuchMember(NotFound):
    code = "no_such_member"


class NoSuchMerge(NotFound):
    code = "no_such_merge"


class NoSuchChannel(NotFound):
    code = "no_such_channel"


class CannotUndo(Conflict):
    """The merge stays: too old, merged onwards, or her data was erased; the message says which."""

    code = "cannot_undo"


class NotYet(Conflict):
    """Another step must be finished first; whoever asked tries again."""

    code = "not_yet"


class CannotErase(Conflict):
    """Something stands in the way: an order on its way, money of hers; the message names it."""

    code = "cannot_erase"


class WrongProfile(Refusal):
    code = "wrong_profile"


class PhoneBelongsToAnother(Conflict):
    """A verified phone stands with another member: a person decides, the system never merges on a phone."""

    code = "phone_belongs_to_another"


class WrongPhone(Refusal):
    code = "wrong_phone"


class WrongCode(Refusal):
    """The code by SMS is not the one that was sent, is over, or was tried too often; the message says which."""

    code = "wrong_code"


class TooManyCodes(Refusal):
    """Her claims of the day are used up, or the last one was just now; the message says when to try again."""

    code = "too_many_codes"
    status = 429


class BadPoints(Refusal):
    """Points or tiers as nobody can have them; the message says what to change."""

    code = "bad_points"


class WrongRules(Refusal):
    """A segment's rules cannot be read; the message names the line and what is wrong."""

    code = "wrong_rules"


class LoginRefused(Refusal):
    code = "login_refused"
    status = 403


class CodeNotReady(Refusal):
    """The QR code could not be made; the message says why."""

    code = "code_not_ready"


class WrongDefinition(Refusal):
    """A definition of stages or bands contradicts itself."""

    code = "wrong_definition"


class NotEnoughBuyers(Refusal):
    """The models of the lifecycle cannot be fitted yet; the message says what is missing."""

    code = "not_enough_buyers"
    status = 409


class WrongNote(Refusal):
    code = "wrong_note"


class WrongTagRule(Refusal):
    """A tag rule lacks what its kind needs."""

    code = "wrong_tag_rule"


class WrongTagLink(Refusal):
    """A tag cannot be shared with this account; the message says why."""

    code = "wrong_tag_link"


class WrongConsent(Refusal):
    """An answer that a colleague writes down says not what about, where, or in which words."""

    code = "wrong_consent"


class WrongValue(Refusal):
    """A value does not fit its field; the message names the field."""

    code = "wrong_value"


class SyncRunning(Conflict):
    """A sync of this kind and account is queued or running already."""

    code = "sync_running"


class NoSuchSync(NotFound):
    code = "no_such_sync"


class WrongSegmentFile(Refusal):
    """A file is no segment of Pond, or names what this shop does not have; the message says which."""

    code = "wrong_segment_file"


class SegmentInUse(Conflict):
    """Other segments name this one in their rules; the message says which."""

    code = "segment_in_use"


class SegmentNameTaken(Conflict):
    code = "segment_name_taken"
