"""Members and who they are; stores and staff."""

import pghistory
from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from core.secrets import hidden_phones, masked_phone


@pghistory.track()
class Store(models.Model):
    code = models.SlugField(_("code"), max_length=40, unique=True)
    name = models.CharField(_("name"), max_length=80)
    address = models.CharField(_("address"), max_length=200, blank=True)
    province = models.CharField(_("province"), max_length=20, blank=True, db_default="", default="")
    city = models.CharField(_("city"), max_length=20, blank=True, db_default="", default="")
    latitude = models.DecimalField(_("latitude"), max_digits=9, decimal_places=6, null=True, blank=True)
    longitude = models.DecimalField(_("longitude"), max_digits=9, decimal_places=6, null=True, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    ships_online = models.BooleanField(
        _("sends online orders"),
        default=False,
        db_default=False,
        help_text=_("The warehouse always does."),
    )
    allows_pickup = models.BooleanField(
        _("hands out online orders"),
        default=False,
        db_default=False,
        help_text=_("Shoppers may collect their order here with a code."),
    )
    online_rank = models.PositiveSmallIntegerField(
        _("order of serving"),
        default=1,
        db_default=1,
        help_text=_("Smaller serves first, equal ones by distance. The warehouse is 0."),
    )
    safety_stock = models.PositiveIntegerField(
        _("safety stock"),
        default=0,
        db_default=0,
        help_text=_("So many of each SKU stay for customers in the store and are not sold online."),
    )

    class Meta:
        verbose_name = _("store")
        verbose_name_plural = _("stores")
        constraints = [
            models.CheckConstraint(
                condition=Q(latitude__isnull=True) | Q(latitude__range=(-90, 90)),
                name="store_latitude_is_on_earth",
            ),
            models.CheckConstraint(
                condition=Q(longitude__isnull=True) | Q(longitude__range=(-180, 180)),
                name="store_longitude_is_on_earth",
            ),
            models.CheckConstraint(condition=Q(safety_stock__lte=1_000_000), name="store_safety_is_sensible"),
        ]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class Staff(models.Model):
    """A guide or other member of the enterprise; may have a login to the admin."""

    work_userid = models.CharField(_("WeCom userid"), max_length=64, unique=True, null=True, blank=True)
    name = models.CharField(_("name"), max_length=80)
    store = models.ForeignKey(
        Store, models.PROTECT, null=True, blank=True, related_name="staff", verbose_name=_("store")
    )
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="staff",
        verbose_name=_("login"),
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("guide")
        verbose_name_plural = _("guides")

    def __str__(self) -> str:
        return self.name


class MemberQuerySet(models.QuerySet["Member"]):
    def living(self) -> "MemberQuerySet":
        """Without the tombstones that merging left."""
        return self.filter(merged_into__isnull=True)

    def known(self) -> "MemberQuerySet":
        """The living, without those whose data was erased: of them nothing is asked, sent, taken out or counted."""
        return self.living().filter(erased_at__isnull=True)


# Only what people edit: the rest of the row is written by machines, and its facts stand in the timeline.
@pghistory.track(pghistory.UpdateEvent(), fields=["name", "birthday", "time_zone", "note", "tier"])
class Member(models.Model):
    """One person. Her identities say how she is reached; MemberStats what she did.

    A merged member stays as a tombstone: `merged_into` names the living one (never another tombstone).
    """

    FOLLOW, LOGIN, CONTACT, IMPORT, STAFF = "follow", "login", "contact", "import", "staff"
    HERSELF, GUIDE = "herself", "guide"
    TELLERS = [(HERSELF, _("herself")), (GUIDE, _("her guide"))]
    WAYS = [
        (FOLLOW, _("followed")),
        (LOGIN, _("logged in")),
        (CONTACT, _("WeCom contact")),
        (IMPORT, _("imported")),
        (STAFF, _("made by staff")),
    ]

    name = models.CharField(_("name"), max_length=80, blank=True)
    avatar_url = models.URLField(_("avatar"), max_length=500, blank=True)
    birthday = models.DateField(_("birthday"), null=True, blank=True)
    birthday_from = models.CharField(
        _("birthday told by"),
        max_length=8,
        choices=TELLERS,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    time_zone = models.CharField(
        _("time zone"), max_length=40, blank=True, help_text=_("Empty: the shop's. Example: Asia/Urumqi")
    )
    note = models.CharField(_("note"), max_length=500, blank=True)
    tier = models.CharField(
        _("member tier"),
        max_length=40,
        blank=True,
        default="",
        db_default="",
        help_text=_("Member prices and promotions that name this tier are hers."),
    )
    joined_via = models.CharField(_("became a member by"), max_length=12, choices=WAYS, default=FOLLOW)
    source = models.ForeignKey(
        "crm.ChannelCode",
        models.SET_NULL,
        null=True,
        blank=True,
        db_index=False,
        related_name="members",
        verbose_name=_("source"),
        help_text=_("The first channel code that she came through; it stays."),
    )
    session_version = models.PositiveIntegerField(_("session version"), default=1)
    merged_into = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="tombstones",
        verbose_name=_("merged into"),
    )
    created_at = models.DateTimeField(_("member since"))
    erased_at = models.DateTimeField(_("erased at"), null=True, blank=True, editable=False)

    objects = MemberQuerySet.as_manager()

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        permissions = [("view_phone", _("Can see full phone numbers"))]
        constraints = [
            models.CheckConstraint(
                condition=~Q(merged_into=F("id")), name="member_is_not_merged_into_herself"
            ),
            models.CheckConstraint(
                condition=Q(birthday_from="") | Q(birthday__isnull=False),
                name="birthday_is_told_with_its_teller",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at"], name="member_by_birth"),
            models.Index(fields=["time_zone"], name="member_in_another_zone", condition=~Q(time_zone="")),
            models.Index(fields=["tier"], name="member_by_tier", condition=~Q(tier="")),
            # Most came through no code, and hardly anybody is merged.
            models.Index(fields=["source"], name="member_by_source", condition=Q(source__isnull=False)),
            models.Index(
                fields=["merged_into"], name="member_by_survivor", condition=Q(merged_into__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"#{self.pk}"


class Identity(models.Model):
    """One address under which a platform, a phone company or an old shop knows the person.

    Followings: `is_following` is true exactly when `followed_at` is later than `unfollowed_at`, so notices may come
    in any order. A typed phone is unverified: it may stand with several members and never merges anybody.
    """

    OPENID, UNIONID, EXTERNAL_USERID = "openid", "unionid", "external_userid"
    PHONE, IMPORT = "phone", "import"
    KINDS = [
        (OPENID, _("openid")),
        (UNIONID, _("unionid")),
        (EXTERNAL_USERID, _("WeCom external userid")),
        (PHONE, _("phone")),
        (IMPORT, _("imported number")),
    ]

    PLATFORM, TYPED, FILE, CODE = "platform", "typed", "file", "code"
    SOURCES = [
        (PLATFORM, _("told by the platform")),
        (CODE, _("confirmed by a code")),
        (FILE, _("from a file")),
        (TYPED, _("typed")),
    ]

    # Her own are found by `member_has_an_identity_once`.
    member = models.ForeignKey(
        Member,
        models.PROTECT,
        db_index=False,
        db_constraint=False,  # ADR 20: checked by the trigger `rows_have_their_member`
        related_name="identities",
        verbose_name=_("member"),
    )
    kind = models.CharField(_("kind"), max_length=16, choices=KINDS)
    account = models.ForeignKey(
        "wechat.Account",
        models.PROTECT,
        null=True,
        blank=True,
        db_index=False,
        related_name="+",
        verbose_name=_("account"),
    )
    value = models.CharField(_("value"), max_length=128)
    is_verified = models.BooleanField(_("verified"), default=True)
    source = models.CharField(
        _("told by"), max_length=8, choices=SOURCES, default=PLATFORM, db_default=PLATFORM
    )
    confidence_bps = models.PositiveSmallIntegerField(
        _("confidence"), default=10_000, db_default=10_000, help_text=_("10,000 is certain.")
    )
    is_following = models.BooleanField(_("following"), default=False)
    takes_marketing = models.BooleanField(
        _("takes marketing here"),
        default=True,
        db_default=True,
        help_text=_("Her latest answer for this channel."),
    )
    followed_at = models.DateTimeField(_("followed at"), null=True, blank=True)
    unfollowed_at = models.DateTimeField(_("unfollowed at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"))
    # The platform is asked for unionid and name after the commit; a sweeper finds what no wake-up reached.
    lookup_due_at = models.DateTimeField(_("look-up due at"), null=True, blank=True)
    lookup_attempts = models.PositiveSmallIntegerField(_("look-ups tried"), default=0)

    @property
    def hidden(self) -> str:
        """The value without the middle of a phone number; a till may call its members by their numbers."""
        if self.kind == Identity.PHONE:
            return masked_phone(self.value)
        return hidden_phones(self.value) if self.kind == Identity.IMPORT else self.value

    class Meta:
        verbose_name = _("identity")
        verbose_name_plural = _("identities")
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "account", "value"],
                condition=Q(is_verified=True),
                nulls_distinct=False,
                name="identity_names_one_member",
            ),
            models.UniqueConstraint(
                fields=["member", "kind", "account", "value"],
                nulls_distinct=False,
                name="member_has_an_identity_once",
            ),
            models.CheckConstraint(
                condition=Q(is_verified=True) | Q(kind="phone"), name="only_phones_are_unverified"
            ),
            models.CheckConstraint(
                condition=Q(confidence_bps__lte=10_000), name="identity_is_at_most_certain"
            ),
        ]
        indexes = [
            models.Index(fields=["value"], name="identity_by_value"),
            models.Index(fields=["account"], name="identity_by_account", condition=Q(account__isnull=False)),
            models.Index(
                fields=["account", "member"], name="identity_following", condition=Q(is_following=True)
            ),
            models.Index(
                fields=["lookup_due_at"], name="identity_lookup_due", condition=Q(lookup_due_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.value[:6]}…"


class Contact(models.Model):
    """A guide of the enterprise has this customer in WeCom (one row per pair; re-adding re-opens it)."""

    identity = models.ForeignKey(
        Identity, models.CASCADE, related_name="contacts", verbose_name=_("identity")
    )
    userid = models.CharField(_("WeCom userid"), max_length=64)
    state = models.CharField(_("channel"), max_length=64, blank=True)
    remark = models.CharField(_("remark"), max_length=80, blank=True)
    added_at = models.DateTimeField(_("added at"), null=True, blank=True)
    removed_at = models.DateTimeField(_("removed at"), null=True, blank=True)
    removed_by = models.CharField(_("removed by"), max_length=12, blank=True)
    edited_at = models.DateTimeField(_("edited at"), null=True, blank=True)  # by the guide, as WeCom told

    class Meta:
        verbose_name = _("WeCom contact")
        verbose_name_plural = _("WeCom contacts")
        constraints = [
            models.UniqueConstraint(fields=["identity", "userid"], name="contact_pair_once"),
        ]
        indexes = [models.Index(fields=["userid"], name="contact_by_guide")]

    def __str__(self) -> str:
        return f"{self.userid} – {self.identity_id}"

    @property
    def is_open(self) -> bool:
        return self.added_at is not None and (self.removed_at is None or self.added_at > self.removed_at)
