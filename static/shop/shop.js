/* What every shop page shares: sheets, toasts, steppers, countdowns, copying. Pages work without it; this makes them quick. */
(function () {
  "use strict";
  const toast = document.getElementById("toast");
  let hiding = 0;

  /* On a slow network the page is there before its scripts: what only they can do is shown when they have come. */
  document.documentElement.classList.add("quick");
  document.addEventListener("DOMContentLoaded", () => {
    document.documentElement.classList.add("ready");
    addEventListener("hashchange", goOn); // her tap was earlier still, the browser's answer to it later
    goOn();
  });

  /** A sheet that she opened earlier than that, as a link's target, goes on as a dialog. */
  function goOn() {
    const opener = [...document.querySelectorAll("[data-opens]")].find((one) => one.getAttribute("href") === location.hash);
    if (!opener) return;
    location.replace("#-"); // nothing is the target any more, and nothing scrolls
    history.replaceState(null, "", location.pathname + location.search);
    opener.click();
  }

  /** Say one line to everybody: shown for two seconds, read out by screen readers (role=status). */
  function say(text) {
    if (!text) return;
    toast.textContent = text;
    toast.classList.add("shown");
    clearTimeout(hiding);
    hiding = setTimeout(() => toast.classList.remove("shown"), 2200);
  }

  function open(sheet) {
    if (sheet && sheet.showModal && !sheet.open) sheet.showModal();
  }

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-opens]");
    if (opener) {
      const sheet = document.getElementById(opener.dataset.opens);
      if (sheet && sheet.showModal) {
        event.preventDefault();
        if (opener.dataset.intent) sheet.dataset.ask = opener.dataset.intent; // for a script of the sheet's own that is still to come
        sheet.dispatchEvent(new CustomEvent("sheet:ask", { detail: opener.dataset }));
        open(sheet);
      }
      return;
    }
    const closer = event.target.closest("[data-closes]");
    if (closer && closer.closest("dialog[open]")) {
      event.preventDefault();
      closer.closest("dialog").close();
      return;
    }
    if (event.target.matches("dialog[open]")) event.target.close(); // a tap on the backdrop
    const step = event.target.closest("[data-step]");
    if (step) {
      const input = step.parentElement.querySelector("input");
      const wanted = (parseInt(input.value, 10) || 0) + Number(step.dataset.step);
      input.value = Math.min(Number(input.max) || 99, Math.max(Number(input.min) || 1, wanted));
      input.dispatchEvent(new Event("change", { bubbles: true }));
      return;
    }
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier.dataset.copy, copier.dataset.done);
  });

  async function copy(text, done) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "sr";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(done);
  }

  /* Links that stay on their page must not pile up in WeChat's back history: data-replace. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-replace]");
    if (link && !event.defaultPrevented && !event.metaKey && !event.ctrlKey) {
      event.preventDefault();
      location.replace(link.href);
    }
  });

  /* One submission per form: a second tap on a slow network does nothing. */
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-once]")) return;
    if (form.dataset.sent) return event.preventDefault();
    form.dataset.sent = "1";
    form.querySelectorAll("[type=submit]").forEach((button) => button.setAttribute("aria-disabled", "true"));
  });
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // back from another page: the cart and the order may have changed meanwhile
    document.querySelectorAll("form[data-sent]").forEach((form) => {
      delete form.dataset.sent;
      form.querySelectorAll("[aria-disabled]").forEach((button) => button.removeAttribute("aria-disabled"));
    });
    if (document.body.dataset.fresh) location.reload();
  });

  /* <time data-left="seconds">: counted from the server's own clock, so a phone with a wrong clock shows the truth. */
  function countDown() {
    const started = performance.now();
    const clocks = [...document.querySelectorAll("[data-left]")].map((node) => [node, Number(node.dataset.left)]);
    if (!clocks.length) return;
    const tick = () => {
      const gone = (performance.now() - started) / 1000;
      let running = false;
      for (const [node, left] of clocks) {
        const rest = Math.max(0, Math.floor(left - gone));
        const two = (n) => String(n).padStart(2, "0");
        const days = Math.floor(rest / 86400);
        const hours = Math.floor((rest % 86400) / 3600);
        const minutes = two(Math.floor((rest % 3600) / 60)) + ":" + two(rest % 60);
        const hand = days || hours ? two(hours) + ":" + minutes : minutes;
        const named = (document.body.dataset.days || "").replace("{days}", days);
        node.textContent = days > 30 ? named : days ? named + " " + hand : hand;
        if (rest) running = true;
        else if (left > 0 && node.dataset.reload !== undefined) setTimeout(() => location.reload(), 2500);
      }
      if (running) setTimeout(tick, 1000);
    };
    tick();
  }
  countDown();

  /* How many photos were picked: the button says it. */
  document.addEventListener("change", (event) => {
    const said = event.target.type === "file" && event.target.parentElement.querySelector("[data-picked]");
    if (!said) return;
    said.dataset.none = said.dataset.none || said.textContent;
    const count = event.target.files.length;
    said.textContent = count ? said.dataset.picked.replace("{count}", count) : said.dataset.none;
  });

  /* What a clerk typed is done with when the server says so; a second tap must not send it again. */
  document.addEventListener("form:done", (event) => event.target.reset && event.target.reset());

  /* A gallery that is swiped shows where one is. */
  document.querySelectorAll("[data-gallery]").forEach((gallery) => {
    const place = gallery.querySelector("[data-place]");
    const slides = gallery.querySelector(".slides");
    if (!place || !slides) return;
    const count = slides.children.length;
    slides.addEventListener(
      "scroll",
      () => {
        place.textContent = Math.round(slides.scrollLeft / slides.clientWidth) + 1 + " / " + count;
      },
      { passive: true },
    );
  });

  /* htmx: the server speaks through HX-Trigger {"say": …, "sheet:close": …}. */
  document.addEventListener("say", (event) => say(event.detail.value || event.detail));
  document.addEventListener("sheet:close", () => document.querySelectorAll("dialog[open]").forEach((d) => d.close()));
  /* What was typed or ticked before the scripts came: nobody listened then, so the field says it again. Boxes are sent
     with all others of their form, so the last one speaks for them. */
  document.addEventListener("htmx:load", (event) => {
    event.target.querySelectorAll("[hx-trigger*='typed:early']").forEach((field) => {
      if (field.value !== field.defaultValue) field.dispatchEvent(new CustomEvent("typed:early"));
    });
    const boxes = [...event.target.querySelectorAll("[type=checkbox][hx-trigger=change]")];
    const ticked = boxes.filter((box) => box.checked !== box.defaultChecked).pop();
    if (ticked) ticked.dispatchEvent(new Event("change", { bubbles: true }));
  });
  /* What is fetched every few seconds is not redrawn under her finger: the tap would meet nothing. The next time will do. */
  let pressedUntil = 0;
  addEventListener("pointerdown", () => (pressedUntil = Infinity), true);
  for (const end of ["pointerup", "pointercancel"]) addEventListener(end, () => (pressedUntil = performance.now() + 100), true);
  document.addEventListener("htmx:beforeSwap", (event) => {
    const asked = event.detail.requestConfig.elt.getAttribute("hx-trigger") || "";
    if (asked.startsWith("every") && performance.now() < pressedUntil) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:sendError", () => say(document.body.dataset.offline));
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) say(document.body.dataset.failed);
  });

  window.pond = { say, open };
})();
