// Chats: who they are with, their list, and one of them with menus and input.
import { clockText, el, fullText, icon, linked, whenText } from "/sandbox/static/dom.js";
import { openPage } from "/sandbox/static/browser.js";
import { act, face, go, now, phone, top, tryTo } from "/sandbox/static/state.js";

// A chat is known by a key: an account's key, `guide:<account>:<userid>`, `group:<chat_id>`, `pay`, `service`.
export function chatKey(message) {
  if (message.kind === "payment") return "pay";
  if (message.chat_id) return `group:${message.chat_id}`;
  if (message.userid) return `guide:${message.account}:${message.userid}`;
  if (message.channel === "subscribe") {
    const account = phone.accounts.find((one) => one.key === message.account);
    if (account && !account.following) return "service";
  }
  return message.account;
}

export function chatWith(key) {
  if (key === "pay") return { key, name: "微信支付", tile: "pay", tint: "" };
  if (key === "sms") return { key, name: "短信", tile: "chat", tint: "grey" };
  if (key === "service") return { key, name: "服务通知", tile: "bell", tint: "orange" };
  const [kind, ...rest] = key.split(":");
  if (kind === "group") {
    const group = phone.groups.find((one) => one.chat_id === rest[0]);
    return { key, name: group ? `${group.name}(${group.count})` : "群聊", tile: "group", tint: "blue" };
  }
  if (kind === "guide") {
    const contact = phone.contacts.find((one) => one.account === rest[0] && one.userid === rest[1]);
    return { key, name: contact ? contact.name : rest[1], corp: contact ? contact.corp : "", avatar: `member/${rest[0]}/${rest[1]}`, contact };
  }
  const account = phone.accounts.find((one) => one.key === key);
  return { key, name: account ? account.name : key, avatar: `account/${key}`, account };
}

const messagesOf = (key) => phone.messages.filter((one) => chatKey(one) === key);
const isNew = (message) => !message.read && message.channel !== "sent";
export const unread = () => phone.messages.filter(isNew).length;

export const summary = (message) => {
  const label = { template: "[服务通知] ", news: "[链接] ", image: "[图片]", voice: "[语音]", video: "[视频]", payment: "" }[message.kind] || "";
  return label + String(message.text || "").replace(/<[^>]+>/g, "");
};

export const portrait = (chat) => (chat.tile ? el("span", { class: `tile ${chat.tint}` }, icon(chat.tile)) : face(chat.avatar));

export function listChats() {
  const keys = new Set(phone.messages.map(chatKey));
  phone.accounts.filter((one) => one.following).forEach((one) => keys.add(one.key));
  phone.contacts.forEach((one) => keys.add(`guide:${one.account}:${one.userid}`));
  phone.groups.forEach((one) => keys.add(`group:${one.chat_id}`));
  const chats = [...keys].map((key) => {
    const messages = messagesOf(key);
    const last = messages[messages.length - 1];
    return { ...chatWith(key), last, at: last ? last.at : 0, fresh: messages.filter(isNew).length };
  }).sort((one, other) => other.at - one.at);
  const rows = chats.map((chat) => el("button", { class: "row", test: `chat-${chat.key}`, onclick: () => openChat(chat.key) },
    el("span", { class: "face" }, portrait(chat), chat.fresh ? el("span", { class: "dot", test: "unread" }, chat.fresh > 99 ? "99+" : String(chat.fresh)) : null),
    el("div", {}, el("strong", {}, chat.name, chat.corp ? el("span", { class: "tag" }, `＠${chat.corp}`) : null), el("small", {}, chat.last ? summary(chat.last) : "开始聊天吧")),
    el("time", {}, chat.at ? whenText(chat.at, now()) : "")));
  const empty = el("div", { class: "empty-note" }, el("p", {}, "还没有聊天。扫一个码，关注公众号或添加导购。"),
    el("button", { class: "button", onclick: () => go({ kind: "scan" }), test: "scan-open-empty" }, "扫一扫"));
  return el("div", { class: "body", test: "chat-list" }, ...(rows.length ? rows : [empty]));
}

