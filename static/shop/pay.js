/* The till. Pay → WeChat's sheet → wait for the notice that makes the order paid: the phone's "ok" alone proves nothing. */
(function () {
  "use strict";
  const till = document.getElementById("till");
  if (!till) return;
  const start = till.querySelector("form[data-start]");
  const live = document.getElementById("till-live");

  /** Show the part of the page that belongs to the state: ready, paying, waiting, cancelled, failed, outside, late. */
  function become(state, message) {
    till.dataset.state = state;
    till.querySelectorAll("[data-on]").forEach((part) => (part.hidden = !part.dataset.on.split(" ").includes(state)));
    const words = till.querySelector(`[data-words][data-on~="${state}"]`);
    if (message) till.querySelector("[data-message]").textContent = message;
    live.textContent = message || (words ? words.textContent : "");
  }

  async function ask(address, options) {
    const answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin", ...options });
    const said = await answer.json();
    if (said.login) {
      location.assign(said.login);
      return new Promise(() => {}); // the page is leaving
    }
    return said;
  }

  async function pay(event) {
    event.preventDefault();
    if (["paying", "waiting"].includes(till.dataset.state)) return;
    become("paying");
    try {
      // Inside WeChat its own sheet is the only way, whatever the server took the browser for.
      if (window.WeixinJSBridge) start.elements.way.value = "jsapi";
      const answer = await ask(start.action, { method: "POST", body: new FormData(start) });
      if (answer.paid) return location.replace(till.dataset.done);
      if (answer.h5_url) return location.assign(answer.h5_url);
      if (answer.qr) return scan(answer.qr, answer.amount);
      if (!answer.parameters) return become("failed", answer.message);
      const outcome = await window.pond.wechat.pay(answer.parameters);
      if (outcome === "ok") return wait(0);
      if (outcome === "outside") {
        ask(`${till.dataset.ask}?left=outside`).catch(() => {});
        return become("outside");
      }
      // The person may have paid and closed the sheet: look once before believing the phone.
      const truth = await ask(`${till.dataset.ask}?look=1&left=${outcome}`);
      if (truth.paid) return location.replace(till.dataset.done);
      become(outcome);
    } catch {
      become("failed", till.dataset.offline);
    }
  }

  /** Draw the code, and look every three seconds whether it was paid, until the order's time runs out. */
  async function scan(picture, amount) {
    if (picture) {
      const drawn = new DOMParser().parseFromString(picture, "text/html").body.firstElementChild;
      till.querySelector("[data-code]").replaceChildren(document.importNode(drawn, true));
      const chosen = start.querySelector("[type=radio][data-fen]:checked");
      const words = amount || (chosen ? `¥${(Number(chosen.dataset.fen) / 100).toFixed(2)}` : "");
      till.querySelector("[data-code-rest]").textContent = words;
      become("scan");
    }
    for (let round = 1; till.dataset.state === "scan"; round += 1) {
      await new Promise((next) => setTimeout(next, 3000));
      if (till.dataset.state !== "scan" || document.hidden) continue;
      const truth = await ask(till.dataset.ask + (round % 5 ? "" : "?look=1")).catch(() => ({}));
      if (truth.paid) return location.replace(till.dataset.done);
      if (truth.closed) return location.reload();
    }
  }

  /** What is left for WeChat after the card and the balance that are ticked; the words of the button follow. */
  function count() {
    const means = till.querySelector("[data-means]");
    if (!means) return;
    let rest = Number(means.dataset.total);
    const card = means.querySelector("input[name=gift_card]:checked");
    const balance = means.querySelector("input[name=use_balance]");
    for (const [input, used] of [[card, card && card.value !== ""], [balance, balance && balance.checked]]) {
      if (!used) continue;
      rest -= Math.min(rest, Number(input.dataset.fen));
    }
    const words = means.querySelector("[data-rest]"); // without a balance or a card there is only the field for a code
    if (words) words.textContent = `¥${(rest / 100).toFixed(2)}`;
    const button = start.querySelector("[data-wechat]");
    button.textContent = rest > 0 ? button.dataset.wechat : button.dataset.own;
  }

  async function wait(round) {
    become("waiting");
    try {
      // Now and then WeChat itself is asked, should its notice be lost.
      const truth = await ask(till.dataset.ask + ([4, 10, 19].includes(round) ? "?look=1" : ""));
      if (truth.paid) return location.replace(till.dataset.done);
      if (truth.closed) return location.reload();
    } catch {
      /* a lost poll is followed by the next */
    }
    if (round >= 20) return become("late");
    setTimeout(() => wait(round + 1), Math.min(3000, 500 + round * 250));
  }

  if (start) {
    start.addEventListener("submit", pay);
    start.addEventListener("change", count);
    count(); // she may have ticked something before this script came
  }
  const other = till.querySelector("[data-other]");
  if (other) other.addEventListener("click", () => become("ready"));
  if (till.dataset.state === "scan") scan("", "");
  else if (start && "cameBack" in till.dataset) wait(0);
  else if (start && "going" in till.dataset) start.requestSubmit(); // she pressed before this script came
  const again = till.querySelector("[data-again]");
  if (again) again.addEventListener("click", () => wait(0));
})();

/* After the payment: one polite question, asked by a tap because WeChat demands one. */
(function () {
  "use strict";
  const ask = document.querySelector("[data-subscribe]");
  if (!ask) return;
  ask.addEventListener("click", async () => {
    const accepted = await window.pond.wechat.subscribe(JSON.parse(ask.dataset.subscribe));
    window.pond.say(accepted ? ask.dataset.yes : ask.dataset.no);
    if (accepted) ask.closest("[data-ask-box]").hidden = true;
  });
})();
