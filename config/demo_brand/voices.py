"""What the demo's members say: reviews with photos and the shop's answers, questions, hearts."""

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection
from PIL import Image, ImageEnhance

from config.demo_brand.copying import copy_rows, take_numbers
from config.demo_brand.people import SEED
from config.demo_brand.wording import full_width
from core import clock
from crm.models import Member
from shop.models import Favourite, Order, OrderLine, Product, Question, Review, ReviewPhoto
from shop.services import refresh_rating

FOLDER = Path("reviews/demo")
PHOTOS = 24
SIDE, SMALL = 720, 360

# what is said of goods of a shelf; the last line of each is a lukewarm one
SAID: dict[str, list[str]] = {
    "香水": [
        "前调很清,半小时后变得温柔,同事问了我三次是什么香。",
        "留香比想象中久,早上喷的,下班围巾上还有。",
        "瓶子有分量,摆在梳妆台上很好看。送闺蜜的,她很喜欢。",
        "像雨后走进院子,不甜不腻,适合通勤。",
        "第二瓶了。先用小样试了三天才买的正装,不后悔。",
        "好闻是好闻,就是扩散弱了一点,贴近才闻得到。",
    ],
    "居家香氛": [
        "一打开,家里就是度假的感觉。",
        "味道干净,没有一点香精气,像九月的院子。",
        "晚上用一点,整个人都慢下来了。",
        "包装很用心,还附了手写卡片。",
        "味道喜欢,客厅大的话一瓶不太够。",
    ],
    "身体护理": [
        "很清爽,不黏手,用完就能打字。",
        "香气很自然,用完皮肤不紧绷。",
        "随身带的小东西,颜值和香气都在线。",
        "孩子和我都在用,已经回购。",
        "用得快,希望出大容量的,其他都好。",
    ],
    "连衣裙": [
        "面料垂顺,走起来有风,拍照很好看。",
        "身高 163,穿 S 正好,腰线很舒服。",
        "面料的光泽很高级,参加婚礼穿了一次,被夸了一路。",
        "版型略宽松,平时 M 的可以选 S。",
    ],
    "上装": [
        "领口挺括,单穿叠穿都行。",
        "洗了两次没有变形,颜色也没掉。",
        "料子厚实不透,白色也敢直接穿。",
        "袖子偏长一点,我挽起来穿的。",
    ],
    "外套": [
        "手工缝的线脚很细,轻又暖。",
        "上身很利落,里面能塞下一件厚毛衣。",
        "防风不错,口袋很大,骑车也方便。",
        "颜色比图片略深,不过更耐脏。",
    ],
    "下装": [
        "坐一天也没有褶,长度刚刚好。",
        "高腰很显腿,配平底鞋也好看。",
        "走动起来线条真的很美。",
        "腰头略紧,建议拿大一码。",
    ],
    "配饰": [
        "做工很细,边角都收得干净。",
        "颜色比图上更耐看,怎么搭都行。",
        "包装成礼物送妈妈,她舍不得用。",
        "比想象中小一点,不过够用了。",
    ],
}
ANSWERS = [
    "谢谢您的喜欢,池塘又多了一位朋友。",
    "谢谢您这么细的分享,已转告给调香师和版师。",
    "谢谢您的建议,我们记下了;如需更换,随时找我们,来回运费由我们承担。",
]
# product, question, answer ("": still waits)
ASKED = [
    ("PD-001", "这支适合秋冬用吗?", "可以的。秋冬建议喷在围巾内侧,体温会让后调的雪松更明显。"),
    ("PD-001", "15ml 可以带上飞机吗?", "可以,单瓶不超过 100ml 即可随身携带。"),
    ("PD-002", "和晨雾睡莲比,哪一支更甜?", "月下桂花更甜一些;想要清淡请选晨雾睡莲。"),
    ("PD-004", "男生用会不会太女性化?", ""),
    ("PD-013", "藤条多久换一次?", "约两个月,香液见底时一起更换最好。"),
    ("PD-014", "蜡烛可以刻字吗?", "可以,到店免费刻字,也可以在订单备注里写下内容。"),
    ("PD-021", "孕期可以用护手霜吗?", "配方不含视黄醇与水杨酸;如有顾虑,请先咨询医生。"),
    ("PD-027", "真丝可以机洗吗?", "建议 30℃ 以下手洗,不要拧,平铺晾干。"),
    ("PD-027", "165/52 公斤穿什么码?", "建议 S 码;肩宽或喜欢宽松可以选 M。"),
    ("PD-035", "会透吗?", "19 姆米的真丝,浅色内衣下不透。"),
    ("PD-044", "大衣有加长款吗?", ""),
    ("PD-056", "方巾有礼盒吗?", "有的,默认附礼盒与系法卡片。"),
]


def put_voices() -> None:
    """Once: several hundred reviews of goods that were received, questions, hearts."""
    if Review.objects.exists():
        return
    chance = random.Random(SEED + 4)
    _put_reviews(chance)
    _put_questions(chance)
    _put_hearts(chance)


