// The phone: who holds it, its tabs and pages, and the news that arrives.
import { call, clockText, el, fullText, get, icon, post, untouched } from "/sandbox/static/dom.js";
import { chatKey, chatPage, chatWith, follow, listChats, markRead, openChat, portrait, summary, unread } from "/sandbox/static/chats.js";
import { closePage, learnTemplates, openPage, paySheet } from "/sandbox/static/browser.js";
import { guideScreen, loadGuide } from "/sandbox/static/guide.js";
import { act, box, closeSheet, face, go, load, now, openSheet, phone, sheetHead, toast, top, tryTo } from "/sandbox/static/state.js";

let people = [];
let guides = [];
let source = null;

// --- who holds the phone ----------------------------------------------------------------------------

async function loadPeople() {
  people = await get(`people?limit=200&q=${encodeURIComponent(box("find-person").value.trim())}`);
  if (people.length > 12 || (await get("state")).people > people.length) box("find-person").hidden = false;
  guides = [];
  for (const account of (await get("accounts")).filter((one) => one.kind === "work")) {
    for (const member of await get(`members?account=${encodeURIComponent(account.key)}`)) guides.push({ ...member, corp: account.name });
  }
  showPeople();
}

function showPeople() {
  box("people").replaceChildren(...people.map((one) => el("button", {
    "aria-pressed": String(!phone.guide && one.id === phone.person), test: "person-select", data: { person: one.id }, onclick: () => holdAs(one.id),
  }, face(one.id), el("span", {}, one.name))));
  box("guides").replaceChildren(...guides.map((one) => el("button", {
    "aria-pressed": String(phone.guide?.userid === one.userid && phone.guide?.account === one.account), test: "guide-select", data: { guide: one.userid }, onclick: () => holdAsGuide(one),
  }, face(`member/${one.account}/${one.userid}`), el("span", {}, one.name))));
}

async function holdAs(id) {
  closePage();
  closeSheet();
  phone.guide = null;
  phone.person = id;
  phone.page = null;
  phone.tab = "chats";
  // The login page inside of the phone knows the person by this cookie.
  document.cookie = `sandbox_person=${encodeURIComponent(id)}; path=/; SameSite=Lax; max-age=31536000`;
  history.replaceState(null, "", `/?person=${encodeURIComponent(id)}`);
  await load();
  listen(id);
  showPeople();
  phone.render();
}

async function holdAsGuide(member) {
  closePage();
  closeSheet();
  phone.guide = member;
  phone.customer = null;
  // The login inside of WeCom knows the colleague by this cookie.
  document.cookie = `sandbox_guide=${encodeURIComponent(`${member.account}|${member.userid}`)}; path=/; SameSite=Lax; max-age=31536000`;
  phone.page = null;
  history.replaceState(null, "", `/?guide=${encodeURIComponent(member.userid)}`);
  await loadGuide();
  listen(`guide:${member.account}:${member.userid}`);
  showPeople();
  phone.render();
}

box("find-person").addEventListener("input", () => tryTo(loadPeople));

async function addPerson(event) {
  event.preventDefault();
  const name = new FormData(event.target).get("name").trim();
  if (!name) return;
  event.target.reset();
  const made = await tryTo(() => post("people", { name }));
  if (made) { await loadPeople(); await holdAs(made.id); }
}

box("new-person").addEventListener("submit", addPerson);

// --- news -------------------------------------------------------------------------------------------

function listen(who) {
  source?.close();
  source = new EventSource(`/sandbox/api/stream/${encodeURIComponent(who)}`);
  let opened = false;
  source.onopen = async () => {
    // After a lost connection the phone may have missed something.
    if (opened) { await (phone.guide ? loadGuide() : load()); await untouched(); phone.render(); }
    opened = true;
  };
  source.onmessage = (event) => hear(JSON.parse(event.data));
}

