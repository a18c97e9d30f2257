// Pages inside of the phone, and what the JS-SDK asks for: payment sheet, addresses, subscriptions.
import { el, icon, post, yuan } from "/sandbox/static/dom.js";
import { act, box, closeSheet, openSheet, phone, sheetHead, toast, tryTo } from "/sandbox/static/state.js";

let frame = null;
let steps = 0; // loads since the page was opened: how often "back" may go back
let goingBack = false;
let agent = false; // did wx.agentConfig of the page pass
let account = ""; // the Official Account whose signature the page showed

// `name` is shown until the page tells its title: the menu button or the card that was tapped.
export function openPage(url, name) {
  closePage();
  let host = "";
  try { host = new URL(url).host; } catch { toast("网址打不开"); return; }
  const title = el("h1", { test: "browser-title" }, name || host);
  const progress = el("div", { class: "progress" });
  frame = el("iframe", { name: "phone-browser", title: "手机里的网页", allow: "clipboard-write", test: "phone-browser" });
  steps = 0;
  account = "";
  agent = false;
  frame.addEventListener("load", () => {
    progress.hidden = true;
    if (goingBack) goingBack = false; else steps += 1;
  });
  const head = el("header", { class: "top" },
    el("div", {},
      el("button", { onclick: closePage, "aria-label": "关闭网页", test: "browser-close" }, icon("close")),
      el("button", { onclick: back, "aria-label": "返回", test: "browser-back" }, icon("back"))),
    title,
    el("div", { class: "right" }, el("button", { onclick: () => pageMenu(url, name), "aria-label": "更多", test: "browser-more" }, icon("more"))));
  // The address is set before the frame is shown, or its empty page would count as a step.
  frame.src = url;
  box("browser").replaceChildren(head, progress, frame);
  box("browser").hidden = false;
}

export function closePage() {
  box("browser").hidden = true;
  box("browser").replaceChildren();
  frame = null;
}

function back() {
  if (steps > 1) {
    // The frame shares the window's history; its own is closed to us.
    steps -= 1;
    goingBack = true;
    history.back();
  } else closePage();
}

function pageMenu(url, name) {
  const choose = (work) => () => { closeSheet(); work(); };
  openSheet(sheetHead("网页", closeSheet), el("div", { class: "list-menu" },
    el("button", { onclick: choose(() => openPage(url, name)) }, "刷新"),
    el("button", { onclick: choose(() => window.open(url, "_blank", "noopener")) }, "用浏览器打开"),
    el("button", { onclick: choose(() => navigator.clipboard?.writeText(url).then(() => toast("已复制"))) }, "复制链接")));
}

// --- the JS-SDK -------------------------------------------------------------------------------------

window.addEventListener("message", async (event) => {
  const asked = event.data;
  if (!frame || event.source !== frame.contentWindow || !asked || asked.to !== "phone") return;
  const from = event.source, origin = event.origin;
  let result;
  try {
    result = await answer(asked);
  } catch (problem) {
    result = { errMsg: `${asked.call}:fail, ${problem.message}` };
  }
  from.postMessage({ to: "jweixin", id: asked.id, result }, origin);
});

async function answer({ call, given, url }) {
  switch (call) {
    case "config": {
      const checked = await post("jsapi/config", {
        appId: given.appId, timestamp: String(given.timestamp), nonceStr: given.nonceStr, signature: given.signature, url,
      });
      if (checked.account) account = checked.account;
      return { errMsg: checked.errMsg };
    }
    case "agentConfig": {
      agent = false;
      const checked = await post("jsapi/agent_config", {
        corpid: given.corpid, agentid: String(given.agentid), timestamp: String(given.timestamp), nonceStr: given.nonceStr, signature: given.signature, url,
      });
      agent = checked.errMsg === "agentConfig:ok";
      return { errMsg: checked.errMsg };
    }
    case "getCurExternalContact": case "getContext": {
      if (!agent) return { errMsg: `${call}:fail, no permission: agentConfig first` };
      if (call === "getContext") return { errMsg: "getContext:ok", entry: phone.guide && phone.customer ? "single_chat_tools" : "normal" };
      if (!phone.guide || !phone.customer) return { errMsg: "getCurExternalContact:fail, not in a chat with a customer" };
      return { errMsg: "getCurExternalContact:ok", userId: phone.customer.external_userid };
    }
    case "title": showTitle(given.title); return { errMsg: "title:ok" };
    case "chooseWXPay": return paySheet(given);
    case "openAddress": return addressSheet();
    case "requestSubscribeMessage": return subscribeSheet(given.tmplIds || []);
    case "closeWindow": setTimeout(closePage, 0); return { errMsg: "closeWindow:ok" };
    case "scanQRCode": return askForCode(given);
    case "previewImage": window.open(given.current, "_blank", "noopener"); return { errMsg: "previewImage:ok" };
    case "getNetworkType": return { errMsg: "getNetworkType:ok", networkType: "wifi" };
    case "getLocation": return { errMsg: "getLocation:ok", latitude: 31.2304, longitude: 121.4737, accuracy: 30 };
    case "hideMenuItems": case "showMenuItems": case "hideOptionMenu": case "showOptionMenu": case "openLocation":
    case "hideAllNonBaseMenuItem": case "showAllNonBaseMenuItem": case "updateAppMessageShareData": case "updateTimelineShareData":
      return { errMsg: `${call}:ok` };
    default: return { errMsg: `${call}:fail, the sandbox does not know this call` };
  }
}

function showTitle(title) {
  const head = box("browser").querySelector("h1");
  if (head && title) head.textContent = String(title).slice(0, 40);
}

