"""Pasted addresses as people send them in chats. All are made up."""

import pytest
from django.http import HttpResponse
from django.test import Client

from crm import sessions
from shop.address_parsing import ParsedAddress, parse_address
from shop.models import Address
from tests.shop import builders

CASES = [
    (
        "张三 13800000001 浙江省杭州市西湖区文三路 1 号翠苑小区 3 幢 502",
        "张三|13800000001|浙江省|杭州市|西湖区|文三路1号翠苑小区3幢502",
    ),
    ("浙江省杭州市西湖区文三路1号，张三，13800000001", "张三|13800000001|浙江省|杭州市|西湖区|文三路1号"),
    (
        "收货人：李小满\n手机号码：13900000002\n所在地区：江苏省苏州市工业园区\n详细地址：星湖街328号A座",
        "李小满|13900000002|江苏省|苏州市|工业园区|星湖街328号A座",
    ),
    (
        "收件人: 王芳\n联系电话: 137-0000-0003\n收货地址: 上海市静安区延平路 1 号 2 室",
        "王芳|13700000003|上海市|上海市|静安区|延平路1号2室",
    ),
    (
        "上海市上海市浦东新区世纪大道100号 陈默 13600000004",
        "陈默|13600000004|上海市|上海市|浦东新区|世纪大道100号",
    ),
    ("陈默13600000004上海浦东新区世纪大道100号", "陈默|13600000004|上海市|上海市|浦东新区|世纪大道100号"),
    (
        "北京朝阳区建国路 88 号 SOHO 现代城 A 座 1201 赵敏 13500000005",
        "赵敏|13500000005|北京市|北京市|朝阳区|建国路88号SOHO现代城A座1201",
    ),
    (
        "北京市市辖区海淀区中关村大街27号 刘洋 +86 13500000006",
        "刘洋|13500000006|北京市|北京市|海淀区|中关村大街27号",
    ),
    (
        "广东 深圳 南山区 粤海街道 科技园 1 栋 周杰 13400000007",
        "周杰|13400000007|广东省|深圳市|南山区|粤海街道科技园1栋",
    ),
    ("广东省东莞市虎门镇人民路 5 号 吴倩 13300000008", "吴倩|13300000008|广东省|东莞市||虎门镇人民路5号"),
    (
        "内蒙古自治区呼和浩特市新城区海拉尔大街9号,巴特尔,15000000009",
        "巴特尔|15000000009|内蒙古自治区|呼和浩特市|新城区|海拉尔大街9号",
    ),
    (
        "新疆乌鲁木齐市天山区解放北路 22 号 古丽·阿依 15100000010",
        "古丽·阿依|15100000010|新疆维吾尔自治区|乌鲁木齐市|天山区|解放北路22号",
    ),
    (
        "广西南宁市青秀区民族大道 131 号 韦国强 15200000011",
        "韦国强|15200000011|广西壮族自治区|南宁市|青秀区|民族大道131号",
    ),
    (
        "西藏拉萨市城关区北京中路 8 号 卓玛 15300000012",
        "卓玛|15300000012|西藏自治区|拉萨市|城关区|北京中路8号",
    ),
    (
        "宁夏银川市兴庆区解放东街1号 马文 15500000013",
        "马文|15500000013|宁夏回族自治区|银川市|兴庆区|解放东街1号",
    ),
    ("吉林省吉林市船营区北京路 6 号 孙丽 15600000014", "孙丽|15600000014|吉林省|吉林市|船营区|北京路6号"),
    (
        "杭州市余杭区五常街道文一西路969号 钱多多 15700000015",
        "钱多多|15700000015|浙江省|杭州市|余杭区|五常街道文一西路969号",
    ),
    ("南京鼓楼区北京西路 3 号 郑爽朗 15800000016", "郑爽朗|15800000016|江苏省|南京市|鼓楼区|北京西路3号"),
    (
        "浙江省金华市义乌市稠州北路 1001 号 何平 15900000017",
        "何平|15900000017|浙江省|金华市|义乌市|稠州北路1001号",
    ),
    (
        "云南省大理白族自治州大理市古城人民路 12 号 段誉 16600000018",
        "段誉|16600000018|云南省|大理白族自治州|大理市|古城人民路12号",
    ),
    (
        "四川省成都市武侯区天府大道北段 1700 号 欧阳锋 17000000019",
        "欧阳锋|17000000019|四川省|成都市|武侯区|天府大道北段1700号",
    ),
    (
        "重庆市渝中区解放碑步行街 1 号 冉阳 17300000020",
        "冉阳|17300000020|重庆市|重庆市|渝中区|解放碑步行街1号",
    ),
    ("湖北省仙桃市沔街大道 8 号 李女士 17600000021", "李女士|17600000021|湖北省|仙桃市||沔街大道8号"),
    ("山东省济南市市中区经四路 5 号 秦风(收) 17700000022", "秦风|17700000022|山东省|济南市|市中区|经四路5号"),
    (
        "福建省厦门市思明区鹭江道 2 号 3 单元 401 室林小满 17800000023",
        "林小满|17800000023|福建省|厦门市|思明区|鹭江道2号3单元401室",
    ),
    (
        "18000000024 黄蓉\n湖南省长沙市岳麓区麓山路 1 号\n410000",
        "黄蓉|18000000024|湖南省|长沙市|岳麓区|麓山路1号",
    ),
    (
        "Tom Lee, 18100000025, 陕西省西安市雁塔区小寨东路 7 号",
        "Tom Lee|18100000025|陕西省|西安市|雁塔区|小寨东路7号",
    ),
    (
        "收货人：周周 联系电话：０５７１－８８８８００２６ 地址：浙江省 杭州市 滨江区 江南大道 1 号",
        "周周|057188880026|浙江省|杭州市|滨江区|江南大道1号",
    ),
    ("🏠河北省保定市定州市中山路 9 号 ☎️18300000027 许仙", "许仙|18300000027|河北省|保定市|定州市|中山路9号"),
    (
        "贺兰 18500000028-1234 江西省南昌市红谷滩区红谷中大道 1 号",
        "贺兰|18500000028|江西省|南昌市|红谷滩区|红谷中大道1号转1234",
    ),
    (
        "内蒙古锡林郭勒盟锡林浩特市希日塔拉街 4 号；苏和；18600000029",
        "苏和|18600000029|内蒙古自治区|锡林郭勒盟|锡林浩特市|希日塔拉街4号",
    ),
    ("海南省三亚市吉阳区迎宾路 6 号 符海 18700000030", "符海|18700000030|海南省|三亚市|吉阳区|迎宾路6号"),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text[:14] for text, _expected in CASES])
