/* The segment builder: a tree of conditions in groups, each with the input that its field needs. The rules go into a
   hidden field as JSON; count and sample come from the server while one builds. No library, no markup from text. */
(function () {
  "use strict";

  const PATIENCE = 300; // ms without a keystroke before the server is asked
  const JOINS = ["all", "any", "none", "notall"];
  const PICKED = ["tags", "codes", "tiers", "segments", "stages", "steps", "cells", "ways", "months", "regions", "devices", "calendars", "guides",
    "stores", "groups"];
  const MOST = 1e13; // yuan; the rules keep fen

  function start() {
    const root = document.querySelector("[data-segment-builder]");
    if (!root) return;
    const hidden = document.querySelector("input[name=rules]");
    if (!hidden) return; // only looked at, not edited
    const offer = JSON.parse(document.getElementById("segment-words").textContent);
    const words = offer.words;
    const rows = root.querySelector("[data-builder-rows]");
    const error = root.querySelector("[data-builder-error]");
    const preview = document.querySelector("[data-builder-preview]");
    const state = document.querySelector("[data-builder-state]");
    const again = document.querySelector("[data-builder-again]");
    const fields = {};
    offer.fields.forEach(function (field) { fields[field.field] = field; });
    let serial = 0;

    // What failed to save comes back in the field itself; it is newer than the saved rules.
    const saved = document.getElementById("segment-rules").textContent;
    let tree;
    try {
      tree = read(JSON.parse(hidden.value && hidden.value !== "{}" ? hidden.value : saved));
    } catch (problem) {
      tree = group("all");
    }
    if (tree.condition) tree = { join: "all", items: [tree] };

    function group(join) { return { join: join, items: [] }; }

    // --- Rules and what the builder shows of them -------------------------------------------------------------------
    function read(node) {
      if ("field" in node) {
        if (!fields[node.field]) throw new Error("unknown field");
        return { condition: node };
      }
      if ("not" in node) {
        const inner = node.not;
        if ("any" in inner) return { join: "none", items: inner.any.map(read) };
        if ("all" in inner) return { join: "notall", items: inner.all.map(read) };
        return { join: "none", items: [read(inner)] };
      }
      const join = "any" in node ? "any" : "all";
      return { join: join, items: (node[join] || []).map(read) };
    }

    function write(node) {
      if (node.condition) return node.condition;
      const children = node.items.map(write);
      if (node.join === "none") return { not: children.length === 1 ? children[0] : { any: children } };
      if (node.join === "notall") return { not: { all: children } };
      const made = {};
      made[node.join] = children;
      return made;
    }

    // --- Elements ---------------------------------------------------------------------------------------------------
    function element(name, className, text) {
      const made = document.createElement(name);
      if (className) made.className = className;
      if (text !== undefined) made.textContent = text;
      return made;
    }

    function button(text, className, pressed) {
      const made = element("button", className, text);
      made.type = "button";
      made.addEventListener("click", pressed);
      return made;
    }

    function choose(choices, value, changed, label) {
      const select = element("select");
      select.setAttribute("aria-label", label);
      let parent = select;
      let heading = "";
      choices.forEach(function (choice) {
        if (choice[2] && choice[2] !== heading) {
          heading = choice[2];
          parent = element("optgroup");
          parent.label = heading;
          select.appendChild(parent);
        }
        const option = element("option", "", choice[1]);
        option.value = choice[0];
        option.selected = String(choice[0]) === String(value === null ? "" : value);
        parent.appendChild(option);
      });
      select.addEventListener("change", function () { changed(select.value); });
      return select;
    }

    function fresh(name) {
      const field = fields[name];
      let value = [];
      if (field.kind === "range" || field.kind === "yuan") value = [null, null];
      else if (field.kind === "number") value = 30;
      else if (field.kind === "fact") value = { kind: offer.choices.fact[0][0], times: 1, days: 30 };
      else if (field.kind === "anniversary") value = { of: "joined", from: 0, to: 7 };
      else if (field.kind === "times") value = { times: 1, days: 30 };
      else if (field.kind === "custom") return freshOwn(offer.choices.custom[0]);
      else if (field.kind === "consent") value = "given";
      else if (field.kind === "account" || field.kind === "nothing") value = null;
      return { field: name, op: field.ops[0][0], value: value };
    }

    // A field of the house: what may be asked of it depends on what it holds.
    function ownOps(own) {
      const wanted = own && (own[2] === "number" || own[2] === "date") ? ["between"] : ["in", "not_in"];
      return fields.custom.ops.filter(function (op) { return wanted.concat(["known", "unknown"]).indexOf(op[0]) >= 0; });
    }
    function freshOwn(own, op) {
      const chosen = op || ownOps(own)[0][0];
      const value = { field: own ? own[0] : 0 };
      if (chosen === "between") { value.from = null; value.to = null; }
      else if (chosen === "in" || chosen === "not_in") value.values = [];
      return { field: "custom", op: chosen, value: value };
    }

    // --- Values -----------------------------------------------------------------------------------------------------
    function number(shown, label, decimals, changed) {
      const input = element("input", "seg-number");
      input.type = "text";
      input.inputMode = decimals ? "decimal" : "numeric";
      input.autocomplete = "off";
      input.value = shown === null ? "" : String(shown);
      input.placeholder = label;
      input.setAttribute("aria-label", label);
      input.addEventListener("input", function () { changed(input.value.trim().replace(/[,，]/g, "")); });
      return input;
    }

    // Typed text → number for the rules, null for an empty end, NaN for what is none.
    function whole(text) {
      if (text === "") return null;
      return /^\d{1,15}$/.test(text) ? Number(text) : NaN;
    }
    function fen(text) {
      if (text === "") return null;
      if (!/^\d{1,13}(\.\d{1,2})?$/.test(text) || Number(text) > MOST) return NaN;
      const parts = text.split(".");
      return Number(parts[0]) * 100 + Number(((parts[1] || "") + "00").slice(0, 2));
    }
    function yuan(value) {
      if (value === null) return null;
      return value % 100 ? (value / 100).toFixed(2) : String(value / 100);
    }

    function range(node, field) {
      const condition = node.condition;
      const box = element("span", "seg-range");
      const isMoney = field.kind === "yuan";
      [0, 1].forEach(function (end) {
        const kept = condition.value[end];
        const typed = node.typed && node.typed[end] !== undefined ? node.typed[end] : isMoney ? yuan(kept) : kept;
        if (end) box.appendChild(element("span", "crm-soft", "–"));
        box.appendChild(number(typed, end ? words.to : words.from, isMoney, function (text) {
          node.typed = node.typed || [];
          node.typed[end] = text;
          condition.value[end] = isMoney ? fen(text) : whole(text);
          ask();
        }));
      });
      box.appendChild(element("span", "crm-soft", field.unit));
      return box;
    }

    // A day that returns each year, and in how many days.
    function anniversary(node, field) {
      const value = node.condition.value;
      const box = element("span", "seg-range");
      const chosen = value.of === "field" ? "field:" + value.field : value.of;
      const offered = offer.choices.anniversary;
      const gone = offered.some(function (one) { return one[0] === chosen; }) ? [] : [[chosen, "#" + value.field, ""]];
      box.appendChild(choose(gone.concat(offered), chosen, function (day) {
        const parts = day.split(":");
        value.of = parts[0];
        if (parts.length > 1) value.field = Number(parts[1]);
        else delete value.field;
        ask();
      }, words.field));
      ["from", "to"].forEach(function (end, place) {
        if (place) box.appendChild(element("span", "crm-soft", "–"));
        const typed = node.typed && node.typed[place] !== undefined ? node.typed[place] : value[end];
        box.appendChild(number(typed, words[end], false, function (text) {
          node.typed = node.typed || [];
          node.typed[place] = text;
          value[end] = whole(text);
          ask();
        }));
      });
      box.appendChild(element("span", "crm-soft", field.unit));
      return box;
    }

    // What she did, how many times, in how many days, and about what.
    function fact(node) {
      const value = node.condition.value;
      const box = element("span", "seg-range");
      box.appendChild(choose(offer.choices.fact, value.kind, function (kind) { value.kind = kind; ask(); }, words.field));
      times(node, box);
      const offered = offer.choices.subjects;
      if (offered.length) {
        const subjects = value.subjects || [];
        const shown = subjects.length ? subjects[0] : "";
        const rest = shown && !isOffered(shown) ? [[shown, shown, ""]] : [];
        if (subjects.length < 2) {
          box.appendChild(choose([["", words.about_some, ""]].concat(rest, offered), shown, function (subject) {
            if (subject) value.subjects = [subject];
            else delete value.subjects;
            about.value = subject;
            about.hidden = isOffered(subject);
            ask();
          }, words.about));
        }
      }
      const about = number((value.subjects || []).join(" "), words.about, false, function (text) {
        const subjects = text.split(/[\s、]+/).filter(Boolean);
        if (subjects.length) value.subjects = subjects;
        else delete value.subjects;
        ask();
      });
      about.inputMode = "text";
      about.classList.add("seg-about");
      about.hidden = (value.subjects || []).length === 1 && isOffered(value.subjects[0]);
      box.appendChild(about);
      return box;
    }
    function isOffered(subject) {
      return offer.choices.subjects.some(function (one) { return one[0] === subject; });
    }

    // How many times, in how many days.
    function times(node, box) {
      const value = node.condition.value;
      node.typed = node.typed || [value.times, value.days];
      ["times", "days"].forEach(function (name, place) {
        if (place) box.appendChild(element("span", "crm-soft", words.within));
        box.appendChild(number(node.typed[place], words[name], false, function (text) {
          node.typed[place] = text;
          value[name] = whole(text);
          ask();
        }));
        box.appendChild(element("span", "crm-soft", words[name]));
      });
      return box;
    }

    // A field of the house, how it is asked, and what its value shall be.
    function own(node) {
      const condition = node.condition;
      const value = condition.value;
      const box = element("span", "seg-range");
      const owns = offer.choices.custom;
      if (!owns.length) return element("span", "crm-soft", words.nothing_to_choose);
      const chosen = owns.filter(function (one) { return one[0] === value.field; })[0];
      const listed = owns.map(function (one) { return [one[0], one[1]]; });
      if (!chosen) listed.unshift([value.field, "#" + value.field]);
      box.appendChild(choose(listed, value.field, function (id) {
        node.condition = freshOwn(owns.filter(function (one) { return String(one[0]) === id; })[0]);
        node.typed = null;
        show(node);
      }, words.field));
      const ops = chosen ? ownOps(chosen) : fields.custom.ops;
      box.appendChild(choose(ops, condition.op, function (op) {
        node.condition = freshOwn(chosen || [value.field], op);
        node.typed = null;
        show(node);
      }, words.comparison));
      if (condition.op === "between") {
        const isDay = chosen ? chosen[2] === "date" : typeof (value.from || value.to) === "string";
        ["from", "to"].forEach(function (end, place) {
          if (place) box.appendChild(element("span", "crm-soft", "–"));
          const typed = node.typed && node.typed[place] !== undefined ? node.typed[place] : value[end];
          const input = number(typed, words[end], false, function (text) {
            node.typed = node.typed || [];
            node.typed[place] = text;
            value[end] = isDay ? text || null : signed(text);
            ask();
          });
          if (isDay) input.type = "date";
          box.appendChild(input);
        });
      } else if (condition.op === "in" || condition.op === "not_in") {
        if (chosen && chosen[2] === "choice") {
          const ticks = element("span", "seg-choices");
          box.appendChild(ticks);
          chosen[3].concat(value.values.filter(function (one) { return chosen[3].indexOf(one) < 0; })).forEach(function (text) {
            const label = element("label");
            const tick = element("input");
            tick.type = "checkbox";
            tick.checked = value.values.indexOf(text) >= 0;
            tick.addEventListener("change", function () {
              value.values = value.values.filter(function (one) { return one !== text; });
              if (tick.checked) value.values.push(text);
              ask();
            });
            label.appendChild(tick);
            label.appendChild(element("span", "", text));
            ticks.appendChild(label);
          });
        } else {
          const input = number(value.values.join(" "), words.own_values, false, function (text) {
            value.values = text.split(/[\s、]+/).filter(Boolean);
            ask();
          });
          input.inputMode = "text";
          input.classList.add("seg-about");
          box.appendChild(input);
        }
      }
      return box;
    }
    function signed(text) {
      if (text === "") return null;
      return /^-?\d{1,15}$/.test(text) ? Number(text) : NaN;
    }

    // Chips of what is chosen, and a panel with groups and a search to choose from.
    function picker(node, choices) {
      const condition = node.condition;
      if (!choices.length) return element("span", "crm-soft", words.nothing_to_choose);
      const names = {};
      choices.forEach(function (choice) { names[choice[0]] = choice[1]; });
      const box = element("div", "seg-picker");
      const chips = element("span", "seg-chips");
      const opener = button(words.choose, "crm-button crm-small crm-quiet", function () { open(panel.hidden); });
      const panel = element("div", "seg-panel");
      panel.id = "seg-panel-" + ++serial;
      panel.hidden = true;
      opener.setAttribute("aria-expanded", "false");
      opener.setAttribute("aria-controls", panel.id);
      const search = element("input", "seg-search");
      search.type = "search";
      search.placeholder = words.search;
      search.setAttribute("aria-label", words.search);
      const list = element("div", "seg-choices");
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", fields[condition.field].label);

      function change(id, isChosen) {
        condition.value = condition.value.filter(function (one) { return one !== id; });
        if (isChosen) condition.value.push(id);
        showChips();
        ask();
      }
      function showChips() {
        chips.replaceChildren();
        condition.value.forEach(function (id) {
          const name = names[id] || "#" + id;
          const chip = element("span", "crm-chip", name);
          const off = button("×", "", function () {
            change(id, false);
            if (!panel.hidden) fill();
            opener.focus();
          });
          off.setAttribute("aria-label", words.remove + " " + name);
          chip.appendChild(off);
          chips.appendChild(chip);
        });
      }
      function fill() {
        const wanted = search.value.trim().toLowerCase();
        list.replaceChildren();
        let heading = null;
        choices.forEach(function (choice) {
          if (wanted && (choice[1] + " " + choice[2]).toLowerCase().indexOf(wanted) < 0) return;
          if (choice[2] && choice[2] !== heading) {
            heading = choice[2];
            list.appendChild(element("span", "seg-heading", heading));
          }
          const label = element("label");
          const tick = element("input");
          tick.type = "checkbox";
          tick.checked = condition.value.indexOf(choice[0]) >= 0;
          tick.addEventListener("change", function () { change(choice[0], tick.checked); });
          label.appendChild(tick);
          label.appendChild(element("span", "", choice[1]));
          list.appendChild(label);
        });
        if (!list.children.length) list.appendChild(element("span", "crm-soft", words.nothing_found));
      }
      function open(isOpen) {
        panel.hidden = !isOpen;
        opener.setAttribute("aria-expanded", String(isOpen));
        opener.textContent = isOpen ? words.close : words.choose;
        if (isOpen) {
          fill();
          if (choices.length > 12) search.focus();
        }
      }
      search.addEventListener("input", fill);
      box.addEventListener("keydown", function (event) {
        if (event.key !== "Escape" || panel.hidden) return;
        event.stopPropagation();
        open(false);
        opener.focus();
      });
      showChips();
      if (choices.length > 12) panel.appendChild(search);
      panel.appendChild(list);
      box.appendChild(chips);
      box.appendChild(opener);
      box.appendChild(panel);
      if (node.isNew) open(true);
      return box;
    }

    function valueOf(node) {
      const condition = node.condition;
      const field = fields[condition.field];
      if (field.kind === "range" || field.kind === "yuan") return range(node, field);
      if (PICKED.indexOf(field.kind) >= 0) return picker(node, offer.choices[field.kind]);
      if (field.kind === "anniversary") return anniversary(node, field);
      if (field.kind === "fact") return fact(node);
      if (field.kind === "times") return times(node, element("span", "seg-range"));
      if (field.kind === "custom") return own(node);
      const box = element("span", "seg-range");
      if (field.kind === "number") {
        const typed = node.typed ? node.typed[0] : condition.value;
        box.appendChild(number(typed, field.label, false, function (text) {
          node.typed = [text];
          condition.value = whole(text);
          ask();
        }));
        box.appendChild(element("span", "crm-soft", field.unit));
      } else if (field.kind === "account" || field.kind === "consent") {
        box.appendChild(choose(offer.choices[field.kind], condition.value, function (value) {
          condition.value = field.kind === "consent" ? value : value === "" ? null : Number(value);
          ask();
        }, field.label));
      }
      return box;
    }

    function missingOwn(value) {
      if (!value.field) return words.nothing_to_choose;
      if (value.values) return value.values.length ? "" : words.own_nothing;
      if (!("from" in value)) return "";
      if (Number.isNaN(value.from) || Number.isNaN(value.to)) return words.whole;
      if (value.from === null && value.to === null) return words.give_end;
      return value.from !== null && value.to !== null && value.from > value.to ? words.order : "";
    }

    // What is missing in a condition, "" when it can be asked.
    function missing(condition) {
      const kind = fields[condition.field].kind;
      if (PICKED.indexOf(kind) >= 0) return condition.value.length ? "" : words.choose_one;
      if (kind === "custom") return missingOwn(condition.value);
      if (kind === "fact" || kind === "times") return condition.value.times >= 1 && condition.value.days >= 1 ? "" : words.give_times;
      if (kind === "number") return condition.value >= 1 ? "" : words.give_number;
      const isDay = kind === "anniversary";
      if (kind !== "range" && kind !== "yuan" && !isDay) return "";
      const low = isDay ? condition.value.from : condition.value[0], high = isDay ? condition.value.to : condition.value[1];
      if (Number.isNaN(low) || Number.isNaN(high)) return kind === "yuan" ? words.amount : words.whole;
      if (low === null && high === null) return words.give_end;
      return low !== null && high !== null && low > high ? words.order : "";
    }

    // --- The tree ---------------------------------------------------------------------------------------------------
    let shownConditions = []; // in reading order: {node, row, said}

    function showCondition(node, parent) {
      const place = shownConditions.length + 1;
      const row = element("div", "seg-condition");
      const condition = node.condition;
      row.setAttribute("role", "group");
      row.setAttribute("aria-label", words.condition + " " + place);
      row.appendChild(element("span", "seg-place", String(place)));
      const names = offer.fields.map(function (field) { return [field.field, field.label, field.group]; });
      const which = choose(names, condition.field, function (name) {
        node.condition = fresh(name);
        node.typed = null;
        node.isNew = true;
        show(node);
      }, words.field);
      row.appendChild(which);
      node.focus = which;
      const ops = fields[condition.field].ops;
      if (ops.length > 1 && condition.field !== "custom") {
        row.appendChild(choose(ops, condition.op, function (op) { condition.op = op; ask(); }, words.comparison));
      } else if (fields[condition.field].kind === "number") {
        row.appendChild(element("span", "crm-soft", ops[0][1]));
      }
      row.appendChild(valueOf(node));
      const off = button("×", "seg-remove", function () { remove(node, parent); });
      off.setAttribute("aria-label", words.remove + " " + words.condition + " " + place);
      off.title = words.remove;
      row.appendChild(off);
      const said = element("p", "seg-said");
      said.id = "seg-said-" + ++serial;
      said.hidden = true;
      row.setAttribute("aria-describedby", said.id);
      row.appendChild(said);
      node.isNew = false;
      shownConditions.push({ node: node, row: row, said: said });
      return row;
    }

    function remove(node, parent) {
      parent.items.splice(parent.items.indexOf(node), 1);
      show(parent);
    }

    function showGroup(node, parent, depth) {
      const box = element("div", "seg-group");
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", words.match + " " + words[node.join]);
      const head = element("div", "seg-head");
      head.appendChild(element("span", "", words.match));
      const joins = JOINS.map(function (join) { return [join, words[join]]; });
      head.appendChild(choose(joins, node.join, function (join) { node.join = join; show(node, "join"); }, words.match));
      if (parent) {
        const off = button("×", "seg-remove", function () { remove(node, parent); });
        off.setAttribute("aria-label", words.remove_group);
        off.title = words.remove_group;
        head.appendChild(off);
      }
      box.appendChild(head);
      if (!node.items.length && !parent) box.appendChild(element("p", "crm-soft", words.everybody));
      node.items.forEach(function (item) {
        box.appendChild(item.condition ? showCondition(item, node) : showGroup(item, node, depth + 1));
      });
      const foot = element("div", "seg-foot");
      const add = button("+ " + words.add, "crm-button crm-small", function () {
        const made = { condition: fresh(offer.fields[0].field), isNew: true };
        node.items.push(made);
        show(made);
      });
      node.focus = add;
      node.joinFocus = head.querySelector("select");
      foot.appendChild(add);
      if (depth < offer.deepest - 1) {
        foot.appendChild(button("+ " + words.add_group, "crm-button crm-small crm-quiet", function () {
          const inner = group(node.join === "any" ? "all" : "any");
          inner.items.push({ condition: fresh(offer.fields[0].field), isNew: true });
          node.items.push(inner);
          show(inner.items[0]);
        }));
      }
      box.appendChild(foot);
      return box;
    }

    function show(focused, where) {
      shownConditions = [];
      rows.replaceChildren(showGroup(tree, null, 1));
      const aim = focused && (where === "join" ? focused.joinFocus : focused.focus);
      if (aim) aim.focus();
      ask();
    }

    rows.addEventListener("keydown", function (event) {
      // Return in a field asks again; it does not save the whole form.
      if (event.key === "Enter" && event.target.tagName === "INPUT") {
        event.preventDefault();
        ask();
      }
    });

    // --- Asking the server ------------------------------------------------------------------------------------------
    let timer = 0;
    let asking = null; // the AbortController of the question on its way

    function say(text, isBad) {
      state.textContent = text;
      state.classList.toggle("seg-bad", Boolean(isBad));
    }

    function mark(shown, text) {
      shown.said.textContent = text;
      shown.said.hidden = !text;
      shown.row.classList.toggle("seg-wrong", Boolean(text));
      shown.row.querySelectorAll("input,select").forEach(function (input) {
        if (text) input.setAttribute("aria-invalid", "true");
        else input.removeAttribute("aria-invalid");
      });
    }

    function ask() {
      hidden.value = JSON.stringify(write(tree));
      clearTimeout(timer);
      if (asking) asking.abort();
      asking = null;
      error.hidden = true;
      again.hidden = true;
      preview.classList.add("seg-old");
      let unfinished = "";
      shownConditions.forEach(function (shown, place) {
        const text = missing(shown.node.condition);
        mark(shown, text);
        if (text && !unfinished) unfinished = words.condition + " " + (place + 1) + ": " + text;
      });
      if (unfinished) {
        say(words.incomplete + " " + unfinished + (preview.children.length ? " " + words.old : ""), true);
        return;
      }
      say(words.counting);
      timer = setTimeout(send, PATIENCE);
    }

    function send() {
      const mine = new AbortController();
      asking = mine;
      fetch(root.dataset.preview, {
        method: "POST",
        credentials: "same-origin",
        headers: {
          "Content-Type": "application/json",
          "X-CSRFToken": document.querySelector("input[name=csrfmiddlewaretoken]").value,
        },
        body: hidden.value,
        signal: mine.signal,
      }).then(function (answer) {
        return answer.json().then(function (said) { return { ok: answer.ok, said: said }; });
      }).then(function (result) {
        if (asking !== mine) return; // a newer question is on its way
        asking = null;
        if (!result.ok) {
          const blamed = result.said.number && shownConditions[result.said.number - 1];
          if (blamed) mark(blamed, result.said.message);
          error.textContent = result.said.message;
          error.hidden = Boolean(blamed);
          say(result.said.message, true);
          return;
        }
        preview.innerHTML = result.said.html; // rendered and escaped by our own server
        preview.classList.remove("seg-old");
        say("");
      }).catch(function (problem) {
        if (problem.name === "AbortError" || asking !== mine) return;
        asking = null;
        say(words.failed, true);
        again.hidden = false;
      });
    }

    again.addEventListener("click", ask);
    show();
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