// `given` is what a page asked with, or {code}: a scanned QR code.
export function paySheet(given) {
  const parameters = given.code ? { code: given.code } : {
    appId: given.appId, timeStamp: given.timeStamp, nonceStr: given.nonceStr,
    package: given.package, signType: given.signType, paySign: given.paySign,
  };
  const words = (outcome, reason) => ({
    err_msg: `get_brand_wcpay_request:${outcome}`, errMsg: `chooseWXPay:${outcome === "cancel" ? "cancel" : outcome}`, reason,
  });
  return new Promise((done) => {
    const finish = (outcome, reason) => { closeSheet(); done(words(outcome, reason)); };
    act("pay", { ...parameters, outcome: "look" }).then((order) => {
      if (order.err_msg) {
        openSheet(sheetHead("微信支付", () => finish("fail", order.reason), "pay-cancel"),
          el("div", { class: "paid" }, el("p", { test: "pay-problem" }, order.reason),
            el("button", { class: "button plain", onclick: () => finish("fail", order.reason), test: "pay-problem-close" }, "知道了")));
        return;
      }
      const dots = el("div", { class: "dots", "aria-hidden": "true" }, ...Array.from({ length: 6 }, () => el("i")));
      const confirm = el("button", { class: "button wide", test: "pay-confirm" }, "确认支付");
      confirm.addEventListener("click", async () => {
        confirm.disabled = true;
        for (const dot of dots.children) { dot.classList.add("on"); await new Promise((next) => setTimeout(next, 45)); }
        const paid = await tryTo(() => act("pay", { ...parameters, outcome: "success" }));
        if (!paid) { confirm.disabled = false; return; }
        if (paid.err_msg !== "get_brand_wcpay_request:ok") { toast(paid.reason); finish("fail", paid.reason); return; }
        openSheet(el("div", { class: "paid", test: "pay-done" }, el("div", { class: "tick" }, icon("check")),
          el("strong", {}, "支付成功"), el("p", { class: "pay-amount" }, yuan(order.amount_fen)), el("small", {}, order.merchant)));
        setTimeout(() => finish("ok"), 900);
      });
      openSheet(sheetHead("微信支付", () => finish("cancel"), "pay-cancel"),
        el("p", { class: "pay-merchant", test: "pay-merchant" }, `付款给 ${order.merchant}`),
        el("p", { class: "pay-amount", test: "pay-amount" }, yuan(order.amount_fen)),
        el("div", { class: "pay-line" }, el("span", {}, "商品"), el("span", {}, order.description)),
        el("div", { class: "pay-line" }, el("span", {}, "付款方式"), el("span", {}, "零钱（沙箱）")),
        dots, confirm);
      confirm.focus();
    }).catch((problem) => finish("fail", problem.message));
  });
}

function addressSheet() {
  return new Promise((done) => {
    const finish = (result) => { closeSheet(); done(result); };
    openSheet(sheetHead("选择收货地址", () => finish({ errMsg: "openAddress:cancel" }), "address-cancel"),
      ...phone.who.addresses.map((one) => el("button", {
        class: "address", test: "address-pick", onclick: () => finish({ errMsg: "openAddress:ok", ...one }),
      }, el("strong", {}, one.userName), el("small", {}, one.telNumber.replace(/^(\d{3})\d{4}/, "$1****")),
        el("p", {}, `${one.provinceName}${one.cityName}${one.countryName}${one.detailInfo}`))));
  });
}

function subscribeSheet(templates) {
  if (!account) return { errMsg: "requestSubscribeMessage:fail, wx.config first" };
  if (!templates.length || templates.length > 3) return { errMsg: "requestSubscribeMessage:fail, 1 to 3 templates" };
  return new Promise((done) => {
    const boxes = templates.map((template) => el("input", { type: "checkbox", checked: true, value: template, "aria-label": template }));
    const decide = async (allowed) => {
      const decisions = Object.fromEntries(boxes.map((one) => [one.value, allowed && one.checked]));
      closeSheet();
      await tryTo(() => act("subscribe", { account, decisions }));
      const results = Object.fromEntries(Object.entries(decisions).map(([template, accept]) => [template, accept ? "accept" : "reject"]));
      done({ errMsg: "requestSubscribeMessage:ok", ...results });
    };
    const known = phone.accounts.find((one) => one.key === account);
    openSheet(sheetHead("消息订阅", () => decide(false)),
      el("p", { class: "pay-merchant" }, `${known ? known.name : ""} 申请发送一次以下消息`),
      ...boxes.map((one) => el("label", { class: "choice" }, el("span", {}, templateName(one.value)), one)),
      el("div", { class: "pair" },
        el("button", { class: "button plain", onclick: () => decide(false), test: "subscribe-reject" }, "取消"),
        el("button", { class: "button", onclick: () => decide(true), test: "subscribe-accept" }, "允许")));
  });
}

const templateNames = new Map();
export async function learnTemplates() {
  const rows = await fetch("/sandbox/api/templates").then((answer) => answer.json()).catch(() => []);
  for (const row of rows) templateNames.set(row.template_id, row.title);
}
const templateName = (id) => templateNames.get(id) || `服务提醒（${id.slice(0, 8)}）`;

function askForCode(given) {
  return new Promise((done) => {
    const input = el("input", { placeholder: "条码或二维码内容", "aria-label": "条码内容", test: "code-text" });
    const finish = (result) => { closeSheet(); done(result); };
    openSheet(sheetHead("扫一扫", () => finish({ errMsg: "scanQRCode:cancel" })),
      el("div", { class: "field" }, input, el("button", {
        class: "button", test: "code-done",
        onclick: () => finish({ errMsg: "scanQRCode:ok", resultStr: input.value, needResult: given.needResult }),
      }, "确定")));
    input.focus();
  });
}
