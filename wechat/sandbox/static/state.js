// What the phone knows and where it is; the modules share this one object.
import { el, icon, get, post } from "/sandbox/static/dom.js";

export const phone = {
  person: null, // the person's id
  guide: null, // or {account, userid, name}: the guide whose phone this is
  customer: null, // the customer whose chat the guide is in
  who: null,
  accounts: [], contacts: [], groups: [], messages: [],
  skew: 0, // the sandbox's clock minus this machine's, in seconds
  tab: "chats",
  page: null, // {kind: "chat" | "account" | "scan"…, key}
  render: () => {},
};

export const now = () => Date.now() / 1000 + phone.skew;
export const box = (id) => document.getElementById(id);
export const face = (path) => el("img", { class: "avatar", src: `/sandbox/avatar/${path}.svg`, alt: "" });

let toastTimer = 0;
export function toast(text) {
  const node = box("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 2200);
}

export const go = (page) => { phone.page = page; phone.render(); };
export const act = (what, given) => post(`people/${phone.person}/${what}`, given);

// Do something a person does; what the sandbox refuses is shown in its words.
export async function tryTo(work) {
  try {
    return await work();
  } catch (problem) {
    toast(problem.message);
    return null;
  }
}

export async function load() {
  if (!phone.person) return;
  const known = await get(`people/${phone.person}/phone`);
  phone.who = known.person;
  phone.accounts = known.accounts;
  phone.contacts = known.contacts;
  phone.groups = known.groups;
  phone.messages = known.messages;
  phone.skew = known.now - Date.now() / 1000;
}

export function top(title, { back, right } = {}) {
  return el("header", { class: "top" },
    el("div", {}, back ? el("button", { onclick: back, "aria-label": "返回", test: "back" }, icon("back")) : null),
    el("h1", {}, title),
    el("div", { class: "right" }, right || null));
}

export function openSheet(...content) {
  const sheet = box("sheet");
  sheet.replaceChildren(el("div", { class: "sheet-box", role: "dialog", "aria-modal": "true" }, ...content));
  sheet.hidden = false;
}
export function closeSheet() {
  box("sheet").hidden = true;
  box("sheet").replaceChildren();
}
export const sheetHead = (title, close, test) => el("header", {},
  el("button", { onclick: close, "aria-label": "关闭", test: test || "sheet-close" }, icon("close")), el("h2", {}, title), el("span"));
