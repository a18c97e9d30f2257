"""Reviews, questions, hearts and the promise to tell when something is back."""

import io
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image

from core import clock
from crm.models import Touch
from crm.services import merge_members, prepare_months_ahead, record_activity
from shop import queries, services
from shop.errors import BadReview, NotReviewable
from shop.models import (
    Favourite,
    GoodsTerms,
    Order,
    OrderLine,
    Product,
    ProductRating,
    Question,
    Review,
    ReviewPhoto,
    StockNotice,
)
from shop.pages import frame
from shop.services import favourites
from shop.services.reviews import Photo, redraw
from tests.shop import booking_builders as make
from tests.shop import builders, goods
from tests.shop.test_races import at_once
from wechat.models import OutboundMessage

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def noon() -> Any:
    with clock.travel(make.MONDAY + timedelta(hours=3)):
        prepare_months_ahead(1)
        frame._noted.clear()
        cache.clear()  # what an earlier run saw at this same moment
        yield


def received(buyer: Any = None, count: int = 1) -> list[OrderLine]:
    """Lines of an order that has arrived, of one SKU each."""
    buyer = buyer or builders.member(name="林小满")
    order = builders.order(buyer, *[(builders.sku(), 1) for _number in range(count)])
    Order.objects.filter(pk=order.pk).update(status=Order.RECEIVED)
    return list(order.lines.order_by("pk"))


def photo_file(size: tuple[int, int] = (2400, 1200), kind: str = "JPEG", **extra: Any) -> SimpleUploadedFile:
    out = io.BytesIO()
    Image.new("RGB", size, "#aa7755").save(out, kind, **extra)
    return SimpleUploadedFile(f"x.{kind.lower()}", out.getvalue(), content_type=f"image/{kind.lower()}")


def review(line: OrderLine, stars: int = 5, **extra: Any) -> Review:
    return services.write_review(line_id=line.pk, member_id=line.order.member_id or 0, stars=stars, **extra)


def rating(product_id: int) -> tuple[int, ...]:
    return tuple(
        ProductRating.objects.values_list("reviews_count", "stars_sum", "good_count", "photos_count").get(
            pk=product_id
        )
    )


# --- Reviews -------------------------------------------------------------------------------------------------------
def test_a_review_is_written_once_per_received_line_by_its_buyer() -> None:
    (line,) = received()
    with pytest.raises(NotReviewable):
        services.write_review(line_id=line.pk, member_id=builders.member().pk, stars=5)
    for bad in ({"stars": 0}, {"stars": 6}, {"stars": 5, "text": "好" * 501}):
        with pytest.raises(BadReview):
            review(line, **bad)
    first = review(line, 4, text="  很好\n\n闻   得出茶香 😀\x00 ")
    assert review(line, 1).pk == first.pk
    assert first.text == "很好\n\n闻 得出茶香 😀"
    waiting = builders.order(builders.member(), (builders.sku(), 1)).lines.get()
    with pytest.raises(NotReviewable):
        review(waiting)
    assert Review.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_six_taps_write_one_review_and_decisions_at_once_count_every_star() -> None:
    (line,) = received()
    results = at_once(*[lambda: review(line, 3)] * 6)
    assert {result.pk for result in results} == {Review.objects.get().pk}
    more = [received(count=1)[0] for _number in range(5)]
    OrderLine.objects.filter(pk__in=[one.pk for one in more]).update(sku=line.sku)
    written = [Review.objects.get().pk] + [review(OrderLine.objects.get(pk=one.pk), 5).pk for one in more]
    decided = at_once(
        *[lambda pk=pk: services.decide_review(review_id=pk, shown=True, by="小运") for pk in written]
    )
    assert Counter(type(one).__name__ for one in decided) == {"Review": 6}
    assert rating(line.sku.product_id) == (6, 28, 5, 0)