async function hear(news) {
  if (news.type === "clock") { phone.skew = news.now - Date.now() / 1000; showClock(); return; }
  if (phone.guide) { await loadGuide(); await untouched(); phone.render(); return; }
  await untouched();
  if (news.type === "message") { arrive(news.message); return; }
  if (news.type === "typing") { phone.typing = news.on ? news.account : ""; phone.render(); return; }
  if (news.type === "reset") { await loadPeople(); if (people.length) await holdAs(people[0].id); return; }
  await load();
  await untouched();
  phone.render();
}

let bannerTimer = 0;
function arrive(message) {
  phone.messages.push(message);
  const key = chatKey(message);
  phone.typing = "";
  const reading = phone.page?.kind === "chat" && phone.page.key === key && box("browser").hidden;
  if (reading) markRead(key);
  else if (message.channel !== "sent" && message.kind !== "payment") showBanner(message, key);
  phone.render();
}

function showBanner(message, key) {
  const banner = box("banner"), chat = chatWith(key);
  banner.replaceChildren(portrait(chat), el("div", {}, el("strong", {}, chat.name), el("span", {}, summary(message))));
  banner.hidden = false;
  banner.onclick = () => { banner.hidden = true; closePage(); openChat(key); };
  clearTimeout(bannerTimer);
  bannerTimer = setTimeout(() => { banner.hidden = true; }, 2600);
}

// --- tabs and pages ---------------------------------------------------------------------------------

const TABS = { chats: ["微信", "chat"], contacts: ["通讯录", "book"], find: ["发现", "compass"], me: ["我", "me"] };

phone.render = () => {
  const screen = box("screen");
  box("device").classList.toggle("work", Boolean(phone.guide));
  const kept = screen.querySelector(".composer input");
  const draft = kept ? kept.value : "", focused = kept && document.activeElement === kept;
  const scroll = screen.querySelector(".body")?.scrollTop || 0;
  if (phone.guide) screen.replaceChildren(...guideScreen());
  else if (!phone.person) screen.replaceChildren(el("p", { class: "empty-note" }, "先添加一个人。"));
  else if (phone.page) screen.replaceChildren(...PAGES[phone.page.kind](phone.page.key));
  else screen.replaceChildren(...tabScreen());
  const input = screen.querySelector(".composer input");
  if (input && draft) input.value = draft;
  if (input && focused) input.focus();
  const body = screen.querySelector(".body");
  if (body) body.scrollTop = scroll;
  const count = unread();
  document.title = !phone.guide && count ? `(${count}) 沙箱手机 · 池塘` : "沙箱手机 · 池塘";
};

function tabScreen() {
  const fresh = unread();
  const scan = el("button", { "aria-label": "扫一扫", test: "scan-open", onclick: () => go({ kind: "scan" }) }, icon("plus"));
  const bodies = { chats: listChats, contacts: contactList, find: findList, me: mePage };
  const bar = el("nav", { class: "tabs", "aria-label": "微信" }, ...Object.entries(TABS).map(([key, [name, shape]]) =>
    el("button", { "aria-current": key === phone.tab ? "page" : null, test: `tab-${key}`, onclick: () => { phone.tab = key; phone.render(); } },
      icon(shape), name, key === "chats" && fresh ? el("span", { class: "dot" }, String(fresh)) : null)));
  return [top(TABS[phone.tab][0], { right: scan }), bodies[phone.tab](), bar];
}

const slim = (test, picture, title, note, work) => el("button", { class: "row slim", test, onclick: work },
  el("span", { class: "face" }, picture), el("div", {}, el("strong", {}, title), note ? el("small", {}, note) : null), icon("right"));

