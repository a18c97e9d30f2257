// Small tools of the sandbox's pages: elements, icons, calls, times. Text is always set as text.

export function el(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "test") node.dataset.test = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(4)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
  return node;
}

// A page that is redrawn between the press and the release of a button loses the tap: what comes by itself waits for it.
let pressed = Promise.resolve(), release = () => {};
addEventListener("pointerdown", () => { pressed = new Promise((done) => { release = done; setTimeout(done, 10000); }); }, true);
for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => setTimeout(release, 50), true);
export const untouched = () => pressed;

const SHAPES = {
  chat: "M12 4c5 0 9 3.2 9 7.2s-4 7.2-9 7.2c-1 0-2-.1-2.9-.4L5.5 20l.6-3.2C4.2 15.5 3 13.5 3 11.2 3 7.2 7 4 12 4z",
  book: "M12 12.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20c.5-3.6 3.7-5.5 7.5-5.5s7 1.9 7.5 5.5z",
  compass: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM15.8 8.2l-2.3 5.3-5.3 2.3 2.3-5.3z",
  me: "M12 11.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21v-1.5c0-3 3.6-5 8-5s8 2 8 5V21",
  scan: "M4 8V5.5C4 4.7 4.7 4 5.5 4H8M16 4h2.5c.8 0 1.5.7 1.5 1.5V8M20 16v2.5c0 .8-.7 1.5-1.5 1.5H16M8 20H5.5c-.8 0-1.5-.7-1.5-1.5V16M4 12h16",
  plus: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8v8M8 12h8",
  back: "M15 4.5 7.5 12 15 19.5",
  close: "M5.5 5.5l13 13M18.5 5.5l-13 13",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  keyboard: "M4 7h16v10H4zM7.5 10h.01M10.5 10h.01M13.5 10h.01M16.5 10h.01M8.5 13.7h7",
  menu: "M5 7.5h14M5 12h14M5 16.5h14",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  bag: "M6 8h12l1 12H5zM9 10V7a3 3 0 0 1 6 0v3",
  bell: "M6 16.5V11a6 6 0 0 1 12 0v5.5l1.5 1.5h-15zM10 20.5h4",
  pay: "M3.5 6.5h17v11h-17zM3.5 10h17",
  group: "M9 11a3.2 3.2 0 1 0 0-6.4A3.2 3.2 0 0 0 9 11zM3 19.5c.3-3.2 2.8-5 6-5s5.7 1.8 6 5M16 11.5a2.7 2.7 0 1 0-.6-5.3M17 14.7c2.3.4 3.8 2 4 4.3",
  check: "M5 12.5l4.5 4.5L19 7.5",
  reload: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9M19.5 4.5V9H15",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export async function call(method, path, body) {
  const answer = await fetch(`/sandbox/api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(document.error || `HTTP ${answer.status}`);
  return document;
}
export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);

const CHINA = { timeZone: "Asia/Shanghai", hour12: false };
export const clockText = (at) =>
  new Date(at * 1000).toLocaleTimeString("zh-CN", { ...CHINA, hour: "2-digit", minute: "2-digit" });
export const dayText = (at) => new Date(at * 1000).toLocaleDateString("zh-CN", { ...CHINA, month: "numeric", day: "numeric" });
export const fullText = (at) =>
  new Date(at * 1000).toLocaleString("zh-CN", {
    ...CHINA, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
  });

export function whenText(at, now) {
  const day = (moment) => new Date(moment * 1000).toLocaleDateString("zh-CN", CHINA);
  if (day(at) === day(now)) return clockText(at);
  if (day(at) === day(now - 86400)) return "昨天";
  return dayText(at);
}

export const yuan = (fen) => `¥${(fen / 100).toFixed(2)}`;

// Text as WeChat shows it: bare addresses and <a href> become links, everything else stays text.
export function linked(text, open) {
  const parts = [];
  const pattern = /<a\s[^>]*?href=["']([^"']+)["'][^>]*>([^<]*)<\/a>|https?:\/\/[^\s<>"'，。；）]+/g;
  let last = 0;
  for (const found of String(text).matchAll(pattern)) {
    if (found.index > last) parts.push(text.slice(last, found.index));
    const url = (found[1] || found[0]).replaceAll("&amp;", "&");
    const label = found[2] || found[0];
    if (/^https?:\/\//.test(url)) {
      parts.push(el("a", { href: url, test: "message-link", onclick: (event) => { event.preventDefault(); open(url); } }, label));
    } else parts.push(label);
    last = found.index + found[0].length;
  }
  if (last < text.length) parts.push(text.slice(last));
  return parts;
}
