"""Every setting of Pond, read from the environment; the table in README.md explains each name.

Unset `DATABASE_URL` / `REDIS_URL` mean the embedded services under `POND_VAR`, started when they are not running.
"""

import gc
import os
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from config import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

# Python's 700 new objects between two collections are few for a program that makes a million while it starts: with
# more, starting takes an eighth less time, and requests a little less.
gc.set_threshold(50_000, 20, 50)

# NumPy's linear algebra would keep a thread on every core spinning for vectors this small, beside the database and
# the other processes: with more than one, the nightly fit was measured to cost thirty times the work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# --- Which house is this ---------------------------------------------------------------------------------------
# production is also meant when somebody switches DEBUG off without naming the environment: refuse rather than guess.
DEFAULT_ENV = "production" if "DEBUG" in os.environ and not env.bool("DEBUG") else "development"
POND_ENV = env.str("POND_ENV", DEFAULT_ENV)  # development | demo | test | production
PRODUCTION = POND_ENV == "production"
TESTING = POND_ENV == "test"
DEBUG = env.bool("DEBUG", False if PRODUCTION or TESTING else POND_ENV == "development")
VAR = Path(env.str("POND_VAR", str(BASE_DIR / "var"))).resolve()

INSECURE_SECRET_KEY = "insecure-pond-development-key-never-use-this-in-production-000000"  # noqa: S105
SECRET_KEY = env.str("SECRET_KEY", INSECURE_SECRET_KEY)
# Encrypts the platforms' secrets at rest; comma-separated, newest first, so that keys can be rotated.
FIELD_KEYS = env.list("FIELD_KEYS", default=[SECRET_KEY])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=[] if PRODUCTION else ["*"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Where shoppers and the platforms reach us; https in production.
PUBLIC_URL = env.str("PUBLIC_URL", f"http://127.0.0.1:{env.str('PORT', '8000')}").rstrip("/")

SHOP_NAME = env.str("SHOP_NAME", "池塘")  # what shoppers read at the top of the shop and in page titles
# Subscription-notification templates that a buyer is asked to accept after paying; none: she is not asked.
ORDER_TEMPLATES = env.list("ORDER_TEMPLATES", default=[])

# --- Sandbox (never in production) -----------------------------------------------------------------------------
SANDBOX_URL = env.str("SANDBOX_URL", "").rstrip("/")
CLOCK_FILE = env.str("CLOCK_FILE", "")
# Who sends codes by SMS: "sandbox", "tencent", the dotted path of a house's own sender (crm/sms), or nobody.
SMS_PROVIDER = env.str("SMS_PROVIDER", "sandbox" if SANDBOX_URL else "")
TENCENT_SMS = {
    "secret_id": env.str("TENCENT_SMS_SECRET_ID", ""),
    "secret_key": env.str("TENCENT_SMS_SECRET_KEY", ""),
    "app_id": env.str("TENCENT_SMS_APP_ID", ""),
    "sign_name": env.str("TENCENT_SMS_SIGN_NAME", ""),
    "template_id": env.str("TENCENT_SMS_TEMPLATE_ID", ""),
    "params": env.list("TENCENT_SMS_PARAMS", default=["code", "minutes"]),
    "region": env.str("TENCENT_SMS_REGION", "ap-guangzhou"),
    "url": env.str("TENCENT_SMS_URL", "https://sms.tencentcloudapi.com/"),
}

COOKIE_SECURE = env.bool("COOKIE_SECURE", PRODUCTION)


def refuse_unsafe_production() -> None:
    """Stop a production start that would run open. Each line says what to set."""
    faults = []
    if DEBUG:
        faults.append("DEBUG must be off")
    if SECRET_KEY == INSECURE_SECRET_KEY or len(SECRET_KEY) < 40:
        faults.append("SECRET_KEY must be set to at least 40 random characters")
    if SANDBOX_URL or CLOCK_FILE:
        faults.append("SANDBOX_URL and CLOCK_FILE belong to the sandbox and must be unset")
    if SMS_PROVIDER == "sandbox":
        faults.append("SMS_PROVIDER must be tencent, name a sender of your own, or be empty")
    if SMS_PROVIDER == "tencent":
        faults += [
            f"TENCENT_SMS_{name.upper()} must be set" for name, value in TENCENT_SMS.items() if not value
        ]
        if not set(TENCENT_SMS["params"]) <= {"code", "minutes"} or "code" not in TENCENT_SMS["params"]:
            faults.append("TENCENT_SMS_PARAMS must name code, and perhaps minutes")
        if not str(TENCENT_SMS["url"]).startswith("https://"):
            faults.append("TENCENT_SMS_URL must be an https address")
    if not COOKIE_SECURE:
        faults.append("COOKIE_SECURE must be on: cookies travel over https only")
    if not ALLOWED_HOSTS or "*" in ALLOWED_HOSTS:
        faults.append("ALLOWED_HOSTS must name the shop's domains")
    if not PUBLIC_URL.startswith("https://"):
        faults.append("PUBLIC_URL must be the https address of the shop")
    if not os.environ.get("DATABASE_URL") or not os.environ.get("REDIS_URL"):
        faults.append("DATABASE_URL and REDIS_URL must point to real servers")
    if faults:
        raise ImproperlyConfigured("Pond refuses to start in production: " + "; ".join(faults) + ".")


if PRODUCTION:
    refuse_unsafe_production()

# --- Services --------------------------------------------------------------------------------------------------
DATABASE_URL = env.str("DATABASE_URL", "")
REDIS_URL = env.str("REDIS_URL", "")
if not (DATABASE_URL and REDIS_URL):
    services = embedded.ensure(VAR)
    DATABASE_URL = DATABASE_URL or services.database_url
    REDIS_URL = REDIS_URL or services.redis_url

DATABASES = {
    "default": {
        **env.db_url_config(DATABASE_URL),
        "ENGINE": "config.postgres",
        "CONN_MAX_AGE": env.int("CONN_MAX_AGE", 600),
        "CONN_HEALTH_CHECKS": True,
        # PgBouncer in transaction mode cannot hold cursors over transactions.
        "DISABLE_SERVER_SIDE_CURSORS": env.bool("PGBOUNCER", False),
    }
}
DATABASES["default"]["OPTIONS"] = {
    **DATABASES["default"].get("OPTIONS", {}),
    "connect_timeout": 5,
    # What is prepared (core.statements, the functions in the database) is planned once, not six times.
    "options": "-c TimeZone=UTC -c jit=off -c lock_timeout=15s -c idle_in_transaction_session_timeout=60s"
    " -c plan_cache_mode=force_generic_plan",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": embedded.cache_url(REDIS_URL),
        "KEY_PREFIX": "pond",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}

CELERY_BROKER_URL = embedded.celery_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TIMEZONE = "UTC"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_ALWAYS_EAGER = False
# The rows are the jobs, Celery is the alarm clock: a send must give up at once when the broker is away
# (the default was measured to block for 6 s), and the sweepers find what no one was woken for.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 0,
    "socket_timeout": 5,
    "socket_connect_timeout": 0.5,
    "visibility_timeout": 600,
    "global_keyprefix": env.str("CELERY_KEY_PREFIX", "pond:"),
}
# How often the sweepers look, in seconds; short in the demo, so that a newcomer need not wait.
SWEEP_SECONDS = env.float("SWEEP_SECONDS", 10.0 if PRODUCTION else 2.0)
# How long an order that is not paid keeps its stock.
ORDER_PAYMENT_MINUTES = env.int("ORDER_PAYMENT_MINUTES", 30)
# Who is asked where a parcel is: local (nobody: staff type it), kuaidi100 (with its customer number and key), demo.
TRACKING_PROVIDER = env.str("TRACKING_PROVIDER", "demo" if POND_ENV == "demo" else "local")
KUAIDI100_CUSTOMER = env.str("KUAIDI100_CUSTOMER", "")
KUAIDI100_KEY = env.str("KUAIDI100_KEY", "")
KUAIDI100_URL = env.str("KUAIDI100_URL", "https://poll.kuaidi100.com/poll/query.do")