function contactList() {
  const guideRows = phone.contacts.map((one) => slim(`contact-${one.userid}`, face(`member/${one.account}/${one.userid}`), one.name, `＠${one.corp}`,
    () => openChat(`guide:${one.account}:${one.userid}`)));
  const groupRows = phone.groups.map((one) => slim("group-open", el("span", { class: "tile blue" }, icon("group")), one.name, `${one.count} 人`, () => openChat(`group:${one.chat_id}`)));
  const accountRows = phone.accounts.map((one) => slim(`account-${one.key}`, face(`account/${one.key}`), one.name,
    `${one.kind === "service" ? "服务号" : "订阅号"}${one.following ? " · 已关注" : ""}`, () => go({ kind: "account", key: one.key })));
  return el("div", { class: "body grey" },
    el("h2", { class: "heading" }, "导购"), ...(guideRows.length ? guideRows : [slim("guide-add", el("span", { class: "tile orange" }, icon("plus")), "添加导购", "扫码，或直接添加", () => go({ kind: "guides" }))]),
    ...(guideRows.length ? [slim("guide-add", el("span", { class: "tile orange" }, icon("plus")), "添加导购", "", () => go({ kind: "guides" }))] : []),
    el("h2", { class: "heading" }, "群聊"), ...groupRows, slim("group-join", el("span", { class: "tile blue" }, icon("group")), "加入客户群", "", () => go({ kind: "groups" })),
    el("h2", { class: "heading" }, "公众号"), ...accountRows);
}

function findList() {
  return el("div", { class: "body grey" },
    slim("find-scan", el("span", { class: "tile" }, icon("scan")), "扫一扫", "关注公众号、添加导购、打开网页", () => go({ kind: "scan" })),
    slim("find-address", el("span", { class: "tile blue" }, icon("compass")), "打开网址", "在手机里打开任意网页", askAddress));
}

function askAddress() {
  const input = el("input", { value: "http://127.0.0.1:8000/", "aria-label": "网址", test: "address-input", inputmode: "url" });
  const open = (event) => { event.preventDefault(); closeSheet(); openPage(input.value.trim()); };
  openSheet(sheetHead("打开网址", closeSheet), el("form", { class: "field", onsubmit: open }, input, el("button", { class: "button", test: "address-open" }, "打开")));
  input.select();
}

function mePage() {
  const who = phone.who;
  const snapshot = el("input", { type: "checkbox", checked: who.snapshot, "aria-label": "快照页模式", test: "snapshot" });
  snapshot.addEventListener("change", () => tryTo(async () => { phone.who = await act("settings", { snapshot: snapshot.checked }); }));
  const choose = el("select", { "aria-label": "换一个人", test: "me-switch" }, ...people.map((one) => el("option", { value: one.id, selected: one.id === phone.person }, one.name)),
    ...guides.map((one) => el("option", { value: `guide:${one.account}:${one.userid}` }, `导购 ${one.name}`)));
  choose.addEventListener("change", () => {
    const guide = guides.find((one) => `guide:${one.account}:${one.userid}` === choose.value);
    if (guide) holdAsGuide(guide); else holdAs(choose.value);
  });
  return el("div", { class: "body grey" },
    el("div", { class: "profile" }, face(who.id), el("div", {}, el("h2", {}, who.name), el("p", {}, `unionid ${who.unionid || "—"}`))),
    el("div", { class: "block" },
      el("div", { class: "setting" }, el("span", {}, "换一个人"), choose),
      el("form", { class: "field", onsubmit: addPerson }, el("input", { name: "name", maxlength: 12, placeholder: "新朋友的名字", "aria-label": "新朋友的名字", test: "me-person-name", required: true }), el("button", { class: "button", test: "me-person-create" }, "添加")),
      el("label", { class: "setting" }, el("span", {}, "快照页模式", el("small", {}, "网页登录得到虚拟账号，商城应当拒绝")), snapshot)),
    el("div", { class: "block" }, ...who.addresses.map((one) => el("div", { class: "setting" }, el("span", {}, `收货地址 · ${one.userName}`, el("small", {}, `${one.cityName}${one.countryName}${one.detailInfo}`))))),
    el("div", { class: "block" }, el("a", { class: "button plain wide", href: "/control" }, "控制台：时间、故障、回调")));
}

