// Try a shopper: history at the left, two models' lists side by side. No framework, no other host;
// everything shown is set as text, never as markup.
"use strict";

const TEXTS = {
  es: {
    page: "qhatu · Probar con un comprador", title: "Probar con un comprador",
    lead: "Elija un comprador y vea qué le recomendaría cada modelo, y por qué.",
    skip: "Ir a las listas", api: "API", shopper: "Código del comprador", show: "Ver", random: "Al azar",
    anonymous: "Visita anónima", placement: "Lugar de la tienda", count: "Cuántos", onlyNew: "Sin lo ya comprado",
    listA: "Lista A", listB: "Lista B", model: "Modelo", more: "Mostrar más",
    keyLabel: "Este servidor pide una clave", keyUse: "Usar la clave", keyHint: "Queda solo en esta pestaña.",
    keyWrong: "La clave no es válida.", popularity: "Lo más vendido",
    historyOf: (id) => `Historial de ${id}`, visit: "Visita anónima", thisVisit: "esta visita",
    noteUser: (n) => (n === 1 ? "1 movimiento, el más reciente primero." : `${n} movimientos, los más recientes primero.`),
    noteVisit: "Pulse «Ver producto» en una lista: queda registrado como una vista de esta visita y la lista siguiente cambia.",
    nothing: "Todavía no hay movimientos.", emptyList: "Ningún producto cumple lo pedido.",
    made: (version, ms) => `${version} · ${ms} ms`, only: "Solo aquí", inBoth: "En ambas", viewItem: "Ver producto",
    shared: (both, of) => (both === of ? `Las dos listas tienen los mismos ${of} productos.` : `Coinciden en ${both} de ${of} productos.`),
    barA: (n) => `Solo A: ${n}`, barBoth: (n) => `En ambas: ${n}`, barB: (n) => `Solo B: ${n}`,
    code: "Código", score: "puntaje",
    facts: { orders: "Pedidos", spent: "Gasto por pedido", last: "Última compra" },
    groups: { own: "Ya lo conoce", match: "Combina", trend: "Se vende bien", other: "Otras señales" },
    models: { blend: "mezcla aprendida", own_frequency: "lo que suele comprar", ease: "productos afines", item_knn: "quien compró esto", vmis_knn: "visitas parecidas", decayed_markov: "lo que sigue", popularity: "lo más vendido", recent_popularity: "lo más vendido ahora", department_popularity: "lo más vendido en su departamento", sasrec: "secuencia de compras" },
    loading: "Buscando…", done: (n) => `Listas al día para ${n}.`, unknown: (id) => `No hay compras de ${id}: se muestra lo que recibiría alguien nuevo.`,
    nobody: "Aún no hay compradores con historial.", failed: "No se pudo consultar al servidor.",
    kinds: { view: "Vio", click: "Hizo clic", add_to_cart: "Al carrito", remove_from_cart: "Quitó del carrito", purchase: "Compró", refund: "Devolvió" },
    places: { home: "Inicio", discover: "Descubrir (nuevo para el comprador)", product: "Página de producto", cart: "Carrito", buy_again: "Volver a comprar", email: "Correo", popular: "Lo más vendido" },
    aliases: { champion: "Campeón", challenger: "Retador" },
  },
  en: {
    page: "qhatu · Try a shopper", title: "Try a shopper",
    lead: "Choose a shopper and see what each model would recommend, and why.",
    skip: "Go to the lists", api: "API", shopper: "Shopper's code", show: "Show", random: "Random",
    anonymous: "Anonymous visit", placement: "Place in the shop", count: "How many", onlyNew: "Without what was bought",
    listA: "List A", listB: "List B", model: "Model", more: "Show more",
    keyLabel: "This server asks for a key", keyUse: "Use the key", keyHint: "It stays in this tab only.",
    keyWrong: "The key is not valid.", popularity: "Best sellers",
    historyOf: (id) => `History of ${id}`, visit: "Anonymous visit", thisVisit: "this visit",
    noteUser: (n) => (n === 1 ? "1 action, latest first." : `${n} actions, latest first.`),
    noteVisit: "Press “View product” in a list: it is recorded as a view of this visit, and the next list changes.",
    nothing: "No actions yet.", emptyList: "No product meets what was asked.",
    made: (version, ms) => `${version} · ${ms} ms`, only: "Only here", inBoth: "In both", viewItem: "View product",
    shared: (both, of) => (both === of ? `Both lists hold the same ${of} products.` : `${both} of ${of} products are in both lists.`),
    barA: (n) => `Only A: ${n}`, barBoth: (n) => `In both: ${n}`, barB: (n) => `Only B: ${n}`,
    code: "Code", score: "score",
    facts: { orders: "Orders", spent: "Spent an order", last: "Last purchase" },
    groups: { own: "Known to them", match: "Goes with it", trend: "Sells well", other: "Other signs" },
    models: { blend: "learned blend", own_frequency: "what they usually buy", ease: "related products", item_knn: "who bought this", vmis_knn: "similar visits", decayed_markov: "what follows", popularity: "best sellers", recent_popularity: "best sellers now", department_popularity: "best sellers in their department", sasrec: "sequence of purchases" },
    loading: "Looking…", done: (n) => `Lists are up to date for ${n}.`, unknown: (id) => `Nothing known of ${id}: this is what somebody new would get.`,
    nobody: "There are no shoppers with a history yet.", failed: "The server could not be asked.",
    kinds: { view: "Viewed", click: "Clicked", add_to_cart: "Into the cart", remove_from_cart: "Out of the cart", purchase: "Bought", refund: "Gave back" },
    places: { home: "Home", discover: "Discover (new to the shopper)", product: "Product page", cart: "Cart", buy_again: "Buy again", email: "E-mail", popular: "Best sellers" },
    aliases: { champion: "Champion", challenger: "Challenger" },
  },
};

