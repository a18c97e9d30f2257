// The control page: clock, faults, callbacks with replay, call counters.
import { call, el, fullText, get, post, untouched } from "/sandbox/static/dom.js";

const box = (id) => document.getElementById(id);
let skew = 0;
let presets = [];

function toast(text) {
  box("toast").textContent = text;
  box("toast").hidden = false;
  setTimeout(() => { box("toast").hidden = true; }, 2400);
}

const tryTo = async (work) => {
  try { return await work(); } catch (problem) { toast(problem.message); return null; }
};

// --- clock ------------------------------------------------------------------------------------------

function takeClock(clock) {
  skew = clock.now - Date.now() / 1000;
  const days = Math.floor(clock.offset_seconds / 86400), hours = Math.round((clock.offset_seconds - days * 86400) / 360) / 10;
  box("offset").textContent = clock.offset_seconds ? `比本机时间快 ${days ? `${days} 天 ` : ""}${hours ? `${hours} 小时` : ""}` : "与本机时间一致";
  tick();
}
const tick = () => { box("clock").textContent = fullText(Date.now() / 1000 + skew); };

box("advance").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const asked = "reset" in button.dataset ? { offset_seconds: 0 } : { advance_seconds: Number(button.dataset.seconds) };
  tryTo(async () => { takeClock(await post("clock", asked)); await refresh(); });
});
box("advance-custom").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = new FormData(event.target);
  tryTo(async () => { takeClock(await post("clock", { advance_seconds: Number(given.get("amount")) * Number(given.get("unit")) })); await refresh(); });
});

// --- faults -----------------------------------------------------------------------------------------

function describe(fault) {
  const same = presets.find((one) => Object.entries(one.fault).every(([name, value]) => name === "times" || JSON.stringify(fault[name]) === JSON.stringify(value)));
  const hidden = ["id", "hits", "times", "match"];
  const rest = Object.entries(fault).filter(([name]) => !hidden.includes(name)).map(([name, value]) => `${name}=${value}`).join(" ");
  return [same ? same.name : fault.match, `${fault.match} ${rest}`.trim()];
}

async function showFaults() {
  const rows = await get("faults");
  await untouched();
  box("faults").replaceChildren(...(rows.length ? rows.map((fault) => {
    const [name, note] = describe(fault);
    return el("li", { test: "fault" }, el("span", {}, name, el("small", {}, `${note} · ${fault.times < 0 ? "一直" : `还有 ${fault.times} 次`} · 已生效 ${fault.hits} 次`)),
      el("button", { class: "small danger", test: "fault-remove", onclick: () => tryTo(async () => { await call("DELETE", `faults/${fault.id}`); await showFaults(); }) }, "移除"));
  }) : [el("li", { class: "empty" }, "没有故障，一切正常")]));
}

const addFault = (fault) => tryTo(async () => { await post("faults", fault); await showFaults(); toast("已添加"); });

box("fault-custom").addEventListener("submit", (event) => {
  event.preventDefault();
  let fault;
  try { fault = JSON.parse(new FormData(event.target).get("fault")); } catch { toast("不是合法的 JSON"); return; }
  addFault(fault);
});

// --- callbacks --------------------------------------------------------------------------------------

const STATUS = { delivered: "已送达", failed: "失败", lost: "已丢失", waiting: "待投递", sending: "发送中" };
const VARIANT = { genuine: "真实", duplicate: "重复", replay: "重放", forge: "伪造", tamper: "篡改", stale: "过期", unknown_type: "未知类型", signtest: "签名探测", wrong_serial: "错误序列号" };