export function openChat(key) {
  go({ kind: "chat", key });
}

export function markRead(key) {
  const fresh = messagesOf(key).filter(isNew);
  if (!fresh.length) return;
  fresh.forEach((one) => { one.read = true; });
  act("read", { ids: fresh.map((one) => one.id) }).catch(() => {});
}

let typingWith = false; // whether the keyboard is shown in a chat that has a menu

export function chatPage(key) {
  const chat = chatWith(key);
  markRead(key);
  const messages = messagesOf(key);
  const talk = el("div", { class: "talk", test: "talk" });
  let before = 0;
  for (const message of messages) {
    if (message.at - before > 300) talk.append(el("span", { class: "when" }, `${whenText(message.at, now())}${whenText(message.at, now()) === clockText(message.at) ? "" : ` ${clockText(message.at)}`}`));
    before = message.at;
    talk.append(messageNode(message, chat));
  }
  if (phone.typing === key) talk.append(el("span", { class: "typing" }, "对方正在输入…"));
  const right = chat.account
    ? el("button", { onclick: () => go({ kind: "account", key, from: { kind: "chat", key } }), "aria-label": "公众号资料", test: "account-open" }, icon("me"))
    : chat.contact
      ? el("button", { onclick: () => go({ kind: "contact", key, from: { kind: "chat", key } }), "aria-label": "联系人资料", test: "contact-open" }, icon("more"))
      : null;
  const nodes = [top(chat.name, { back: () => go(null), right }), talk];
  if (chat.account && chat.account.following) nodes.push(composer(chat));
  else if (chat.account) {
    nodes.push(el("div", { class: "composer" }, el("button", { class: "button wide", test: "follow", onclick: () => follow(key) }, "关注公众号")));
  } else if (chat.contact) nodes.push(composer(chat));
  requestAnimationFrame(() => { talk.scrollTop = talk.scrollHeight; });
  return nodes;
}

export const follow = (key) => tryTo(() => act("follow", { account: key }));

function composer(chat) {
  const menu = (chat.account && chat.account.menu) || [];
  if (menu.length && typingWith !== chat.key) {
    return el("div", { class: "composer" },
      el("button", { class: "switch", "aria-label": "打字", test: "menu-keyboard", onclick: () => { typingWith = chat.key; phone.render(); } }, icon("keyboard")),
      el("div", { class: "menu-bar" }, ...menu.map((button) => menuButton(chat, button))));
  }
  const input = el("input", { name: "text", maxlength: 600, autocomplete: "off", "aria-label": "输入消息", test: "chat-input", placeholder: "发消息" });
  const send = async (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text) return;
    input.value = "";
    const given = chat.contact ? { account: chat.contact.account, userid: chat.contact.userid, text } : { account: chat.key, text };
    await tryTo(() => act("message", given));
  };
  return el("div", { class: "composer" },
    menu.length ? el("button", { class: "switch", "aria-label": "菜单", test: "menu-show", onclick: () => { typingWith = false; phone.render(); } }, icon("menu")) : null,
    el("form", { onsubmit: send }, input, el("button", { test: "chat-send" }, "发送")));
}

function menuButton(chat, button) {
  const children = button.sub_button || [];
  const holder = el("div");
  const tap = (one) => async () => {
    holder.querySelector(".sub-menu")?.remove();
    if (one.type === "view") {
      tryTo(() => act("menu", { account: chat.key, url: one.url }));
      openPage(one.url, one.name);
    } else if (one.type === "click") await tryTo(() => act("menu", { account: chat.key, key: one.key }));
  };
  const toggle = () => {
    const shown = holder.querySelector(".sub-menu");
    document.querySelectorAll(".sub-menu").forEach((one) => one.remove());
    if (shown) return;
    holder.append(el("div", { class: "sub-menu" }, ...children.map((one) => el("button", { test: "menu-item", onclick: tap(one) }, one.name))));
  };
  holder.append(children.length
    ? el("button", { test: "menu-item", onclick: toggle, "aria-haspopup": "true" }, icon("menu"), button.name)
    : el("button", { test: "menu-item", onclick: tap(button) }, button.name));
  return holder;
}