# --- Apps ------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "config.apps.SiteConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "axes",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "lucide",
    "pghistory",
    "pgtrigger",
    "rest_framework",
    "config.apps.HouseConfig",
    "core",
    "wechat",
    "crm",
    "shop",
    "community",
    "campaigns",
    "analytics",
]

MIDDLEWARE = [
    "core.middleware.RequestLog",
    "core.nul.WithoutNul",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.ContentPolicy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "crm.middleware.MemberSession",
    "config.middleware.EditHistory",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = True

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 1  # hour
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_ENABLED = not TESTING
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False  # core.admin.users shows what colleagues need of it
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
if TESTING:
    PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# --- Pages -----------------------------------------------------------------------------------------------------
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    },
    {
        # Mobile pages: Jinja2 renders the product list eleven times as fast as Django's templates (ADR 0006).
        "NAME": "jinja2",
        "BACKEND": "django.template.backends.jinja2.Jinja2",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {"environment": "config.jinja.environment", "extensions": ["jinja2.ext.i18n"]},
    },
]

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = sorted(path for path in (BASE_DIR / "locale").iterdir() if path.is_dir())
USE_I18N = True
FORMAT_MODULE_PATH = ["config.formats"]
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", "Asia/Shanghai")  # the shop's calendar days

STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "/media/"
MEDIA_ROOT = Path(env.str("MEDIA_ROOT", str(VAR / "media")))
PRIVATE_ROOT = Path(
    env.str("PRIVATE_ROOT", str(VAR / "private"))
)  # uploads and reports that no address shows
SERVE_MEDIA = env.bool("SERVE_MEDIA", not PRODUCTION)  # nginx serves it in production
HASHED_STATIC = env.bool("HASHED_STATIC", POND_ENV in ("production", "demo"))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        # Compressing takes 40 s on two cores: production only.
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if HASHED_STATIC and PRODUCTION
        else "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
        if HASHED_STATIC
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not HASHED_STATIC
# Tests make many clients, and each would look through all files that there are.
WHITENOISE_AUTOREFRESH = TESTING