async function showCallbacks() {
  const rows = await get(`callbacks?limit=60&status=${box("filter").value}`);
  await untouched();
  box("callbacks").replaceChildren(...(rows.length ? rows.map((one) => {
    const last = one.attempts[one.attempts.length - 1];
    const result = last ? (last.status ? `HTTP ${last.status}` : "无应答") : "";
    return el("tr", {}, el("td", {}, fullText(one.created)), el("td", {}, one.account), el("td", {}, one.event), el("td", {}, VARIANT[one.variant] || one.variant),
      el("td", {}, el("span", { class: `mark ${one.status}` }, STATUS[one.status]), ` ${result}`), el("td", {}, String(one.attempts.length)),
      el("td", { class: "number" }, el("button", { class: "small", onclick: () => showDetails(one) }, "详情"), " ",
        el("button", { class: "small", test: "replay", onclick: () => tryTo(async () => { await post(`callbacks/${one.id}/replay`); await showCallbacks(); toast("已重放"); }) }, "重放")));
  }) : [el("tr", {}, el("td", { colspan: 7 }, "还没有回调"))]));
}

function showDetails(row) {
  box("details-title").textContent = `${row.event} · ${row.account}`;
  box("details-body").textContent = JSON.stringify({ url: row.url, content: row.content, attempts: row.attempts }, null, 2);
  box("details").showModal();
}

box("filter").addEventListener("change", () => tryTo(showCallbacks));
box("flush").addEventListener("click", () => tryTo(async () => {
  const counts = await post("callbacks/flush");
  toast(`送达 ${counts.delivered}，失败 ${counts.failed}，待重试 ${counts.waiting}`);
  await refresh();
}));

// --- the rest ---------------------------------------------------------------------------------------

async function showState() {
  const state = await get("state");
  takeClock(state);
  const figures = { 人: state.people, 关注: state.followers, 导购客户: state.customers, 客户群: state.groups, 消息: state.messages, "支付订单": Object.values(state.orders).reduce((sum, one) => sum + one, 0), 退款: state.refunds, 接口调用: state.calls };
  box("state").replaceChildren(...Object.entries(figures).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value.toLocaleString("zh-CN")))));
}

async function showCalls() {
  const calls = await get("calls");
  const rows = Object.entries(calls.by_path).sort((one, other) => other[1] - one[1]).slice(0, 25);
  box("calls").replaceChildren(...(rows.length ? rows.map(([path, count]) => el("tr", {}, el("td", { class: "break" }, path), el("td", { class: "number" }, count.toLocaleString("zh-CN")))) : [el("tr", {}, el("td", { colspan: 2 }, "还没有调用"))]));
}

const KINDS = { service: "服务号", subscription: "订阅号", work: "企业微信", pay: "微信支付" };

async function showAccounts() {
  const rows = await get("accounts");
  box("accounts").replaceChildren(...rows.map((one) => el("div", {}, el("span", {}, one.name, el("small", {}, `${KINDS[one.kind]} · ${one.key} · ${one.appid || one.corpid} · ${one.webhook_url}`)),
    one.kind === "pay" ? null : el("button", { class: "small", onclick: () => tryTo(async () => {
      const answer = await post(`accounts/${one.key}/verify`);
      toast(answer.ok ? "地址验证通过" : `验证失败：${answer.status || ""} ${answer.answer.slice(0, 80)}`);
    }) }, "验证地址"))));
}

box("reset").addEventListener("click", () => {
  if (confirm("清空沙箱里的人、消息、订单和故障？账号保留。")) tryTo(async () => { await post("reset"); await refresh(); toast("已清空"); });
});
box("calls-clear").addEventListener("click", () => tryTo(async () => { await call("DELETE", "calls"); await refresh(); }));

const refresh = () => Promise.all([showState(), showFaults(), showCallbacks(), showCalls()]);

presets = await get("faults/presets");
box("presets").replaceChildren(...presets.map((one) => el("button", { test: "preset", onclick: () => addFault(one.fault) }, one.name)));
await Promise.all([refresh(), showAccounts()]);
setInterval(tick, 1000);
setInterval(() => { if (!document.hidden && !box("details").open) tryTo(refresh); }, 3000);
