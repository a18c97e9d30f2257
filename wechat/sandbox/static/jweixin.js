// A stand-in for WeChat's JS-SDK. It runs inside a page that the sandbox's phone shows, and asks the phone
// to do things by postMessage. Outside of the phone every call fails cleanly with an errMsg.
(function () {
  "use strict";

  var script = document.currentScript;
  var home = script ? new URL(script.src).origin : "";
  var inside = window.parent !== window;
  var waiting = {};
  var count = 0;
  var config = null;
  var state = "new"; // new, checking, ready, failed
  var readies = [];
  var errors = [];
  var failure = null;

  window.addEventListener("message", function (event) {
    if (event.origin !== home || event.source !== window.parent) return;
    var answer = event.data;
    if (!answer || answer.to !== "jweixin" || !waiting[answer.id]) return;
    var done = waiting[answer.id];
    delete waiting[answer.id];
    done(answer.result || {});
  });

  function ask(call, given, done) {
    if (!inside) {
      setTimeout(function () { done({ errMsg: call + ":fail, not inside of the phone" }); }, 0);
      return;
    }
    count += 1;
    waiting[count] = done;
    window.parent.postMessage({ to: "phone", id: count, call: call, given: given, url: location.href }, home);
  }

  // Every JS-SDK call takes success, fail, cancel, complete; the page's other fields go to the phone.
  function answerTo(options, name) {
    return function (result) {
      var message = String(result.errMsg || name + ":ok");
      var outcome = message.split(":").slice(1).join(":");
      if (outcome.indexOf("ok") === 0) { if (options.success) options.success(result); }
      else if (outcome.indexOf("cancel") === 0) { if (options.cancel) options.cancel(result); else if (options.fail) options.fail(result); }
      else if (options.fail) options.fail(result);
      if (options.complete) options.complete(result);
    };
  }

  function plain(options) {
    var given = {};
    Object.keys(options || {}).forEach(function (name) {
      if (typeof options[name] !== "function") given[name] = options[name];
    });
    return given;
  }

  function api(name) {
    return function (options) {
      options = options || {};
      var done = answerTo(options, name);
      if (state !== "ready") { done({ errMsg: name + ":fail, the permission value is offline verifying" }); return; }
      var asked = !config.jsApiList || config.jsApiList.indexOf(name) >= 0 || name === "requestSubscribeMessage";
      if (!asked) { done({ errMsg: name + ":fail, permission denied" }); return; }
      ask(name, plain(options), done);
    };
  }

  function fail(result) {
    state = "failed";
    failure = result;
    errors.forEach(function (handler) { handler(result); });
  }

  var wx = {
    config: function (given) {
      config = plain(given);
      state = "checking";
      ask("config", config, function (result) {
        if (result.errMsg === "config:ok") {
          state = "ready";
          readies.splice(0).forEach(function (handler) { handler(); });
        } else {
          fail(result);
        }
      });
    },
    ready: function (handler) { if (state === "ready") handler(); else readies.push(handler); },
    error: function (handler) { errors.push(handler); if (state === "failed") handler(failure); },
    checkJsApi: function (options) {
      var known = {};
      (options.jsApiList || []).forEach(function (name) { known[name] = typeof wx[name] === "function"; });
      answerTo(options, "checkJsApi")({ errMsg: "checkJsApi:ok", checkResult: known });
    },
    // Payment is open to pages without wx.config as well; the sheet checks paySign.
    chooseWXPay: function (options) {
      var given = plain(options);
      given.appId = given.appId || (config && config.appId) || "";
      given.timeStamp = String(given.timestamp || given.timeStamp || "");
      ask("chooseWXPay", given, answerTo(options, "chooseWXPay"));
    },
    // WeCom: an app's own permission, and the calls that need it. They work without wx.config.
    agentConfig: function (given) { ask("agentConfig", plain(given), answerTo(given || {}, "agentConfig")); },
    invoke: function (name, given, done) {
      ask(name, plain(given), function (result) {
        if (done) done(Object.assign({ err_msg: result.errMsg || name + ":fail" }, result));
      });
    },
    miniProgram: { getEnv: function (done) { done({ miniprogram: false }); } }
  };
  ["openAddress", "closeWindow", "hideMenuItems", "showMenuItems", "hideAllNonBaseMenuItem", "showAllNonBaseMenuItem",
    "hideOptionMenu", "showOptionMenu", "updateAppMessageShareData", "updateTimelineShareData", "scanQRCode",
    "requestSubscribeMessage", "previewImage", "getLocation", "openLocation", "getNetworkType"
  ].forEach(function (name) { wx[name] = api(name); });

  window.wx = window.jWeixin = wx;
  // Outside of the phone there is no bridge, as in any browser that is not WeChat's.
  if (inside) {
    window.WeixinJSBridge = {
      invoke: function (name, given, done) {
        var call = name === "getBrandWCPayRequest" ? "chooseWXPay" : name;
        ask(call, given || {}, function (result) {
          if (name === "getBrandWCPayRequest") {
            result = { err_msg: result.err_msg || "get_brand_wcpay_request:fail", err_desc: result.reason || "" };
          }
          if (done) done(result);
        });
      },
      call: function (name) { ask(name, {}, function () {}); },
      on: function () {}
    };
    // The phone cannot read the title of a page of another origin: the page tells it.
    var named = function () { ask("title", { title: document.title }, function () {}); };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", named);
    else named();
    // Pages wait for this event or for the object itself.
    var tell = function () { document.dispatchEvent(new Event("WeixinJSBridgeReady")); };
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", tell);
    else setTimeout(tell, 0);
  }
})();
