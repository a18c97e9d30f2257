"""The calendars behind members' days: which days are kept on a date, when one comes next. No clock, no database.

The lunar calendar is Borax's (1900 to 2100, after the tables of the Hong Kong Observatory); it is loaded only when a
lunar day is asked about.
"""

import calendar
import datetime as dt
from dataclasses import dataclass
from functools import lru_cache

SOLAR, LUNAR = "solar", "lunar"
MONTHS = ("正", "二", "三", "四", "五", "六", "七", "八", "九", "十", "冬", "腊")
TENS = ("初", "十", "廿", "三")
ONES = ("十", "一", "二", "三", "四", "五", "六", "七", "八", "九")
PROVINCES = (
    "北京", "天津", "河北", "山西", "内蒙古", "辽宁", "吉林", "黑龙江", "上海", "江苏", "浙江", "安徽", "福建", "江西",
    "山东", "河南", "湖北", "湖南", "广东", "广西", "海南", "重庆", "四川", "贵州", "云南", "西藏", "陕西", "甘肃",
    "青海", "宁夏", "新疆", "香港", "澳门", "台湾",
)  # fmt: skip
LONGEST = 366


@dataclass(frozen=True, order=True)
class YearDay:
    """A day of the year in one of the calendars."""

    calendar: str
    month: int
    day: int
    is_leap: bool = False

    def __str__(self) -> str:
        """ "03-05" or "农历闰四月初十": lunar days are written in Chinese only."""
        if self.calendar == SOLAR:
            return f"{self.month:02d}-{self.day:02d}"
        ten, one = divmod(self.day, 10)
        words = {10: "初十", 20: "二十", 30: "三十"}.get(self.day) or f"{TENS[ten]}{ONES[one]}"
        return f"农历{'闰' if self.is_leap else ''}{MONTHS[self.month - 1]}月{words}"


def kept_on(date: dt.date) -> set[YearDay]:
    """Every day of the year, in both calendars, that is kept on this date.

    Who was born on 29 February keeps the 28th in other years; who was born on the 30th of a lunar month keeps the 29th
    where it is the last; a day of a leap month is kept in the month itself in years without that leap month.
    """
    kept = {YearDay(SOLAR, date.month, date.day)}
    if (date.month, date.day) == (2, 28) and not calendar.isleap(date.year):
        kept.add(YearDay(SOLAR, 2, 29))
    return kept | _lunar_kept_on(date)


def _lunar_kept_on(date: dt.date) -> set[YearDay]:
    from borax.calendars.lunardate import LCalendars, LunarDate

    lunar = LunarDate.from_solar(date)
    is_leap = bool(lunar.leap)
    days = [lunar.day]
    if lunar.day == 29 and LCalendars.ndays(lunar.year, lunar.month, lunar.leap) == 29:
        days.append(30)
    kept = {YearDay(LUNAR, lunar.month, day, is_leap) for day in days}
    if not is_leap and LCalendars.leap_month(lunar.year) != lunar.month:
        kept |= {YearDay(LUNAR, lunar.month, day, True) for day in days}
    return kept


def kept_between(since: dt.date, until: dt.date) -> set[YearDay]:
    """Of all dates from one to the other, both included; at most a year."""
    count = min((until - since).days + 1, LONGEST)
    return set().union(*(kept_on(since + dt.timedelta(days=number)) for number in range(count)))


@lru_cache(maxsize=4)
def next_returns(today: dt.date) -> dict[YearDay, int]:
    """Each day of the year, in both calendars → in how many days it is kept next, today being 0."""
    found: dict[YearDay, int] = {}
    for number in range(LONGEST + 30):  # a lunar year may be 384 days long
        for day in kept_on(today + dt.timedelta(days=number)):
            found.setdefault(day, number)
    return found


def key_of(day: YearDay) -> int:
    """One number for a day of the year: 10000 + month * 100 + day, of the lunar calendar 20000, of a leap month 30000.
    `crm.bitmap_asks` has the same as SQL.
    """
    base = 10_000 if day.calendar == SOLAR else 30_000 if day.is_leap else 20_000
    return base + day.month * 100 + day.day


def next_on(day: YearDay, today: dt.date) -> dt.date | None:
    """The next date on which it is kept, today included; None for a day that there never is (30 February)."""
    for number in range(LONGEST + 30):  # a lunar year may be 384 days long
        date = today + dt.timedelta(days=number)
        if day.calendar == SOLAR and (date.month != day.month or date.day < min(day.day, 28)):
            continue
        if day in kept_on(date):
            return date
    return None


def there_is(day: YearDay) -> bool:
    if not 1 <= day.month <= 12:
        return False
    if day.calendar == LUNAR:
        return 1 <= day.day <= 30
    return not day.is_leap and 1 <= day.day <= calendar.monthrange(2024, day.month)[1]


def region_of(address: str) -> tuple[str, str]:
    """ "广东省 深圳市 南山区" → ("广东", "深圳市"); ("", "") where no province is named."""
    words = address.split()
    province = next((name for name in PROVINCES if words and words[0].startswith(name)), "")
    return (province, words[1][:20] if len(words) > 1 else "") if province else ("", "")


def device_of(user_agent: str) -> str:
    """ "ios", "android", "harmony", "desktop" or "" from what the browser says of itself."""
    said = user_agent.lower()
    for word, device in (
        ("harmonyos", "harmony"),
        ("openharmony", "harmony"),
        ("iphone", "ios"),
        ("ipad", "ios"),
        ("android", "android"),
        ("windows nt", "desktop"),
        ("macintosh", "desktop"),
        ("x11; linux", "desktop"),
    ):
        if word in said:
            return device
    return ""
