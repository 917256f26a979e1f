"use strict";
// The case browser of a report. All texts come from the page's own data, and reach it as text, never as markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const { arms, scores, cases, base } = data;
  const PAGE = 100;
  const LONG = 200000; // steps of a difference, beyond which the middle of two texts is shown as replaced
  const state = { shown: [], page: 0, open: -1, repeat: 0, view: arms.length > 1 ? "base" : "plain" };

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick") element.addEventListener("click", value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children.filter((one) => one != null));
    return element;
  };

  // Figures.

  const level = (value, score) => {
    if (value == null) return "–";
    const said = scores[score];
    if (said.share) return `${(value * 100).toFixed(value === 0 || value === 1 ? 0 : 1)} %`;
    return measured(value, said.unit, 4);
  };
  const signed = (value, score) => {
    const said = scores[score];
    const number = said.share ? Math.abs(value * 100).toFixed(0) : measured(Math.abs(value), said.unit, 3);
    return `${value > 0 ? "+" : "-"}${number}`;
  };
  const figure = (value, digits) =>
    value.toLocaleString("en", Math.abs(value) < 10 ** digits ? { maximumSignificantDigits: digits } : { maximumFractionDigits: 0 });
  const measured = (value, unit, digits) => {
    if (unit === "USD") return `${value < 0 ? "-" : ""}$${figure(Math.abs(value), digits)}`;
    if (unit === "s" && value !== 0 && Math.abs(value) < 1) return `${figure(value * 1000, digits)} ms`;
    return `${figure(value, digits)} ${unit}`.trim();
  };
  const seconds = (value) => (value == null ? "time unknown" : measured(value, "s", 3));

  const mean = (one, arm, score) => {
    let sum = 0;
    let count = 0;
    for (const run of one.runs[arm])
      for (const [which, value] of run.scores)
        if (which === score && value != null) {
          sum += value;
          count += 1;
        }
    return count ? sum / count : null;
  };
  const failed = (one, score) =>
    one.runs.some((runs) =>
      runs.some((run) => run.error != null || run.scores.some(([which, , , , error]) => error != null && which === score))
    );
  // The change from the base, positive where the new one is better; `null` without a pair.
  const change = (one, arm, score) => {
    const after = mean(one, arm, score);
    const before = scores[score].pairwise ? 0 : mean(one, base, score);
    if (after == null || before == null || arm === base) return null;
    return scores[score].higher ? after - before : before - after;
  };

  // The list.

  const chosen = () => ({
    text: find("f-text").value.trim().toLowerCase(),
    arm: Number(find("f-arm").value),
    score: Number(find("f-score").value || 0),
    kind: find("f-change").value,
    tag: find("f-tag").value,
    sort: find("f-sort").value,
  });

  const haystacks = new Map();
  const haystack = (number) => {
    if (!haystacks.has(number)) {
      const one = cases[number];
      const said = one.runs.flat().flatMap((run) => [run.text, run.error, ...run.scores.map((score) => score[3])]);
      haystacks.set(number, [one.id, one.input, one.expected, ...said].filter(Boolean).join("\n").toLowerCase());
    }
    return haystacks.get(number);
  };

  const matches = (number, want) => {
    const one = cases[number];
    if (want.tag !== "" && !one.tags.includes(Number(want.tag))) return false;
    if (want.kind === "failed") {
      if (!failed(one, want.score)) return false;
    } else if (want.kind) {
      const moved = change(one, want.arm, want.score);
      const kind = moved == null ? "unpaired" : moved > 0 ? "win" : moved < 0 ? "loss" : "tie";
      if (kind !== want.kind) return false;
    }
    return !want.text || haystack(number).includes(want.text);
  };

  const sum = (one, arm, field) =>
    one.runs[arm].reduce((total, run) => total + (Number(field === "text" ? run.text?.length : run[field]) || 0), 0);
  const orders = {
    data: () => 0,
    best: (one, want) => -(change(one, want.arm, want.score) ?? -Infinity),
    worst: (one, want) => change(one, want.arm, want.score) ?? Infinity,
    lowest: (one, want) => mean(one, want.arm, want.score) ?? Infinity,
    slowest: (one, want) => -sum(one, want.arm, "seconds"),
    dearest: (one, want) => -sum(one, want.arm, "cost"),
    longest: (one, want) => -sum(one, want.arm, "text"),
  };

  const apply = () => {
    const want = chosen();
    const key = cases.map((one) => orders[want.sort](one, want));
    state.shown = cases.map((_, number) => number).filter((number) => matches(number, want));
    state.shown.sort((a, b) => (key[a] === key[b] ? a - b : key[a] < key[b] ? -1 : 1));
    state.page = 0;
    find("count").textContent =
      `${state.shown.length.toLocaleString("en")} of ${cases.length.toLocaleString("en")} cases` +
      (state.shown.length ? "" : ": no case is like this; loosen a filter");
    list();
  };

  const chip = (one, want) => {
    if (failed(one, want.score)) return make("span", { class: "chip failed" }, "✕ failed");
    const moved = change(one, want.arm, want.score);
    if (arms.length < 2) return make("span", { class: "chip" }, level(mean(one, base, want.score), want.score));
    if (moved == null) return make("span", { class: "chip" }, "no pair");
    const raw = scores[want.score].higher ? moved : -moved;
    if (moved === 0) return make("span", { class: "chip" }, "= tie");
    return make("span", { class: `chip ${moved > 0 ? "win" : "loss"}` }, `${moved > 0 ? "▲" : "▼"} ${signed(raw, want.score)}`);
  };

  const list = () => {
    const want = chosen();
    const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
    const part = state.shown.slice(state.page * PAGE, (state.page + 1) * PAGE);
    find("rows").replaceChildren(
      ...part.map((number) => {
        const one = cases[number];
        const words = make("span", { class: "words", dir: "auto" }, one.input.slice(0, 140));
        const name = make("span", { class: "id" }, one.id);
        const pressed = number === state.open ? "true" : false;
        const button = make("button", { type: "button", "aria-current": pressed, onclick: () => open(number, true) },
          name, chip(one, want), words);
        button.dataset.case = number;
        return make("li", {}, button);
      })
    );
    find("rows").setAttribute("start", state.page * PAGE + 1);
    find("pages").hidden = pages < 2;
    find("where").textContent = `page ${state.page + 1} of ${pages}`;
    find("before").disabled = state.page === 0;
    find("after").disabled = state.page === pages - 1;
  };

  const turn = (by) => {
    state.page += by;
    list();
    find("rows").scrollTop = 0;
  };

  // The difference of two texts by words: Myers, An O(ND) difference algorithm (1986), in the middle that differs.

  const WORD = /\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu;
  const difference = (old, text) => {
    const a = old.match(WORD) ?? [];
    const b = text.match(WORD) ?? [];
    let start = 0;
    while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
    let end = 0;
    while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
    const pieces = [["same", a.slice(0, start).join("")]];
    pieces.push(...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)));
    pieces.push(["same", a.slice(a.length - end).join("")]);
    return pieces.filter((piece) => piece[1]);
  };

  const middle = (a, b) => {
    const trace = [];
    let reach = new Map([[1, 0]]);
    let steps = 0;
    for (let d = 0; d <= a.length + b.length; d += 1) {
      trace.push(reach);
      const next = new Map(reach);
      for (let k = -d; k <= d; k += 2) {
        if ((steps += 1) > LONG) return [["removed", a.join("")], ["added", b.join("")]];
        let x = k === -d || (k !== d && next.get(k - 1) < next.get(k + 1)) ? next.get(k + 1) : next.get(k - 1) + 1;
        while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
        next.set(k, x);
        if (x >= a.length && x - k >= b.length) return back(a, b, trace, d);
      }
      reach = next;
    }
    return [];
  };

  const back = (a, b, trace, steps) => {
    const found = [];
    let x = a.length;
    let y = b.length;
    const add = (kind, word) => {
      const last = found[found.length - 1];
      if (last && last[0] === kind) last[1].push(word);
      else found.push([kind, [word]]);
    };
    for (let d = steps; d > 0; d -= 1) {
      const reach = trace[d];
      const k = x - y;
      const from = k === -d || (k !== d && reach.get(k - 1) < reach.get(k + 1)) ? k + 1 : k - 1;
      const startX = reach.get(from);
      const startY = startX - from;
      while (x > startX && y > startY) {
        add("same", a[x - 1]);
        x -= 1;
        y -= 1;
      }
      if (x === startX) add("added", b[(y -= 1)]);
      else add("removed", a[(x -= 1)]);
    }
    while (x > 0) {
      add("same", a[x - 1]);
      x -= 1;
    }
    return found.reverse().map(([kind, words]) => [kind, words.reverse().join("")]);
  };

  const drawn = (pieces) =>
    pieces.map(([kind, words]) =>
      kind === "same" ? words : make(kind === "added" ? "ins" : "del", {}, words)
    );

  // One case.

  const open = (number, focus) => {
    state.open = number;
    state.repeat = Math.min(state.repeat, Math.max(0, ...cases[number].runs.map((runs) => runs.length - 1)));
    for (const button of find("rows").querySelectorAll("button")) {
      if (Number(button.dataset.case) === number) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
    history.replaceState(null, "", `#case=${encodeURIComponent(cases[number].id)}`);
    show();
    if (focus) find("case").focus({ preventScroll: matchMedia("(min-width: 900px)").matches });
  };

  const show = () => {
    const one = cases[state.open];
    const place = state.shown.indexOf(state.open);
    const step = (by) => () => move(by);
    const said = [...one.tags.map((tag) => data.tags[tag]), one.cluster == null ? null : `cluster ${one.cluster}`];
    const repeats = Math.max(...one.runs.map((runs) => runs.length));
    const basis = one.runs[base][state.repeat];
    const against = basis?.error == null ? basis?.text : null; // a run that failed said nothing to compare with
    const parts = [
      make("header", {},
        make("h3", { id: "case-name" }, `Case ${one.id}`),
        make("span", { class: "note" }, said.filter(Boolean).join(" · ")),
        make("span", { class: "buttons" },
          make("button", { type: "button", disabled: place <= 0, onclick: step(-1) }, "↑ previous"),
          make("button", { type: "button", disabled: place < 0 || place >= state.shown.length - 1, onclick: step(1) }, "↓ next"))),
      part("Input", one.input),
      one.expected == null ? null : part("Expected", one.expected),
      one.metadata == null ? null : part("Metadata", one.metadata, false),
      make("div", { class: "tools" }, choice("Answers", "view", views(one)), repeats > 1 ? choice("Repeat", "repeat", numbered(repeats)) : null),
      make("div", { class: "answers" }, ...one.runs.map((runs, arm) => answer(one, arm, runs[state.repeat], against))),
      table(one),
    ];
    find("case").replaceChildren(...parts.filter((part) => part != null));
  };

  const views = (one) => [
    ["plain", "as they are"],
    ...(arms.length > 1 ? [["base", `words changed from ${arms[base]}`]] : []),
    ...(one.expected == null ? [] : [["expected", "words changed from what is expected"]]),
  ];
  const numbered = (count) => Array.from({ length: count }, (_, number) => [String(number), String(number + 1)]);

  const choice = (label, name, options) => {
    const select = make("select", { id: `c-${name}` }, ...options.map(([value, text]) => make("option", { value }, text)));
    select.value = options.some(([value]) => value === String(state[name])) ? String(state[name]) : options[0][0];
    select.addEventListener("change", () => {
      state[name] = name === "repeat" ? Number(select.value) : select.value;
      show();
      find(`c-${name}`).focus();
    });
    return make("label", {}, `${label} `, select);
  };

  const part = (name, text, wide = true) =>
    make("details", { open: wide }, make("summary", {}, name), make("pre", { dir: "auto" }, text));

  const answer = (one, arm, run, against) => {
    const name = make("h4", {}, make("i", { class: `arm a${arm % 8}`, "aria-hidden": "true" }), arms[arm], arm === base ? make("small", {}, " base") : null);
    if (run == null) return make("section", {}, name, make("p", { class: "note" }, "was not run"));
    const other = state.view === "expected" ? one.expected : state.view === "base" && arm !== base ? against : null;
    const differs = other != null && run.error == null;
    const text = make("pre", { dir: "auto" }, ...(differs ? drawn(difference(other, run.text)) : [run.text]));
    const foot = [seconds(run.seconds), run.cost == null ? "cost unknown" : `$${run.cost}`, run.route].filter(Boolean);
    return make("section", { class: run.error == null ? null : "broken" }, name,
      run.blocked ? make("p", { class: "chip loss" }, "blocked by a guard") : null,
      run.error == null ? text : make("pre", { class: "error", dir: "auto" }, run.error),
      differs && other === run.text ? make("p", { class: "note" }, "no word differs") : null,
      make("p", { class: "note" }, foot.join(" · ")),
      run.trace.length ? make("details", { open: run.error != null }, make("summary", {}, "Trace"),
        make("ol", { class: "trace" }, ...run.trace.map((line) => make("li", { dir: "auto" }, line)))) : null);
  };

  const table = (one) => {
    const of = (arm, score) => one.runs[arm][state.repeat]?.scores.find(([which]) => which === score);
    const rows = scores.map((score, number) => {
      const cells = arms.map((_, arm) => {
        const found = of(arm, number);
        if (found == null) return make("td", { class: "note" }, "–");
        const [, value, label, explanation, error] = found;
        if (error != null) return make("td", {}, make("details", {}, make("summary", { class: "bad" }, "failed"), make("pre", { class: "error" }, error)));
        return make("td", {},
          make("b", {}, value == null ? (label == null ? "does not apply" : "") : level(value, number)),
          label == null ? null : ` ${label}`,
          explanation ? make("p", { class: "note", dir: "auto" }, explanation) : null);
      });
      return make("tr", {}, make("th", { scope: "row" }, score.name), ...cells);
    });
    const head = make("tr", {}, make("th", { scope: "col" }, "score"), ...arms.map((name) => make("th", { scope: "col" }, name)));
    return make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "scores of the case" },
      make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  };

  const move = (by) => {
    const place = state.shown.indexOf(state.open) + by;
    if (place < 0 || place >= state.shown.length) return;
    const page = Math.floor(place / PAGE);
    if (page !== state.page) turn(page - state.page);
    open(state.shown[place], false);
    find("rows").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
  };

  // What people do.

  for (const name of ["f-arm", "f-score", "f-change", "f-tag", "f-sort"]) find(name).addEventListener("change", apply);
  let waiting = 0;
  find("f-text").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(apply, 120);
  });
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("before").addEventListener("click", () => turn(-1));
  find("after").addEventListener("click", () => turn(1));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") find("f-text").focus();
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else return;
    event.preventDefault();
  });

  const linked = decodeURIComponent((/^#case=(.*)$/.exec(location.hash) ?? ["", ""])[1]);
  find("browser").hidden = false;
  apply();
  const wanted = cases.findIndex((one) => one.id === linked);
  if (wanted >= 0) {
    open(wanted, false);
    find("case").scrollIntoView();
  } else if (state.shown.length) {
    state.open = state.shown[0];
    list();
    show();
  }
})();
