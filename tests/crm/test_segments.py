"""Segments: what the rules mean, what is refused, and that all of it is one statement."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm import queries, segments, services
from crm.errors import WrongRules
from crm.models import ChannelCode, Consent, Identity, Member
from wechat.models import Account


def condition(field: str, op: str, value: Any) -> dict[str, Any]:
    return {"field": field, "op": op, "value": value}


@pytest.fixture
def crowd(
    follower: Callable[..., Member],
    brand: Account,
    corp: Account,
    tag: Callable[[str], Any],
    morning: datetime,
) -> dict[str, Member]:
    """rose: bought twice, 40 days ago, tagged; musk: bought today, a contact; new: never bought; gone: unfollowed."""
    rose, musk, new, gone = (follower(name) for name in ("rose", "musk", "new", "gone"))
    for days in (40, 200):
        at = morning - timedelta(days=days)
        services.book_purchase(member_id=rose.pk, paid_fen=30_000, at=at)
    services.book_purchase(member_id=musk.pk, paid_fen=9_900, at=morning)
    services.book_purchase(member_id=gone.pk, paid_fen=100, at=morning - timedelta(days=400))
    services.add_tags(member_ids=[rose.pk, gone.pk], tag_ids=[tag("玫瑰").pk], origin="staff:1")
    services.add_tags(member_ids=[rose.pk, musk.pk], tag_ids=[tag("送礼").pk], origin="staff:1")
    code = ChannelCode.objects.create(name="静安", account=brand, scene="c-1", created_at=morning)
    Member.objects.filter(pk=rose.pk).update(source=code, created_at=morning - timedelta(days=300))
    services.member_for_openid(account_id=brand.pk, openid="musk", unionid="u-musk")
    services.member_for_contact(
        account_id=corp.pk, external_userid="wm", unionid="u-musk", userid="lina", at=morning
    )
    services.note_unfollow(
        identity_id=Identity.objects.get(value="gone").pk, at=morning + timedelta(minutes=1)
    )
    services.give_consent(member_id=rose.pk, purpose=Consent.MARKETING, channel="page", text_version="1")
    services.withdraw_consent(member_id=new.pk, purpose=Consent.MARKETING, channel="page")
    return {"rose": rose, "musk": musk, "new": new, "gone": gone}


def found(crowd: dict[str, Member], rules: dict[str, Any]) -> set[str]:
    names = {member.pk: name for name, member in crowd.items()}
    return {names[pk] for pk in queries.members_in(rules).values_list("pk", flat=True)}


@pytest.mark.django_db
def test_each_condition_finds_whom_it_says(
    crowd: dict[str, Member], brand: Account, tag: Callable[[str], Any]
) -> None:
    rose_tag, gift = tag("玫瑰").pk, tag("送礼").pk
    code = ChannelCode.objects.get().pk
    expected = [
        (condition("tags", "any", [rose_tag, gift]), {"rose", "musk", "gone"}),
        (condition("tags", "all", [rose_tag, gift]), {"rose"}),
        (condition("tags", "none", [rose_tag]), {"musk", "new"}),
        (condition("last_order_days", "between", [30, 60]), {"rose"}),
        (condition("last_order_days", "between", [40, 40]), {"rose"}),
        (condition("last_order_days", "between", [41, None]), {"gone"}),
        (condition("last_order_days", "between", [None, 0]), {"musk"}),
        (condition("orders", "between", [0, 0]), {"new"}),
        (condition("orders", "between", [2, None]), {"rose"}),
        (condition("spend_fen", "between", [9_900, 60_000]), {"rose", "musk"}),
        (condition("source", "in", [code]), {"rose"}),
        (condition("source", "not_in", [code]), {"musk", "new", "gone"}),
        (condition("joined_days", "between", [300, 300]), {"rose"}),
        (condition("following", "yes", brand.pk), {"rose", "musk", "new"}),
        (condition("following", "no", None), {"gone"}),
        (condition("contact", "yes", None), {"musk"}),
        (condition("silent_days", "at_least", 40), {"rose", "gone"}),
        (condition("silent_days", "at_least", 41), {"gone"}),
        (condition("consent", "is", "given"), {"rose"}),
        (condition("consent", "is", "withdrawn"), {"new"}),
        (condition("consent", "is", "unasked"), {"musk", "gone"}),
        (condition("visits", "between", [None, 0]), {"rose", "musk", "new", "gone"}),
        ({}, {"rose", "musk", "new", "gone"}),
    ]
    for rules, names in expected:
        assert found(crowd, rules) == names, rules
        everybody = set(crowd)
        if rules:
            assert found(crowd, {"not": rules}) == everybody - names, f"not {rules}"


@pytest.mark.django_db
def test_groups_join_conditions(crowd: dict[str, Member], tag: Callable[[str], Any]) -> None:
    buyers, roses = condition("orders", "between", [1, None]), condition("tags", "any", [tag("玫瑰").pk])
    assert found(crowd, {"all": [buyers, {"not": {"any": [roses]}}]}) == {"musk"}
    assert found(crowd, {"any": [condition("contact", "yes", None), {"all": [buyers, roses]}]}) == {
        "musk",
        "rose",
        "gone",
    }
    assert found(crowd, {"all": []}) == set(crowd)


@pytest.mark.django_db
def test_counting_is_one_statement_and_sampling_two(
    crowd: dict[str, Member], django_assert_num_queries: Any, tag: Callable[[str], Any]
) -> None:
    rules = {
        "all": [
            condition("tags", "any", [tag("送礼").pk]),
            condition("orders", "between", [1, None]),
            condition("following", "yes", None),
        ]
    }
    services.fold_bitmaps()
    queries.segment_count(rules)
    with django_assert_num_queries(1):
        assert queries.segment_count(rules) == 2
    with django_assert_num_queries(2):
        assert {member.pk for member in queries.segment_sample(rules)} == {crowd["rose"].pk, crowd["musk"].pk}
    saved = services.save_segment(name="送礼客", rules=rules)
    assert saved.members_count == 2
    assert found(crowd, queries.members_in(saved.pk) and saved.rules) == {"rose", "musk"}


@pytest.mark.django_db
def test_a_merged_member_is_in_no_segment(crowd: dict[str, Member]) -> None:
    services.merge_members(kept_id=crowd["rose"].pk, merged_id=crowd["new"].pk)
    assert crowd["new"].pk not in set(queries.members_in({}).values_list("pk", flat=True))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "条件"),
        ({"all": [], "any": []}, "第 1 个条件"),
        ({"all": {"field": "orders"}}, "条件列表"),
        ({"all": [condition("shoe_size", "is", 38)]}, "shoe_size"),
        ({"all": [condition("orders", "any", [1])]}, "第 1 个条件"),
        ({"all": [condition("orders", "between", [None, None])]}, "至少填写"),
        ({"all": [condition("orders", "between", [5, 1])]}, "不能大于"),
        ({"all": [condition("orders", "between", [-1, 1])]}, "整数"),
        ({"any": [condition("orders", "between", [1, 2]), condition("tags", "any", [])]}, "第 2 个条件"),
        (condition("tags", "any", ["1; drop table"]), "至少选择"),
        (condition("consent", "is", []), "同意"),
        (condition("silent_days", "at_least", True), "天数"),
        ({"not": {"not": {"not": {"not": {"not": {"not": {}}}}}}}, "嵌套"),
        ({"all": [{"not": {"any": []}}] * 20_000}, "分组"),
    ],
)
def test_rules_that_cannot_be_read_are_refused_in_clear_words(rules: Any, words: str) -> None:
    with pytest.raises(WrongRules) as refused:
        services.save_segment(name="坏规则", rules=rules)
    assert words in refused.value.message


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**16) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["all", "any", "not", "field", "op", "value"]), inner, max_size=3)
    ),
    max_leaves=12,
)
near_misses = st.builds(
    condition,
    st.sampled_from([*segments.OPS, "nothing"]),
    st.sampled_from(["any", "all", "none", "between", "at_least", "in", "not_in", "yes", "no", "is"]),
    anything,
)


@pytest.mark.django_db
@settings(max_examples=30, deadline=None)
@given(rules=anything | near_misses | st.fixed_dictionaries({"all": st.lists(near_misses, max_size=3)}))
def test_whatever_is_accepted_can_be_counted_and_the_rest_is_refused(rules: Any) -> None:
    try:
        segments.check(rules)
    except WrongRules:
        return
    assert queries.segment_count(rules) == 0


@pytest.mark.django_db
def test_segments_within_segments_are_refused_before_they_grow(django_assert_max_num_queries: Any) -> None:
    """Empty ones too: each mention costs work, whatever is in it."""
    empty = services.save_segment(name="空", rules={})
    many = {"any": [{"field": "segment", "op": "in", "value": [empty.pk]}] * segments.MOST_CONDITIONS}
    wide = services.save_segment(name="宽", rules=many)
    wider = {"any": [{"field": "segment", "op": "in", "value": [wide.pk]}] * segments.MOST_CONDITIONS}
    with django_assert_max_num_queries(3), pytest.raises(WrongRules):
        segments.check(wider)