# --- Security --------------------------------------------------------------------------------------------------
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = COOKIE_SECURE
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
MEMBER_COOKIE_AGE = 30 * 24 * 3600
SECURE_PROXY_SSL_HEADER = (
    ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", PRODUCTION) else None
)
SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", 31_536_000 if PRODUCTION else 0)
SECURE_SSL_REDIRECT = False  # nginx redirects
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "core.pages.csrf_failure"
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000
# Mobile pages: strict. The JS-SDK is the only foreign script, from WeChat's own host (or the sandbox).
JSSDK_HOSTS = ["https://res.wx.qq.com", "https://res2.wx.qq.com", "https://open.work.weixin.qq.com"]
PAGE_POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'", *JSSDK_HOSTS, *([SANDBOX_URL] if SANDBOX_URL else [])],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:", "https:"],
    "media-src": ["'self'", "https:"],
    "connect-src": ["'self'"],
    "frame-ancestors": [SANDBOX_URL] if SANDBOX_URL else ["'none'"],
    "base-uri": ["'self'"],
    "form-action": ["'self'", *([SANDBOX_URL] if SANDBOX_URL else [])],
    "object-src": ["'none'"],
}
# The admin's Alpine needs eval and inline styles (ecosystem: with a strict policy its modal covers the login).
ADMIN_POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "img-src": ["'self'", "data:", "blob:", "https:"],
    "font-src": ["'self'", "data:"],
    "connect-src": ["'self'"],
    "worker-src": ["'self'", "blob:"],
    "frame-ancestors": ["'self'"],
    "object-src": ["'none'"],
}

# --- Logs ------------------------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOG_FORMAT = env.str("LOG_FORMAT", "json" if POND_ENV in ("production", "demo") else "console")
LOGGING_CONFIG = "core.logs.configure"
LOGGING = {"level": LOG_LEVEL, "format": LOG_FORMAT}

# --- REST ------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "core.api.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["core.api.HasScope"],
    "DEFAULT_PAGINATION_CLASS": "core.api.KeyPagination",
    "PAGE_SIZE": 50,
    "DEFAULT_SCHEMA_CLASS": "core.openapi.Schema",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_THROTTLE_CLASSES": ["core.api.TokenThrottle"],
    "DEFAULT_THROTTLE_RATES": {"token": env.str("API_RATE", "600/min")},
    "EXCEPTION_HANDLER": "core.api.explain_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pond 池塘 API",
    "DESCRIPTION": "Members, products, stock and orders for ERP, POS and mini programs.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "ENUM_NAME_OVERRIDES": {
        "OrderStatus": "shop.models.orders.Order.STATUSES",
        "ProductStatus": "shop.models.catalogue.Product.STATUSES",
        "ProductKind": "shop.models.catalogue.Product.KINDS",
        "LineKind": "shop.models.orders.OrderLine.KINDS",
        "DeliveryKind": "shop.models.fulfilment.Fulfilment.KINDS",
    },
}

# --- What people edit is recorded (who, when, from which page) ---------------------------------------------------
PGHISTORY_ADMIN_ALL_EVENTS = True

# --- Admin -----------------------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Pond 池塘",
    "SITE_HEADER": "Pond 池塘",
    "SITE_SUBHEADER": _("Private domain operations"),
    "SITE_SYMBOL": "waves",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("admin/pond.svg")}
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "analytics.dashboard.home",
    "STYLES": [lambda request: static("admin/pond.css")],
    "SCRIPTS": [lambda request: static("admin/pond.js")],
    "BORDER_RADIUS": "8px",
    "COLORS": {
        "primary": {
            "50": "236 253 245",
            "100": "209 250 229",
            "200": "167 243 208",
            "300": "110 231 183",
            "400": "52 211 153",
            "500": "16 185 129",
            "600": "5 150 105",
            "700": "4 120 87",
            "800": "6 95 70",
            "900": "6 78 59",
            "950": "2 44 34",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": "config.navigation.sidebar",
    },
}
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")  # somebody opened the login page itself