def _put_reviews(chance: random.Random) -> None:
    lines = (
        OrderLine.objects.filter(order__status=Order.RECEIVED, refunded_quantity=0, order__channel="mall")
        .order_by("pk")
        .values_list(
            "pk", "order__member_id", "order__received_at", "sku__product_id", "sku__product__category__name"
        )
    )
    moment = clock.now()
    chosen = [
        (line_id, member_id, received_at, product_id, shelf)
        for line_id, member_id, received_at, product_id, shelf in lines
        if member_id and received_at is not None and chance.random() < 0.4
    ]
    reviews: list[Review] = []
    of_product: dict[int, list[Review]] = defaultdict(list)
    waiting = 0  # at least one does, whatever the hour
    for pk, (line_id, member_id, received_at, product_id, shelf) in zip(
        take_numbers(Review, len(chosen)), chosen, strict=True
    ):
        *good, lukewarm = SAID.get(shelf or "", SAID["配饰"])
        is_lukewarm = chance.random() < 0.14
        # Neighbours on a page do not say the same; every fourth gives stars only.
        said = len(of_product[product_id])
        written_at: datetime = min(received_at + timedelta(hours=chance.randint(2, 90)), moment)
        is_new = moment - written_at < timedelta(days=9) and (chance.random() < 0.12 or not waiting)
        waiting += is_new
        review = Review(
            pk=pk,
            line_id=line_id,
            product_id=product_id,
            member_id=member_id,
            stars=chance.choice((2, 3, 3)) if is_lukewarm else chance.choice((4, 5, 5, 5)),
            text=full_width(lukewarm if is_lukewarm else good[said % len(good)])
            if said < 2 * len(good)
            else "",
            is_anonymous=chance.random() < 0.2,
            state=Review.PENDING if is_new else Review.SHOWN,
            written_at=written_at,
        )
        if not is_new:
            review.decided_at, review.decided_by = written_at + timedelta(hours=3), "小运"
            if is_lukewarm or chance.random() < 0.25:
                review.answer = full_width(ANSWERS[2] if is_lukewarm else chance.choice(ANSWERS[:2]))
                review.answered_at, review.answered_by = written_at + timedelta(hours=5), "小运"
        reviews.append(review)
        of_product[product_id].append(review)
    copy_rows(reviews)
    _put_photos(of_product)
    for product_id in sorted(of_product):
        refresh_rating(product_id=product_id)


def _put_photos(of_product: dict[int, list[Review]]) -> None:
    """The latest good review of the most reviewed products shows what came out of the parcel."""
    pictures = dict(
        Product.objects.filter(pk__in=of_product, images__position=0).values_list("pk", "images__image")
    )
    busiest = sorted(of_product, key=lambda product_id: (-len(of_product[product_id]), product_id))
    wishes = []
    for product_id in [one for one in busiest if one in pictures][:PHOTOS]:
        good = [review for review in of_product[product_id] if review.stars >= 4 and review.text]
        if good:
            wishes.append((max(good, key=lambda review: review.written_at), pictures[product_id], product_id))
    (settings.MEDIA_ROOT / FOLDER).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda wish: snapshot(wish[1], f"r-{wish[2]}"), wishes))
    ReviewPhoto.objects.bulk_create(
        ReviewPhoto(
            review=review,
            image=str(FOLDER / f"r-{product_id}.jpg"),
            thumbnail=str(FOLDER / f"r-{product_id}-s.jpg"),
            width=SIDE,
            height=SIDE,
        )
        for review, _picture, product_id in wishes
    )


def snapshot(picture: str, name: str) -> Path:
    """The product's picture as a phone at home would have taken it: nearer, tilted, in warm light. Two JPEG files."""
    target = settings.MEDIA_ROOT / FOLDER / f"{name}.jpg"
    if target.exists():
        return target
    chance = random.Random(name)
    with Image.open(settings.MEDIA_ROOT / picture) as opened:
        side = int(min(opened.size) * chance.uniform(0.66, 0.8))
        tilted = opened.convert("RGB").rotate(chance.uniform(-7, 7), Image.Resampling.BICUBIC)
    left, top = (tilted.width - side) // 2, (tilted.height - side) // 2 + chance.randint(-20, 20)
    shot = tilted.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    warm = Image.blend(shot, Image.new("RGB", shot.size, (255, 214, 160)), chance.uniform(0.08, 0.18))
    shot = ImageEnhance.Brightness(warm).enhance(chance.uniform(0.84, 1.0))
    shot.save(target, "JPEG", quality=80)
    shot.reduce(SIDE // SMALL).save(target.with_name(f"{name}-s.jpg"), "JPEG", quality=78)
    return target


def _put_questions(chance: random.Random) -> None:
    products = dict(Product.objects.values_list("code", "pk"))
    members = list(Member.objects.order_by("pk").values_list("pk", flat=True)[:400])
    moment = clock.now()
    for code, text, answer in ASKED:
        asked_at = moment - timedelta(
            days=0 if not answer else chance.randint(2, 90), hours=chance.randint(1, 9)
        )
        Question.objects.create(
            product_id=products[code],
            member_id=chance.choice(members),
            text=full_width(text),
            answer=full_width(answer),
            state=Question.SHOWN if answer else Question.OPEN,
            asked_at=asked_at,
            answered_at=asked_at + timedelta(hours=2) if answer else None,
            actor="小运" if answer else "",
        )


def _put_hearts(chance: random.Random) -> None:
    """What members looked at before, some of them marked."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT member_id, split_part(subject, ':', 2)::bigint FROM crm_activity
            WHERE kind = 'viewed_product' AND at > %s ORDER BY 1, 2
            """,
            [clock.now() - timedelta(days=60)],
        )
        seen = cursor.fetchall()
    copy_rows(
        [
            Favourite(
                member_id=member_id,
                product_id=product_id,
                added_at=clock.now() - timedelta(hours=chance.randint(1, 800)),
            )
            for member_id, product_id in seen
            if chance.random() < 0.06
        ]
    )
