// A guide's phone: WeCom with mass tasks to confirm, customers and groups.
import { el, fullText, get, icon, post } from "/sandbox/static/dom.js";
import { openPage } from "/sandbox/static/browser.js";
import { face, phone, top, tryTo } from "/sandbox/static/state.js";

let tab = "tasks";
let tasks = [];
let customers = [];
let groups = [];

export async function loadGuide() {
  const { account, userid } = phone.guide;
  [tasks, customers, groups] = await Promise.all([
    get(`work_tasks?userid=${encodeURIComponent(userid)}`),
    get(`guides/${encodeURIComponent(userid)}/customers?account=${encodeURIComponent(account)}`),
    get("groups"),
  ]);
  tasks = tasks.filter((one) => one.account === account);
  groups = groups.filter((one) => one.account === account && one.owner === userid);
}

export function guideScreen() {
  const waiting = tasks.filter((one) => !one.cancelled && one.senders[phone.guide.userid].status === 0).length;
  const names = { tasks: ["群发任务", "bell"], customers: ["客户", "book"], groups: ["客户群", "group"] };
  const bodies = { tasks: taskList, customers: customerList, groups: groupList };
  const bar = el("nav", { class: "tabs", "aria-label": "导购" }, ...Object.entries(names).map(([key, [name, shape]]) =>
    el("button", { "aria-current": key === tab ? "page" : null, test: `guide-tab-${key}`, onclick: () => { tab = key; phone.render(); } },
      icon(shape), name, key === "tasks" && waiting ? el("span", { class: "dot" }, String(waiting)) : null)));
  return [top(`${phone.guide.name} · 企业微信`), bodies[tab](), bar];
}

function taskList() {
  if (!tasks.length) return el("div", { class: "body grey" }, el("p", { class: "empty-note" }, "没有群发任务。企业发起群发后，会在这里等你确认。"));
  return el("div", { class: "body grey", test: "task-list" }, ...tasks.map((task) => {
    const mine = task.senders[phone.guide.userid];
    const count = task.receivers.filter((one) => one.userid === phone.guide.userid).length;
    const links = task.attachments.filter((one) => one.msgtype === "link").map((one) => el("div", { class: "link-line" }, one.link.title));
    const unit = task.chat_type === "group" ? "个客户群" : "位客户";
    let foot = el("button", { class: "button blue wide", test: "task-confirm", onclick: () => confirm(task) }, `发送给 ${count} ${unit}`);
    if (mine.status === 2) foot = el("span", { class: "done-mark" }, `已发送 · ${fullText(mine.send_time)}`);
    else if (task.cancelled) foot = el("span", { class: "done-mark" }, "企业已取消");
    return el("article", { class: "task", test: "task" }, el("h3", {}, "企业群发消息"), el("small", {}, fullText(task.create_time)),
      task.text ? el("p", {}, task.text) : null, ...links, foot);
  }));
}

async function confirm(task) {
  await tryTo(() => post(`work_tasks/${task.msgid}/confirm`, { userid: phone.guide.userid }));
  await loadGuide();
  phone.render();
}

function customerList() {
  if (!customers.length) return el("div", { class: "body grey" }, el("p", { class: "empty-note" }, "还没有客户。请顾客扫你的联系我二维码。"));
  return el("div", { class: "body", test: "customer-list" }, ...customers.map((one) => el("button", { class: "row", test: "customer", data: { customer: one.external_userid }, onclick: () => openSidebar(one) },
    el("span", { class: "face" }, face(one.person)),
    el("div", {}, el("strong", {}, one.remark || one.name, one.deleted ? el("span", { class: "tag" }, "已删除你") : null),
      el("small", {}, [one.state && `来源 ${one.state}`, ...one.tags].filter(Boolean).join(" · ") || "暂无标签")),
    el("span", { class: "aside" }, "侧边栏"))));
}

// In WeCom a chat with a customer has a bar at its side with the pages of the enterprise's own app.
function openSidebar(customer) {
  phone.customer = customer;
  openPage(phone.guide.sidebar_url, "客户资料");
}

function groupList() {
  const make = async (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("name");
    await tryTo(() => post("groups", { account: phone.guide.account, name, owner: phone.guide.userid }));
    await loadGuide();
    phone.render();
  };
  return el("div", { class: "body" }, ...groups.map((one) => el("div", { class: "row", test: "group" },
    el("span", { class: "face" }, el("span", { class: "tile blue" }, icon("group"))),
    el("div", {}, el("strong", {}, one.name), el("small", {}, `${one.members.filter((member) => member.type === 2).length} 位客户`)), el("span"))),
  el("form", { class: "block", onsubmit: make }, el("div", { class: "field" },
    el("input", { name: "name", required: true, maxlength: 20, placeholder: "新群的名字", "aria-label": "新群的名字" }), el("button", { class: "button blue" }, "建群"))));
}