/** Actions shown before "more" is asked for: the lists should not be far below on a phone. */
const SHORT = matchMedia("(max-width: 64rem)").matches ? 4 : 12;

/** What kind of reason each code is; the rest are other signs. */
const GROUPS = {
  bought_before: "own", viewed: "own",
  similar_to: "match", often_bought_after: "match", bought_together: "match", sequence: "match",
  popular: "trend", popular_recently: "trend", popular_in_category: "trend", popular_in_department: "trend",
};
const groupOf = (item) => GROUPS[item.reason.code] || "other";

const at = (id) => document.getElementById(id);
const state = { language: stored("qhatu-language") || "es", key: stored("qhatu-key"), who: null, limit: SHORT, data: null, now: null, turn: 0 };

function stored(name) {
  try { return sessionStorage.getItem(name); } catch { return null; }
}
function store(name, value) {
  try { sessionStorage.setItem(name, value); } catch { /* a browser may forbid it; then it lasts until reload */ }
}
function text() { return TEXTS[state.language]; }
function make(tag, className, content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (content !== undefined) element.textContent = content;
  return element;
}

class Refused extends Error {
  constructor(status, body) { super(body.hint ? `${body.message} (${body.hint})` : body.message); this.status = status; }
}

async function ask(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (state.key) headers.Authorization = `Bearer ${state.key}`;
  const response = await fetch(path, { ...options, headers });
  const body = await response.json();
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

function say(message, fault = false) {
  const status = at("status");
  status.textContent = message;
  status.className = fault ? "fault" : "";
}

function fail(error) {
  const wantsKey = error instanceof Refused && error.status === 401;
  if (wantsKey) {
    at("key-form").hidden = false;
    at("key").focus();
    say(state.key ? text().keyWrong : "", Boolean(state.key));
    return;
  }
  say(error instanceof Refused ? error.message : text().failed, true);
}

/** Titles that shout are told in a normal voice. */
function name(thing) {
  const title = thing.title || thing.item_id;
  if (!thing.title || title !== title.toLocaleUpperCase() || !/[A-ZÁÉÍÓÚÑ]{3}/.test(title)) return title;
  const low = title.toLocaleLowerCase().trim();
  return low.charAt(0).toLocaleUpperCase() + low.slice(1);
}

/** A tile with a product's initial, always of the same hue: something to recognize it by. */
function tile(thing) {
  const text = name(thing).replace(/^[^\p{L}\p{N}]+/u, "");
  const mark = make("span", "tile", (text.charAt(0) || "?").toLocaleUpperCase());
  mark.setAttribute("aria-hidden", "true");
  let sum = 7;
  for (const letter of thing.item_id) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  mark.style.setProperty("--hue", String(sum));
  return mark;
}

function money(price) { return price ? price.text : ""; }

function day(time) {
  const locale = state.language === "es" ? "es-PE" : "en-GB";
  return new Date(time).toLocaleDateString(locale, { timeZone: "America/Lima", day: "numeric", month: "short", year: "numeric" });
}

function drawHistory(history) {
  const words = text();
  const list = at("history");
  list.replaceChildren();
  at("history-title").textContent = state.who.user ? words.historyOf(state.who.user) : words.visit;
  at("history-note").textContent = state.who.user ? words.noteUser(history.total) : words.noteVisit;
  let before = "";
  for (const move of history.moves) {
    const date = day(move.time);
    if (date !== before) list.append(make("li", "day", date));
    before = date;
    const line = make("li");
    line.append(tile(move), make("span", "name", name(move)), make("span", "money", money(move.price)));
    const quantity = move.quantity > 1 ? ` × ${move.quantity}` : "";
    line.append(make("span", "detail", `${words.kinds[move.kind] || move.kind}${quantity} · ${move.item_id}`));
    list.append(line);
  }
  if (!history.moves.length) list.append(make("li", "empty", words.nothing));
  at("more").hidden = history.moves.length >= history.total;
}

/** What is known of the shopper in three figures. */
function drawFacts({ history, features }) {
  const words = text().facts;
  const row = at("facts");
  row.replaceChildren();
  const { user_orders: orders, avg_order_value: spent, last_purchase_date: last } = features || {};
  row.hidden = !orders;
  if (!orders) return;
  const currency = history.moves.map((move) => move.price && move.price.currency).find(Boolean) || "";
  const amount = Number(spent).toLocaleString("es-PE", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const facts = [[words.orders, `${orders}`], [words.spent, `${currency === "PEN" ? "S/" : currency} ${amount}`]];
  if (last) facts.push([words.last, day(last)]);
  for (const [label, value] of facts) {
    const fact = make("div");
    fact.append(make("dt", "", label), make("dd", "", value));
    row.append(fact);
  }
}

/** How alike the lists are: a sentence, and a bar of what only A, both and only B hold. */
function drawShared(a, b) {
  const words = text();
  const inA = new Set(a.items.map((item) => item.item_id));
  const both = b.items.filter((item) => inA.has(item.item_id)).length;
  const parts = [["a", words.barA, a.items.length - both], ["both", words.barBoth, both], ["b", words.barB, b.items.length - both]];
  at("shared-text").textContent = words.shared(both, Math.max(a.items.length, b.items.length));
  at("shared-bar").replaceChildren(...parts.filter(([, , count]) => count).map(([side, label, count]) => {
    const part = make("span", `part ${side}`, label(count));
    part.style.flexGrow = String(count);
    return part;
  }));
}

/** How many of the list's items stand there for which kind of reason. */
function mix(answer) {
  const row = make("span", "mix");
  for (const [group, label] of Object.entries(text().groups)) {
    const count = answer.items.filter((item) => groupOf(item) === group).length;
    if (count) row.append(make("span", `chip ${group}`, `${label} ${count}`));
  }
  return row;
}

function drawList(side, answer, others) {
  const words = text();
  at(`version-${side}`).replaceChildren(mix(answer), make("span", "", words.made(answer.model_version, answer.took)));
  const list = at(`list-${side}`);
  list.replaceChildren();
  // What fewer items share is marked: those in both lists, or those in this one alone.
  const rare = 2 * answer.items.filter((item) => others.has(item.item_id)).length < answer.items.length;
  answer.items.forEach((item, place) => {
    const line = make("li");
    line.append(make("span", "place", `${place + 1}`), tile(item), make("span", "name", name(item)), make("span", "money", money(item.price)));
    const why = make("span", `why ${groupOf(item)}`, item.reason.text[state.language]);
    const score = item.score >= 0.001 ? ` · ${words.score} ${item.score.toFixed(3)}` : "";
    const detail = make("span", "detail", `${words.code} ${item.item_id}${score}`);
    if (others.has(item.item_id) === rare) detail.prepend(make("span", "tag only", rare ? words.inBoth : words.only));
    line.append(why, detail);
    if (!state.who.user) {
      const view = make("button", "", words.viewItem);
      view.type = "button";
      view.setAttribute("aria-label", `${words.viewItem}: ${name(item)}`);
      view.addEventListener("click", () => viewed(item));
      line.append(view);
    }
    list.append(line);
  });
  if (!answer.items.length) list.append(make("li", "empty", words.emptyList));
}

function draw() {
  if (!state.data) return;
  const { history, a, b } = state.data;
  const ids = (answer) => new Set(answer.items.map((item) => item.item_id));
  drawHistory(history);
  drawFacts(state.data);
  drawShared(a, b);
  drawList("a", a, ids(b));
  drawList("b", b, ids(a));
  at("board").hidden = false;
}

async function list(side) {
  const words = new URLSearchParams({ placement: at("placement").value || "home", k: at("k").value });
  if (state.who.user) words.set("user_id", state.who.user); else words.set("session_id", state.who.session);
  if (at("fresh").checked) words.set("exclude_bought", "true");
  const model = at(`model-${side}`).value;
  if (model) words.set("model", model);
  const begun = performance.now();
  const answer = await ask(`/v1/recommendations?${words}`);
  answer.took = Math.max(1, Math.round(performance.now() - begun));
  return answer;
}

async function refresh() {
  if (!state.who) return;
  const turn = ++state.turn;
  say(text().loading);
  const { user, session } = state.who;
  const place = user ? `/v1/users/${encodeURIComponent(user)}` : `/v1/sessions/${encodeURIComponent(session)}`;
  try {
    const known = user ? ask(`/v1/features/user?key=${encodeURIComponent(user)}`) : null;
    const [history, features, a, b] = await Promise.all([ask(`${place}/history?limit=${state.limit}`), known, list("a"), list("b")]);
    if (turn !== state.turn) return;
    state.data = { history, features: features && (features.features || features), a, b };
    draw();
    say(user && !history.total ? text().unknown(user) : text().done(user || text().thisVisit));
  } catch (error) {
    if (turn === state.turn) fail(error);
  }
}

function choose(who) {
  state.who = who;
  state.limit = SHORT;
  at("shopper").value = who.user || "";
  return refresh();
}

async function random() {
  try {
    const { total } = await ask("/v1/users?limit=1");
    if (!total) { say(text().nobody); return; }
    const skip = Math.floor(Math.random() * total);
    const { users } = await ask(`/v1/users?limit=1&skip=${skip}`);
    if (users.length) await choose({ user: users[0].user_id });
  } catch (error) { fail(error); }
}

function token() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function viewed(item) {
  try {
    const { now } = await ask("/v1/models");
    const time = new Date(new Date(now).getTime() + 1000).toISOString();
    const event = { event_id: `console-${token()}`, time, kind: "view", session_id: state.who.session, item_id: item.item_id };
    await ask("/v1/events", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(event) });
    await refresh();
  } catch (error) { fail(error); }
}

let asked = 0;
async function suggest() {
  const turn = ++asked;
  try {
    const { users } = await ask(`/v1/users?limit=12&search=${encodeURIComponent(at("shopper").value)}`);
    if (turn !== asked) return;
    at("shoppers").replaceChildren(...users.map((user) => {
      const option = make("option");
      option.value = user.user_id;
      return option;
    }));
  } catch (error) { fail(error); }
}

function fill(select, choices) {
  const chosen = select.value;
  select.replaceChildren(...choices.map(([value, label]) => {
    const option = make("option", "", label);
    option.value = value;
    return option;
  }));
  if (choices.some(([value]) => value === chosen)) select.value = chosen;
}

function drawChoices() {
  if (!state.models) return;
  const words = text();
  const order = Object.keys(words.places);
  const rank = (name) => (order.indexOf(name) + 1) || order.length + 1;
  const places = [...state.models.placements].sort((x, y) => rank(x) - rank(y));
  fill(at("placement"), places.map((name) => [name, words.places[name] || name]));
  const live = state.models.models.filter((model) => model.version);
  const choices = live.map((model) => [model.alias, `${words.aliases[model.alias] || model.alias}: ${words.models[model.kind] || model.kind}`]);
  choices.push(["popularity", words.popularity]);
  const first = !at("model-a").options.length;
  fill(at("model-a"), choices);
  fill(at("model-b"), choices);
  if (first) at("model-b").selectedIndex = Math.min(1, choices.length - 1);
}

function speak(language) {
  state.language = language;
  store("qhatu-language", language);
  document.documentElement.lang = language === "es" ? "es-PE" : "en";
  document.title = text().page;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text()[element.dataset.text];
  for (const button of document.querySelectorAll("[data-language]")) button.setAttribute("aria-pressed", String(button.dataset.language === language));
  drawChoices();
  draw();
}

async function begin() {
  try {
    state.models = await ask("/v1/models");
    at("key-form").hidden = true;
    drawChoices();
    const wanted = new URLSearchParams(location.search).get("user");
    if (wanted) await choose({ user: wanted }); else await random();
    suggest();
  } catch (error) { fail(error); }
}

document.addEventListener("DOMContentLoaded", () => {
  speak(TEXTS[new URLSearchParams(location.search).get("lang")] ? new URLSearchParams(location.search).get("lang") : state.language);
  for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => speak(button.dataset.language));
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const user = at("shopper").value.trim();
    if (user) choose({ user });
  });
  at("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    state.key = at("key").value;
    store("qhatu-key", state.key);
    begin();
  });
  at("random").addEventListener("click", random);
  at("anonymous").addEventListener("click", () => choose({ session: `console-${token()}` }));
  at("more").addEventListener("click", () => { state.limit = Math.min(1000, state.limit + 100); refresh(); });
  at("shopper").addEventListener("input", suggest);
  for (const id of ["placement", "k", "fresh", "model-a", "model-b"]) at(id).addEventListener("change", refresh);
  begin();
});