def test_a_pasted_address_is_understood(text: str, expected: str) -> None:
    found = parse_address(text)
    said = "|".join((found.receiver, found.phone, found.province, found.city, found.district, found.street))
    assert said == expected


def test_a_postal_code_is_taken_out_of_the_street() -> None:
    assert parse_address("黄蓉 18000000024 湖南省长沙市岳麓区麓山路 1 号 410000").postal_code == "410000"


@pytest.mark.parametrize("text", ["", " ", "\x00", "🙂" * 5000, "a" * 10_000, "省市区" * 3000, "1" * 400])
def test_nonsense_is_read_without_harm(text: str) -> None:
    found = parse_address(text)
    assert isinstance(found, ParsedAddress)
    assert len(found.street) <= 200


def test_what_is_no_address_fills_nothing_but_what_is_there() -> None:
    found = parse_address("13800000001")
    assert (found.phone, found.province, found.street) == ("13800000001", "", "")


@pytest.mark.django_db
def test_pasted_text_fills_the_form_and_saves_nothing(client: Client) -> None:
    carrier = HttpResponse()
    sessions.log_in(carrier, builders.member())
    client.cookies[sessions.COOKIE] = carrier.cookies[sessions.COOKIE].value
    sent = {
        "paste": CASES[0][0],
        "read": "1",
        "street": "先前写的",
        "default": "1",
        "next": "/checkout/?from=cart",
    }
    page = client.post("/addresses/new/", sent)
    text = page.content.decode()
    assert page.status_code == 200
    for value in ("张三", "13800000001", "浙江省", "杭州市", "西湖区"):
        assert f'value="{value}"' in text
    assert "文三路1号翠苑小区3幢502</textarea>" in text
    assert 'name="next" value="/checkout/?from=cart"' in text
    assert not Address.objects.exists()
    confused = client.post(
        "/addresses/new/", {"paste": "<b>你好</b>", "read": "1", "receiver": "李雷"}
    ).content.decode()
    assert 'value="李雷"' in confused
    assert "&lt;b&gt;你好" in confused
    # Enter in a field presses the first button: without pasted text that means saving.
    typed = {
        "receiver": "李雷",
        "phone": "13800000002",
        "province": "上海市",
        "city": "上海市",
        "street": "延平路 1 号",
    }
    assert client.post("/addresses/new/", {**typed, "paste": " ", "read": "1"}).status_code == 302
    assert Address.objects.get().receiver == "李雷"
