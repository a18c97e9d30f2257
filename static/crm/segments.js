/* The segment builder: rows of conditions with selects, joined by all, any or none; the rules go into a hidden field
   as JSON. The count and a sample come from the server while one builds. No library, no markup from text. */
(function () {
  "use strict";

  function start() {
    var root = document.querySelector("[data-segment-builder]");
    if (!root) return;
    var hidden = document.querySelector("input[name=rules]");
    var offer = JSON.parse(document.getElementById("segment-words").textContent);
    var words = offer.words;
    var rows = root.querySelector("[data-builder-rows]");
    var error = root.querySelector("[data-builder-error]");
    var preview = document.querySelector("[data-builder-preview]");
    var fields = {};
    offer.fields.forEach(function (field) { fields[field.field] = field; });

    // What failed to save comes back in the field itself; it is newer than the saved rules.
    var given = hidden.value && hidden.value !== "{}" ? hidden.value : document.getElementById("segment-rules").textContent;
    var tree;
    try { tree = read(JSON.parse(given)); } catch (problem) { tree = group("all"); }

    function group(join) { return { join: join, items: [] }; }

    // JSON → what the builder shows: groups with a join word; "not any" is the word "none".
    function read(node) {
      if (node.field) return { condition: node };
      var join = "all" in node ? "all" : "any" in node ? "any" : "not" in node ? "none" : "all";
      var children = node[join] || [];
      if (join === "none") children = node.not.any || [node.not];
      return { join: join, items: children.map(read) };
    }

    function write(node) {
      if (node.condition) return node.condition;
      var children = node.items.map(write);
      if (node.join === "none") return { not: { any: children } };
      var made = {};
      made[node.join] = children;
      return made;
    }

    function element(name, className, text) {
      var made = document.createElement(name);
      if (className) made.className = className;
      if (text !== undefined) made.textContent = text;
      return made;
    }

    function choose(choices, value, changed, label) {
      var select = element("select");
      if (label) select.setAttribute("aria-label", label);
      choices.forEach(function (choice) {
        var option = element("option", "", choice[1]);
        option.value = choice[0];
        if (String(choice[0]) === String(value === null ? "" : value)) option.selected = true;
        select.appendChild(option);
      });
      select.addEventListener("change", function () { changed(select.value); });
      return select;
    }

    function button(text, className, pressed) {
      var made = element("button", className, text);
      made.type = "button";
      made.addEventListener("click", pressed);
      return made;
    }

    function fresh(name) {
      var field = fields[name];
      var values = { range: [null, null], yuan: [null, null], number: 30, account: null, nothing: null, consent: "given" };
      var value = field.kind in values ? values[field.kind] : [];
      return { field: name, op: field.ops[0][0], value: Array.isArray(value) ? value.slice() : value };
    }

    function number(value, changed, label) {
      var input = element("input");
      input.type = "number";
      input.min = "0";
      input.step = "1";
      input.value = value === null ? "" : value;
      input.setAttribute("aria-label", label);
      input.placeholder = label;
      input.addEventListener("input", function () {
        changed(input.value === "" ? null : Math.max(0, Math.round(Number(input.value))));
        ask();
      });
      return input;
    }

    function many(condition, choices) {
      if (!choices.length) return element("span", "crm-soft", words.nothing_to_choose);
      var box = element("div", "crm-options");
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", fields[condition.field].label);
      choices.forEach(function (choice) {
        var label = element("label");
        var tick = element("input");
        tick.type = "checkbox";
        tick.checked = condition.value.indexOf(choice[0]) >= 0;
        tick.addEventListener("change", function () {
          condition.value = condition.value.filter(function (chosen) { return chosen !== choice[0]; });
          if (tick.checked) condition.value.push(choice[0]);
          ask();
        });
        label.appendChild(tick);
        label.appendChild(element("span", "", choice[1]));
        box.appendChild(label);
      });
      return box;
    }

    function valueOf(condition) {
      var field = fields[condition.field];
      var box = document.createDocumentFragment();
      if (field.kind === "range" || field.kind === "yuan") {
        var factor = field.kind === "yuan" ? 100 : 1; // the rules count fen, people count yuan
        [0, 1].forEach(function (end) {
          var shown = condition.value[end] === null ? null : condition.value[end] / factor;
          box.appendChild(number(shown, function (typed) {
            condition.value[end] = typed === null ? null : typed * factor;
          }, end ? words.to : words.from));
        });
        box.appendChild(element("span", "crm-soft", field.unit));
      } else if (field.kind === "number") {
        box.appendChild(number(condition.value, function (typed) { condition.value = typed; }, field.unit));
        box.appendChild(element("span", "crm-soft", field.unit));
      } else if (field.kind === "tags" || field.kind === "codes") {
        box.appendChild(many(condition, offer.choices[field.kind]));
      } else if (field.kind === "account" || field.kind === "consent") {
        box.appendChild(choose(offer.choices[field.kind], condition.value, function (value) {
          condition.value = field.kind === "consent" ? value : value === "" ? null : Number(value);
          ask();
        }, field.label));
      }
      return box;
    }

    function showCondition(node, parent) {
      var row = element("div", "crm-condition");
      var condition = node.condition;
      var names = offer.fields.map(function (field) { return [field.field, field.label]; });
      row.appendChild(choose(names, condition.field, function (name) {
        node.condition = fresh(name);
        show();
      }));
      row.appendChild(choose(fields[condition.field].ops, condition.op, function (op) { condition.op = op; ask(); }));
      row.appendChild(valueOf(condition));
      row.appendChild(button(words.remove, "crm-remove", function () {
        parent.items.splice(parent.items.indexOf(node), 1);
        show();
      }));
      return row;
    }

    function showGroup(node, parent) {
      var box = element("div", "crm-group");
      var head = element("div", "crm-group-head");
      head.appendChild(element("span", "", words.match));
      var joins = [["all", words.all], ["any", words.any], ["none", words.none]];
      head.appendChild(choose(joins, node.join, function (join) { node.join = join; ask(); }, words.match));
      if (parent) {
        head.appendChild(button(words.remove, "crm-remove", function () {
          parent.items.splice(parent.items.indexOf(node), 1);
          show();
        }));
      }
      box.appendChild(head);
      if (!node.items.length && !parent) box.appendChild(element("p", "crm-soft", words.everybody));
      node.items.forEach(function (item) {
        box.appendChild(item.condition ? showCondition(item, node) : showGroup(item, node));
      });
      var foot = element("div", "crm-group-foot");
      foot.appendChild(button("+ " + words.add, "crm-button crm-small", function () {
        node.items.push({ condition: fresh(offer.fields[0].field) });
        show();
      }));
      if (!parent) {
        foot.appendChild(button("+ " + words.add_group, "crm-button crm-small crm-quiet", function () {
          var inner = group("any");
          inner.items.push({ condition: fresh(offer.fields[0].field) });
          node.items.push(inner);
          show();
        }));
      }
      box.appendChild(foot);
      return box;
    }

    function show() {
      rows.replaceChildren(showGroup(tree, null));
      ask();
    }

    var timer = 0, asked = 0;
    function ask() {
      hidden.value = JSON.stringify(write(tree));
      clearTimeout(timer);
      timer = setTimeout(send, 350);
    }

    function send() {
      var turn = ++asked;
      var token = document.querySelector("input[name=csrfmiddlewaretoken]").value;
      preview.textContent = words.counting;
      fetch(root.dataset.preview, {
        method: "POST",
        headers: { "Content-Type": "application/json", "X-CSRFToken": token },
        body: hidden.value,
      }).then(function (answer) {
        return answer.json().then(function (said) { return { ok: answer.ok, said: said }; });
      }).then(function (result) {
        if (turn !== asked) return; // a newer question is on its way
        error.hidden = result.ok;
        error.textContent = result.ok ? "" : result.said.message;
        if (result.ok) preview.innerHTML = result.said.html; // rendered and escaped by our own server
        else preview.textContent = "";
      }).catch(function () {
        if (turn === asked) preview.textContent = words.failed;
      });
    }

    show();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
