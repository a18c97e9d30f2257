/* WeChat's JS-SDK, when there is one. The page gives the signed values in <script type="application/json" id="wechat">.
   Everything here may be missing (another browser, the SDK's host unreachable): then `pond.wechat.available` is false. */
(function () {
  "use strict";
  const values = document.getElementById("wechat");
  const config = values ? JSON.parse(values.textContent) : null;
  let settle;
  /** Resolves to true when wx.config was accepted, to false when there is no usable SDK. Never rejects. */
  const ready = new Promise((resolve) => (settle = resolve));

  if (window.wx && window.wx.config && config && config.signature) {
    window.wx.config({
      debug: false,
      appId: config.appId,
      timestamp: config.timestamp,
      nonceStr: config.nonceStr,
      signature: config.signature,
      jsApiList: ["chooseWXPay", "openAddress", "hideMenuItems", "updateAppMessageShareData", "updateTimelineShareData"],
      openTagList: ["wx-open-subscribe"],
    });
    window.wx.ready(() => settle(true));
    window.wx.error(() => settle(false));
    setTimeout(() => settle(false), 15000); // WeChat asks its own servers first: on a slow network that takes a while
  } else {
    settle(false);
  }

  /** The bridge that pays; it needs no signature, only WeChat. Resolves to null outside of it. */
  function bridge() {
    return new Promise((resolve) => {
      if (window.WeixinJSBridge) return resolve(window.WeixinJSBridge);
      document.addEventListener("WeixinJSBridgeReady", () => resolve(window.WeixinJSBridge), { once: true });
      setTimeout(() => resolve(window.WeixinJSBridge || null), 1200);
    });
  }

  /** Ask the person to pay. Resolves to "ok", "cancelled", "failed" or "outside" (this is not WeChat). */
  async function pay(parameters) {
    const native = await bridge();
    if (native) {
      return new Promise((resolve) =>
        native.invoke("getBrandWCPayRequest", parameters, (answer) => resolve(outcome(answer.err_msg || answer.errMsg))),
      );
    }
    if (!(await ready)) return "outside";
    return new Promise((resolve) =>
      window.wx.chooseWXPay({
        timestamp: parameters.timeStamp,
        nonceStr: parameters.nonceStr,
        package: parameters.package,
        signType: parameters.signType,
        paySign: parameters.paySign,
        success: () => resolve("ok"),
        cancel: () => resolve("cancelled"),
        fail: () => resolve("failed"),
      }),
    );
  }

  function outcome(message) {
    const last = String(message || "").split(":").pop();
    if (last === "ok") return "ok";
    return last === "cancel" ? "cancelled" : "failed";
  }

  /** WeChat's own address book. Resolves to its answer, or null when cancelled or not possible. */
  async function address() {
    if (!(await ready) || !window.wx.openAddress) return null;
    return new Promise((resolve) =>
      window.wx.openAddress({ success: resolve, cancel: () => resolve(null), fail: () => resolve(null) }),
    );
  }

  /** Ask to be notified about this order. Resolves to true when at least one template was accepted. */
  async function subscribe(templates) {
    if (!window.wx || !window.wx.requestSubscribeMessage) return false;
    return new Promise((resolve) =>
      window.wx.requestSubscribeMessage({
        tmplIds: templates,
        success: (answer) => resolve(templates.some((id) => !answer || answer[id] === undefined || answer[id] === "accept")),
        fail: () => resolve(false),
      }),
    );
  }

  window.pond.wechat = { ready, pay, address, subscribe };

  /* What a friend gets when she sends this page on by WeChat's own menu. */
  const shared = document.querySelector("[data-share-link]");
  if (shared) {
    ready.then((there) => {
      if (!there) return;
      const card = { title: shared.dataset.shareTitle, desc: shared.dataset.shareWords, link: shared.dataset.shareLink, imgUrl: "" };
      if (window.wx.updateAppMessageShareData) window.wx.updateAppMessageShareData(card);
      if (window.wx.updateTimelineShareData) window.wx.updateTimelineShareData(card);
    });
  }

  /* A button with data-wechat-address fills the form that it names, and sends it. */
  document.querySelectorAll("[data-wechat-address]").forEach((button) => {
    ready.then((there) => {
      if (!there) {
        button.setAttribute("aria-disabled", "true");
        const hint = document.getElementById(button.dataset.hint);
        if (hint) hint.hidden = false;
      }
    });
    button.addEventListener("click", async () => {
      if (button.getAttribute("aria-disabled")) return window.pond.say(button.dataset.outside);
      const picked = await address();
      if (!picked) return;
      const form = document.getElementById(button.dataset.wechatAddress);
      const put = (name, value) => (form.elements[name].value = value || "");
      put("receiver", picked.userName);
      put("phone", picked.telNumber);
      put("province", picked.provinceName);
      put("city", picked.cityName);
      put("district", picked.countryName || picked.countyName);
      put("street", picked.detailInfoNew || picked.detailInfo);
      put("postal_code", picked.postalCode);
      form.requestSubmit();
    });
  });
})();
