/* SKUs of two properties or more: a row of choices for each property instead of one long list of combinations.
   Without this script the list stays; with it the list is hidden and its radios are what the rows tick. */
(function () {
  "use strict";
  const list = document.querySelector("[data-matrix]");
  if (!list) return;
  const names = list.dataset.matrix.split(" / ");
  const skus = [...list.querySelectorAll("[name=sku]")].map((input) => ({
    input,
    values: JSON.parse(input.dataset.values || "[]"),
    isOpen: !input.disabled,
  }));
  if (names.length < 2 || skus.some((sku) => sku.values.length !== names.length)) return;
  const soldOut = list.querySelector("em") ? list.querySelector("em").textContent : "";
  const rows = names.map(row);

  function row(name, place) {
    const group = document.createElement("div");
    group.className = "spec";
    group.setAttribute("role", "radiogroup");
    group.setAttribute("aria-label", name);
    const label = group.appendChild(document.createElement("p"));
    label.className = "label";
    label.textContent = name;
    const options = group.appendChild(document.createElement("div"));
    options.className = "options";
    const values = [...new Set(skus.map((sku) => sku.values[place]))].map((value) => {
      const option = options.appendChild(document.createElement("label"));
      option.className = "option";
      option.dataset.test = "spec-option";
      const input = option.appendChild(document.createElement("input"));
      input.type = "radio";
      input.name = "spec-" + place;
      input.setAttribute("form", "none"); /* not sent: the SKU is */
      input.disabled = !skus.some((sku) => sku.isOpen && sku.values[place] === value);
      const text = option.appendChild(document.createElement("span"));
      text.textContent = value;
      if (input.disabled && soldOut) text.appendChild(document.createElement("em")).textContent = soldOut;
      input.addEventListener("change", () => choose(place, value));
      return { value, input, option };
    });
    list.before(group);
    return values;
  }

  /* The SKU that keeps most of what was chosen and can be had. */
  function choose(place, value) {
    const now = skus.find((sku) => sku.input.checked);
    const alike = (sku) => sku.values.filter((one, at) => at === place || (now && one === now.values[at])).length;
    const found = skus
      .filter((sku) => sku.isOpen && sku.values[place] === value)
      .sort((one, other) => alike(other) - alike(one))[0];
    if (found) found.input.checked = true;
    show();
  }

  function show() {
    const now = skus.find((sku) => sku.input.checked);
    rows.forEach((values, place) =>
      values.forEach(({ value, input, option }) => {
        input.checked = Boolean(now) && now.values[place] === value;
        const fits = skus.some(
          (sku) =>
            sku.isOpen &&
            sku.values[place] === value &&
            (!now || sku.values.every((one, at) => at === place || one === now.values[at])),
        );
        option.classList.toggle("elsewhere", !fits && !input.disabled);
      }),
    );
  }
  list.hidden = true;
  list.closest("fieldset").querySelector("legend").classList.add("sr");
  show();
})();
