// Asks WeCom whose chat this page stands beside, and goes to her picture.
(function () {
  "use strict";

  const page = document.getElementById("sidebar-ask");
  const config = JSON.parse(page.dataset.config || "{}");
  if (!config.signature) return;

  function say(name, reason) {
    page.querySelectorAll("[data-say]").forEach((one) => { one.hidden = one.dataset.say !== name; });
    if (reason) page.querySelector("[data-reason]").textContent = reason;
  }

  function askWho() {
    window.wx.invoke("getCurExternalContact", {}, (answer) => {
      if (answer.err_msg !== "getCurExternalContact:ok" || !answer.userId) return say("nobody");
      window.location.replace(`${page.dataset.here}?customer=${encodeURIComponent(answer.userId)}`);
    });
  }

  // Elsewhere than in WeCom there is no such call, or it never answers.
  if (!window.wx || !window.wx.agentConfig) return say("nobody");
  window.wx.agentConfig({
    ...config,
    jsApiList: ["getCurExternalContact"],
    success: askWho,
    fail: (answer) => {
      const reason = String(answer.errMsg || answer.err_msg || "");
      say(reason.includes("not inside") ? "nobody" : "refused", reason);
    },
  });
})();