// --- pages ------------------------------------------------------------------------------------------

const PAGES = { chat: chatPage, account: accountPage, contact: contactPage, scan: scanPage, guides: guidesPage, groups: groupsPage };

const leave = () => go(phone.page.from || null);

function accountPage(key) {
  const account = phone.accounts.find((one) => one.key === key);
  const nodes = [el("div", { class: "profile" }, face(`account/${key}`), el("div", {}, el("h2", {}, account.name), el("p", {}, account.kind === "service" ? "服务号 · 已认证" : "订阅号 · 已认证")))];
  if (account.following) {
    const blocked = el("input", { type: "checkbox", "aria-label": "接收消息", checked: true });
    blocked.addEventListener("change", () => tryTo(() => act("block", { account: key, blocked: !blocked.checked })));
    nodes.push(el("div", { class: "block" }, el("label", { class: "setting" }, "接收消息", blocked),
      el("button", { class: "button wide", onclick: () => openChat(key), test: "account-chat" }, "发消息"),
      el("button", { class: "button danger wide", test: "unfollow", onclick: async () => { await tryTo(() => act("unfollow", { account: key })); } }, "取消关注")));
  } else {
    nodes.push(el("div", { class: "block" }, el("button", { class: "button wide", test: "follow", onclick: async () => { await follow(key); await load(); openChat(key); } }, "关注公众号")));
  }
  return [top("公众号", { back: leave }), el("div", { class: "body grey" }, ...nodes)];
}

function contactPage(key) {
  const chat = chatWith(key);
  if (!chat.contact) return [top("联系人", { back: () => go(null) }), el("div", { class: "body grey" })];
  const remove = async () => {
    await tryTo(() => act("delete_contact", { account: chat.contact.account, userid: chat.contact.userid }));
    await load();
    go(null);
  };
  return [top("联系人", { back: leave }), el("div", { class: "body grey" },
    el("div", { class: "profile" }, face(chat.avatar), el("div", {}, el("h2", {}, chat.name), el("p", {}, `企业微信 · ${chat.corp}`))),
    el("div", { class: "block" }, el("button", { class: "button danger wide", test: "contact-delete", onclick: remove }, "删除联系人")))];
}

function scanPage() {
  const holder = el("div", { class: "codes", test: "codes" });
  const input = el("input", { placeholder: "粘贴二维码内容、网址或 ticket", "aria-label": "二维码内容", test: "scan-text" });
  get("codes").then((codes) => {
    if (!codes.length) holder.replaceWith(el("p", { class: "empty-note" }, "还没有二维码。在商城后台生成渠道码，或在通讯录里直接关注。"));
    holder.replaceChildren(...codes.map((one) => el("button", { class: one.expired ? "expired" : "", test: "code", data: { note: one.note, code: one.code }, onclick: () => scanned(one.code) },
      el("img", { src: one.picture, alt: `${one.name} ${one.note}`, loading: "lazy" }), el("strong", {}, one.name), el("small", {}, one.expired ? "已过期" : one.note || "无备注"))));
  });
  const paste = (event) => { event.preventDefault(); if (input.value.trim()) scanned(input.value.trim()); };
  return [top("扫一扫", { back: () => go(null) }), el("div", { class: "body" }, el("div", { class: "block" },
    el("form", { class: "field", onsubmit: paste }, input, el("button", { class: "button", test: "scan-done" }, "识别")), holder))];
}

async function scanned(code) {
  const found = await tryTo(() => act("scan", { code }));
  if (!found) return;
  await load();
  if (found.kind === "link") { go(null); openPage(found.url); }
  else if (found.kind === "pay") { go(null); paySheet({ code: found.code }); }
  else openChat(found.kind === "guide" ? `guide:${found.account}:${found.userid}` : found.account);
}

