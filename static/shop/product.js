/* The product page: which SKU is chosen decides price, stock line and the limit of the stepper. */
(function () {
  "use strict";
  const sheet = document.getElementById("choose");
  if (!sheet) return;
  const form = sheet.querySelector("form");
  const quantity = form.querySelector("[name=quantity]");
  const price = sheet.querySelector("span[data-price]");
  const was = sheet.querySelector("span[data-was]");
  const stock = sheet.querySelector("p[data-stock]");
  const buttons = [...form.querySelectorAll("button[name=intent]")];
  const summary = document.querySelector("[data-chosen]");

  function show() {
    const option = form.querySelector("[name=sku]:checked");
    buttons.forEach((button) => (button.disabled = !option));
    if (!option) return;
    price.textContent = option.dataset.price;
    was.textContent = option.dataset.was || "";
    stock.textContent = option.dataset.stock;
    quantity.max = option.dataset.most;
    if (Number(quantity.value) > Number(quantity.max)) quantity.value = quantity.max;
    form.querySelectorAll("[data-step]").forEach((button) => {
      const next = Number(quantity.value) + Number(button.dataset.step);
      button.disabled = next < 1 || next > Number(quantity.max);
    });
    if (summary) summary.textContent = option.dataset.name + " × " + quantity.value;
  }
  form.addEventListener("change", show);

  /* Opened by 加入购物车 or 立即购买, the sheet asks only for that; opened by the spec row, it offers both. */
  sheet.addEventListener("sheet:ask", (event) => {
    const wanted = event.detail.intent;
    buttons.forEach((button) => {
      const shown = !wanted || button.value === wanted;
      button.hidden = !shown;
      if (shown && (wanted || button.value === "cart")) button.dataset.test = "sku-confirm";
      else delete button.dataset.test;
    });
  });
  show();
  if (sheet.dataset.ask) {
    sheet.dispatchEvent(new CustomEvent("sheet:ask", { detail: { intent: sheet.dataset.ask } }));
    window.pond.open(sheet);
  }
})();