def test_the_stars_follow_every_decision() -> None:
    one, two = received(count=2)
    OrderLine.objects.filter(pk=two.pk).update(sku=one.sku)
    good, bad = review(one, 5), review(OrderLine.objects.get(pk=two.pk), 1)
    product = one.sku.product_id
    for shown, expected in (
        ([True, True], (2, 6, 1, 0)),
        ([True, False], (1, 5, 1, 0)),
        ([False, False], (0, 0, 0, 0)),
        ([True, True], (2, 6, 1, 0)),
    ):
        for row, is_shown in zip((good, bad), shown, strict=True):
            services.decide_review(review_id=row.pk, shown=is_shown, by="小运")
        assert rating(product) == expected
    assert queries.voices_of(product).stars_tenths == 30


def test_photos_are_drawn_anew_and_files_that_are_none_are_refused(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    exif = Image.Exif()
    exif[0x010E] = "her home"
    file = photo_file(exif=exif)
    photo = redraw(file, file.size or 0)
    with Image.open(io.BytesIO(photo.image)) as drawn:
        assert (drawn.size, drawn.format, dict(drawn.getexif())) == ((1600, 800), "JPEG", {})
    for content in (b"", b"<svg onload=alert(1)>", b"GIF89a" + b"\x00" * 50):
        with pytest.raises(BadReview):
            redraw(io.BytesIO(content), len(content))
    with pytest.raises(BadReview):
        redraw(io.BytesIO(b""), 11 * 1024 * 1024)
    (line,) = received()
    with pytest.raises(BadReview):
        review(line, photos=[Photo(b"", b"")] * 7)
    row = review(line, photos=[photo])
    kept = row.photos.get()
    assert (kept.width, kept.height) == (1600, 800)
    assert default_storage.exists(kept.thumbnail.name or "")


def test_a_buyer_reviews_through_the_pages_and_others_read_it(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = tmp_path
    buyer = builders.member(name="林小满")
    (line,) = received(buyer)
    phone, stranger = make.phone(buyer), make.phone(builders.member())
    order = line.order.number
    assert 'data-test="write-review"' in phone.get(f"/orders/{order}/review/").content.decode()
    assert stranger.get(f"/orders/{order}/review/").status_code == 404
    form = f"/reviews/write/{line.pk}/"
    assert stranger.get(form).status_code == 404
    assert phone.get(form).status_code == 200
    refused = phone.post(form, {"stars": "5", "photos": SimpleUploadedFile("x.jpg", b"no photo")})
    assert refused.status_code == 400
    assert "请重新选择照片" in refused.content.decode()
    assert not Review.objects.exists()
    phone.post(
        form, {"stars": "5", "text": "<b>好闻</b>", "photos": [photo_file(), photo_file((90, 90), "PNG")]}
    )
    own = phone.get(f"/orders/{order}/review/").content.decode()
    assert "&lt;b&gt;好闻" in own
    assert own.count("您的照片") == 2
    page = f"/p/{line.sku.product_id}/reviews/"
    assert "好闻" not in stranger.get(page).content.decode()
    services.decide_review(review_id=Review.objects.get().pk, shown=True, by="小运")
    services.answer_review(review_id=Review.objects.get().pk, answer="谢谢喜欢", by="小运")
    text = stranger.get(page + "?photos=1").content.decode()
    assert "&lt;b&gt;好闻" in text
    assert "谢谢喜欢" in text
    assert "林**" in text
    assert "林小满" not in text
    assert ReviewPhoto.objects.count() == 2
    product_page = stranger.get(f"/p/{line.sku.product_id}/").content.decode()
    assert "&lt;b&gt;好闻" in product_page
    services.decide_review(review_id=Review.objects.get().pk, shown=False, by="小运", reason="有电话号码")
    own = phone.get(f"/orders/{order}/review/").content.decode()
    assert "仅自己可见" in own
    assert "未展示原因：有电话号码" in own


# --- Questions -----------------------------------------------------------------------------------------------------
def test_questions_show_with_their_answer() -> None:
    asker, product = make.reachable(), builders.sku().product
    phone, other = make.phone(asker), make.phone(builders.member())
    page = f"/p/{product.pk}/questions/"
    for text in ("", "?", "长" * 201):
        assert phone.post(page + "ask/", {"text": text}).status_code == 400
    for _again in range(2):
        phone.post(page + "ask/", {"text": "敏感肌能用吗 😀"})
    question = Question.objects.get()
    assert "敏感肌能用吗" in phone.get(page).content.decode()
    assert "敏感肌能用吗" not in other.get(page).content.decode()
    services.answer_question(question_id=question.pk, answer="可以，先在耳后试用。", by="小运")
    services.answer_question(question_id=question.pk, answer="可以，请先在耳后试用。", by="小运")
    assert "请先在耳后试用" in other.get(page).content.decode()
    assert make.sent("question-answered") == 1
    for number in range(5):
        phone.post(page + "ask/", {"text": f"问题 {number}"})
    assert phone.post(page + "ask/", {"text": "再问一个"}).status_code == 409


# --- Hearts, views, notices ----------------------------------------------------------------------------------------
def test_hearts_and_views_make_lists() -> None:
    member, product = builders.member(), builders.sku(product_name="白茶与雪").product
    phone = make.phone(member)
    heart = f"/p/{product.pk}/favourite/"
    for _again in range(2):
        phone.post(heart, {"wanted": "1"}, HTTP_HX_REQUEST="true")
    assert Favourite.objects.count() == 1
    assert "白茶与雪" in phone.get("/favourites/").content.decode()
    assert 'aria-pressed="true"' in phone.get(f"/p/{product.pk}/").content.decode()
    Product.objects.filter(pk=product.pk).update(status=Product.OFF)
    assert "售罄" in phone.get("/favourites/").content.decode()
    phone.post(heart, {"wanted": "0"})
    assert not Favourite.objects.exists()
    assert phone.post("/p/999999/favourite/", {"wanted": "1"}).status_code == 404
    other = builders.sku(product_name="雾山").product
    for minute, subject in enumerate((f"product:{other.pk}", "product:x", f"product:{other.pk}")):
        record_activity(
            member_id=member.pk,
            kind="viewed_product",
            at=clock.now() + timedelta(minutes=minute),
            subject=subject,
        )
    assert next(row.pk for row in queries.viewed_by(member.pk)) == other.pk
    assert phone.get("/viewed/").content.decode().count('data-test="product-card"') == 2


def test_who_waits_is_told_once_when_stock_returns_and_the_policy_allows_it() -> None:
    sku = builders.sku(stock=0)
    member, quiet = make.reachable(), builders.member()
    for one in (member, quiet):
        phone = make.phone(one)
        assert 'data-test="stock-notice"' in phone.get(f"/p/{sku.product_id}/").content.decode()
        for _again in range(2):
            phone.post(f"/p/{sku.product_id}/notice/")
    assert StockNotice.objects.filter(state="waiting").count() == 2
    assert services.send_stock_notices() == 0
    services.adjust_stock(sku_id=sku.pk, change=3, cause="test:back", reason="receive")
    services.refresh_stock_marks()
    with clock.travel(make.MONDAY + timedelta(hours=14)):  # 23:00: nobody is woken up
        assert services.send_stock_notices() == 0
    with clock.travel(make.MONDAY + timedelta(hours=25)):
        assert services.send_stock_notices() == 1
        assert services.send_stock_notices() == 0
    assert make.sent("back-in-stock") == 1
    assert Touch.objects.filter(member=member, answer="send", origin__startswith="restock:").count() == 1
    assert StockNotice.objects.get(member=member).state == "told"
    assert StockNotice.objects.get(member=quiet).state == "waiting"
    with clock.travel(make.MONDAY + timedelta(days=91)):
        services.send_stock_notices()
    assert StockNotice.objects.get(member=quiet).state == "given_up"


def test_she_may_wait_for_one_size_while_others_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    small, member = builders.sku(name="雾蓝 S"), make.reachable()
    large = builders.sku(name="雾蓝 L", product=small.product, stock=0)
    voucher = goods.service(quota=0)
    phone, page = make.phone(member), f"/p/{small.product_id}/"
    assert f'<option value="{large.pk}">雾蓝 L' in phone.get(page).content.decode()
    foreign = builders.sku().pk
    assert phone.post(f"{page}notice/", {"sku": foreign, "wanted": "1"}).status_code == 404
    phone.post(f"{page}notice/", {"sku": large.pk, "wanted": "1"})
    assert 'data-test="sku-notice-off"' in phone.get(page).content.decode()
    services.ask_stock_notice(member_id=make.reachable().pk, product_id=voucher.product_id)
    assert services.send_stock_notices() == 0  # the small one is no answer
    services.adjust_stock(sku_id=large.pk, change=1, cause="test:back", reason="receive")
    GoodsTerms.objects.update(quota=5)
    services.refresh_stock_marks()
    with clock.travel(make.MONDAY + timedelta(hours=5)), monkeypatch.context() as broken:
        broken.setattr(favourites, "tell_member", lambda *, text, **_rest: int(text))  # a fault of ours
        assert services.send_stock_notices() == 0  # and each is looked at again
    with clock.travel(make.MONDAY + timedelta(hours=6, minutes=1)):
        assert services.send_stock_notices() == 2
    texts = [str(message.body) for message in OutboundMessage.objects.all()]
    assert f"{small.product.name} 雾蓝 L" in "".join(texts)


def test_voices_follow_a_merged_member() -> None:
    kept, merged = builders.member(), builders.member()
    product = builders.sku(stock=0).product
    for one in (kept, merged):
        services.set_favourite(member_id=one.pk, product_id=product.pk, wanted=True)
        services.ask_stock_notice(member_id=one.pk, product_id=product.pk)
        services.ask_question(member_id=one.pk, product_id=product.pk, text="好用吗")
    (line,) = received(merged)
    review(line)
    merge_members(kept_id=kept.pk, merged_id=merged.pk)
    services.move_member(kept_id=kept.pk, merged_id=merged.pk)
    for model in (Favourite, StockNotice, Question, Review):
        assert model.objects.get().member_id == kept.pk  # type: ignore[attr-defined]


# --- Admin ---------------------------------------------------------------------------------------------------------
def test_operators_moderate_and_answer(client: Any, django_assert_max_num_queries: Any) -> None:
    client.force_login(User.objects.create_superuser("yunying", first_name="小运"))
    (line,) = received()
    row = review(line, text="很好")
    question = services.ask_question(member_id=row.member_id, product_id=row.product_id, text="好用吗")
    for name in ("review", "question", "stocknotice"):
        page = reverse(f"admin:shop_{name}_changelist")
        client.get(page)
        with django_assert_max_num_queries(12):
            assert client.get(page).status_code == 200
    assert client.get(reverse("admin:shop_review_change", args=[row.pk])).status_code == 200
    submitted = {"_form_submitted": "on"}
    client.post(reverse("admin:shop_review_show", args=[row.pk]), submitted)
    client.post(reverse("admin:shop_review_answer_it", args=[row.pk]), {**submitted, "answer": "谢谢"})
    client.post(reverse("admin:shop_question_answer_it", args=[question.pk]), {**submitted, "answer": "好用"})
    row.refresh_from_db()
    question.refresh_from_db()
    assert (row.state, row.decided_by, row.answer, question.state) == ("shown", "小运", "谢谢", "shown")
    chosen = {"action": "hide_reviews", "_selected_action": [str(row.pk)]}
    client.post(reverse("admin:shop_review_changelist"), chosen)
    assert rating(row.product_id) == (0, 0, 0, 0)