function guidesPage() {
  const add = (one) => async () => {
    if (!await tryTo(() => act("add_contact", { account: one.account, userid: one.userid }))) return;
    await load();
    openChat(`guide:${one.account}:${one.userid}`);
  };
  return [top("添加导购", { back: () => go(null) }), el("div", { class: "body grey" },
    ...guides.map((one) => slim(`guide-${one.userid}`, face(`member/${one.account}/${one.userid}`), one.name, `＠${one.corp}`, add(one))))];
}

function groupsPage() {
  const holder = el("div", { class: "body grey" }, el("p", { class: "empty-note" }, "正在读取…"));
  const join = (group) => async () => {
    if (!await tryTo(() => act("join_group", { chat_id: group.chat_id }))) return;
    await load();
    openChat(`group:${group.chat_id}`);
  };
  const leaveGroup = (group) => async () => {
    await tryTo(() => act("leave_group", { chat_id: group.chat_id }));
    await load();
    go({ kind: "groups" });
  };
  get("groups").then((rows) => {
    const mine = new Set(phone.groups.map((one) => one.chat_id));
    holder.replaceChildren(...rows.map((one) => slim("group-row", el("span", { class: "tile blue" }, icon("group")), one.name,
      mine.has(one.chat_id) ? `${one.members.length} 人 · 点按退出` : `${one.members.length} 人 · 点按加入`, mine.has(one.chat_id) ? leaveGroup(one) : join(one))));
    if (!rows.length) holder.replaceChildren(el("p", { class: "empty-note" }, "还没有客户群。导购可以在自己的手机上建群。"));
  });
  return [top("客户群", { back: () => go(null) }), holder];
}

// --- the desk beside the phone ----------------------------------------------------------------------

function showClock() {
  box("clock").textContent = fullText(now());
  box("status-time").textContent = clockText(now());
}

document.querySelectorAll("[data-advance]").forEach((button) => button.addEventListener("click", () => tryTo(async () => {
  const moved = await post("clock", { advance_seconds: Number(button.dataset.advance) });
  phone.skew = moved.now - Date.now() / 1000;
  showClock();
  phone.render();
})));

const STATUS = { delivered: "已送达", failed: "失败", lost: "已丢失", waiting: "待重试", sending: "发送中" };

async function showFeed() {
  if (document.hidden || getComputedStyle(document.querySelector(".panel-right")).display === "none") return;
  const rows = await get("callbacks?limit=12").catch(() => []);
  box("feed").replaceChildren(...(rows.length ? rows.map((one) => el("li", { class: one.status, title: STATUS[one.status] },
    el("i"), el("span", {}, `${one.event} · ${one.account}`), el("time", {}, clockText(one.created)))) : [el("li", { class: "empty" }, "还没有回调")]));
}

document.addEventListener("click", (event) => {
  if (!event.target.closest(".menu-bar")) document.querySelectorAll(".sub-menu").forEach((one) => one.remove());
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !box("sheet").hidden) box("sheet").querySelector("header button")?.click();
});

async function start() {
  await Promise.all([loadPeople(), learnTemplates()]);
  const asked = new URLSearchParams(location.search);
  const guide = guides.find((one) => one.userid === asked.get("guide"));
  const cookie = document.cookie.match(/(?:^|; )sandbox_person=([^;]*)/);
  const wanted = asked.get("person") || (cookie ? decodeURIComponent(cookie[1]) : "");
  let known = people.find((one) => one.id === wanted);
  // There may be more people than the list shows.
  if (!known && wanted) known = await call("GET", `people/${encodeURIComponent(wanted)}`).catch(() => null);
  if (guide) await holdAsGuide(guide);
  else if (known || people.length) await holdAs((known || people[0]).id);
  else phone.render();
  showClock();
  setInterval(showClock, 1000);
  showFeed();
  setInterval(showFeed, 2500);
}

start().catch((problem) => toast(problem.message));
