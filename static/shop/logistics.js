/* The question about subscription notifications, on pages other than the till. */
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