// --- one message ----------------------------------------------------------------------------------

function messageNode(message, chat) {
  const mine = message.channel === "sent";
  if (message.kind === "template" || message.kind === "payment") return noticeCard(message);
  if (message.channel === "notice") return el("div", { class: "system", test: "message" }, ...linked(message.text, openPage));
  if (message.kind === "news" && ["mass", "reply"].includes(message.channel)) return newsCard(message);
  if (chat.tile) return el("div", { class: "message", test: "message" }, portrait(chat), inner(message, chat));
  const from = mine ? phone.person : message.userid ? `member/${message.account}/${message.userid}` : chat.avatar || `account/${message.account}`;
  return el("div", { class: mine ? "message mine" : "message", test: "message" }, face(from), inner(message, chat));
}

function inner(message, chat) {
  if (message.kind === "news") return linkCard(message);
  if (message.kind === "image") {
    return el("img", { class: "picture", src: message.picurl || `/sandbox/media/${message.media_id}`, alt: "图片" });
  }
  if (message.kind === "msgmenu") {
    return el("div", { class: "bubble" }, message.text,
      el("div", { class: "choices" }, ...message.choices.map((one) => el("button", {
        test: "msgmenu-choice", onclick: () => tryTo(() => act("message", { account: chat.key, text: one.content, menu_choice: one.id })),
      }, one.content))), message.tail);
  }
  if (message.kind === "miniprogram" || message.kind === "miniprogrampage") {
    return el("div", { class: "card small" }, el("strong", {}, message.text), el("p", {}, "小程序"));
  }
  return el("div", { class: "bubble" }, ...linked(message.text || `[${message.kind}]`, openPage));
}

const opens = ({ url, title }) => (url ? { href: url, onclick: (event) => { event.preventDefault(); openPage(url, title); } } : {});

function linkCard(message) {
  const one = message.articles[0];
  return el("a", { class: "card small", test: "message-card", ...opens(one) },
    el("strong", {}, one.title), el("p", {}, one.description), one.picurl ? el("img", { src: one.picurl, alt: "" }) : el("span", { class: "tile grey" }, icon("bag")));
}

function newsCard(message) {
  const [first, ...rest] = message.articles;
  return el("div", { class: "card wide", test: "message" },
    el("a", { class: "card", test: "message-card", ...opens(first) },
      first.picurl ? el("img", { class: "cover", src: first.picurl, alt: "" }) : null,
      el("div", { class: "lead" }, el("strong", {}, first.title), first.description ? el("p", {}, first.description) : null)),
    ...rest.map((one) => el("a", { class: "more card", test: "message-card", ...opens(one) }, el("span", {}, one.title), one.picurl ? el("img", { src: one.picurl, alt: "" }) : null)));
}

function noticeCard(message) {
  const account = phone.accounts.find((one) => one.key === message.account);
  const open = message.link ? () => openPage(message.link) : undefined;
  return el(open ? "button" : "div", { class: "notice-card", test: "message", onclick: open, title: fullText(message.at) },
    el("header", {}, el("img", { src: `/sandbox/avatar/account/${message.account}.svg`, alt: "" }), account ? account.name : message.account),
    el("h3", {}, message.text),
    el("dl", {}, ...Object.entries(message.data || {}).flatMap(([name, value]) => [el("dt", {}, label(name)), el("dd", {}, value)])),
    open ? el("footer", {}, "查看详情", icon("right")) : null);
}

const LABELS = { thing: "内容", number: "数量", amount: "金额", time: "时间", date: "日期", phrase: "状态", character_string: "编号", name: "姓名", phone_number: "电话", keyword: "内容", const: "内容" };
const label = (name) => LABELS[name.replace(/[\d]+$/, "")] || name;
