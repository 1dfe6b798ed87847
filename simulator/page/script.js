// The page of the simulator: one window, several people, each with a chat of their own with the bot.
// It uses the simulator's control side, like any test. Whatever a message holds is set as text, never as
// HTML. What the bot does arrives as server-sent events, each of which says only which chat to read again.
"use strict";

const $ = (id) => document.getElementById(id);
const COMMANDS = ["/start", "/help", "/profile"];
const FIRST_PEOPLE = [[1001, "Anna"], [1002, "Ben"], [1003, "Clara"]].map(([id, name]) => ({ id, name }));
const NO_ANSWER_MS = 15000; // a real client gives a pressed button up after about this (facts T18)
const KINDS = { photo: "Photo", document: "Document", voice: "Voice message", audio: "Audio", video: "Video",
  video_note: "Video note", animation: "Animation", sticker: "Sticker", other: "Message" };

let people = load("people", FIRST_PEOPLE);
let me = people.find((person) => person.id === load("me", 0)) ?? people[0];
let chat = { messages: [], answers: [], blocked: false, action: null };
const unread = new Set();
const shown = new Map(); // message_id -> {node, signature}
const waiting = new Map(); // callback_query_id -> {button, timer}
let seenAnswers = null; // of the chat that is open; null until it was read once

function load(key, otherwise) {
  try { return JSON.parse(localStorage.getItem("simulator." + key)) ?? otherwise; } catch { return otherwise; }
}

function save(key, value) {
  try { localStorage.setItem("simulator." + key, JSON.stringify(value)); } catch { /* a private window */ }
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// ---- Talking to the simulator

async function ask(path, body) {
  const request = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch("/control/" + path, request);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

async function say(text) {
  try {
    await ask("message", { chat_id: me.id, first_name: me.name, text });
  } catch (error) { toast("Not sent: " + error.message); }
}

async function press(message, key, button) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    const query = { chat_id: me.id, message_id: message.message_id, data: key.callback_data };
    const { callback_query_id: id } = await ask("press", query);
    const timer = setTimeout(() => { release(id); toast("The bot did not answer the button."); }, NO_ANSWER_MS);
    waiting.set(id, { button, timer });
    if (seenAnswers) chat.answers.filter((answer) => answer.callback_query_id === id).forEach(() => release(id));
  } catch (error) {
    button.removeAttribute("aria-busy");
    toast("Not pressed: " + error.message);
  }
}

function release(id) {
  const pressed = waiting.get(id);
  if (!pressed) return;
  clearTimeout(pressed.timer);
  pressed.button.removeAttribute("aria-busy");
  waiting.delete(id);
}

// ---- Reading the chat again. Changes that come while it is read lead to one more reading.

let reading = false;
let again = false;
let actionTimer;

async function refresh() {
  if (reading) { again = true; return; }
  reading = true;
  const whose = me.id;
  try {
    const fresh = await ask("chats/" + whose);
    if (whose === me.id) { chat = fresh; draw(); }
  } catch { /* the event stream says when the simulator is back */ }
  reading = false;
  if (again || whose !== me.id) { again = false; refresh(); }
}

async function look() {
  try {
    const bot = await ask("bot");
    $("bot").textContent = "@" + bot.username;
    document.title = "@" + bot.username + " – Telegram simulator";
    const trouble = !bot.webhook
      ? "The bot has not set a webhook yet; what you write is kept for it."
      : bot.pending > 0 && bot.last_error ? "The bot is not taking messages: " + bot.last_error : "";
    if ($("notice").textContent !== trouble) $("notice").textContent = trouble;
    $("notice").hidden = !trouble;
  } catch { /* as above */ }
}

function listen() {
  const events = new EventSource("/control/events");
  events.onopen = () => { online = true; refresh(); look(); };
  events.onerror = () => { online = false; drawStatus(); };
  events.onmessage = ({ data }) => {
    const id = Number(data);
    if (id === me.id || id === 0) refresh();
    else if (people.some((person) => person.id === id)) { unread.add(id); drawPeople(); }
  };
}
let online = false;

// ---- Drawing

function draw() {
  const list = $("messages");
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const hadFocus = list.contains(document.activeElement);
  const ids = new Set(chat.messages.map((message) => message.message_id));
  for (const [id, { node }] of shown) if (!ids.has(id)) { node.remove(); shown.delete(id); }
  let before = null;
  for (const message of chat.messages) {
    const old = shown.get(message.message_id);
    const signature = JSON.stringify(message);
    if (old?.signature === signature) { before = old.node; continue; }
    const node = drawMessage(message);
    if (old) { old.node.replaceWith(node); node.firstChild.classList.add("changed"); }
    else if (before) before.after(node);
    else list.prepend(node);
    shown.set(message.message_id, { node, signature });
    before = node;
  }
  if (hadFocus && !list.contains(document.activeElement)) $("text").focus();
  if (atEnd || seenAnswers === null) scroll.scrollTop = scroll.scrollHeight;
  $("empty").hidden = chat.messages.length > 0;
  drawAnswers();
  drawStatus();
  clearTimeout(actionTimer);
  if (chat.action) actionTimer = setTimeout(refresh, 5100); // it shows for 5 s (facts T13)
}

function drawStatus() {
  const status = $("status");
  const busy = online && chat.action;
  const text = !online ? "the simulator is away; trying again…" : busy ? chat.action.replaceAll("_", " ") : "bot";
  if (status.textContent !== text) status.textContent = text;
  status.classList.toggle("busy", Boolean(busy));
  $("block").textContent = chat.blocked ? "Unblock bot" : "Block bot";
  $("block").setAttribute("aria-pressed", String(chat.blocked));
}

function drawAnswers() {
  const first = seenAnswers === null;
  seenAnswers ??= new Set();
  for (const answer of chat.answers) {
    if (seenAnswers.has(answer.callback_query_id)) continue;
    seenAnswers.add(answer.callback_query_id);
    release(answer.callback_query_id);
    if (first || !answer.text) continue; // answers from before the page was opened are old news
    if (answer.show_alert) alertBox(answer.text); else toast(answer.text);
  }
}

function drawMessage(message) {
  const item = make("li", message.from);
  const bubble = make("div", "bubble");
  const who = message.from === "bot" ? "The bot" : message.from_name ?? "You";
  bubble.append(make("span", "hidden", who + ": "));
  const replied = message.reply_to && chat.messages.find((other) => other.message_id === message.reply_to);
  if (replied) bubble.append(make("p", "reply", replied.text || replied.kind));
  if (message.kind !== "text") bubble.append(drawMedia(message));
  if (message.text) bubble.append(drawText(message));
  const time = new Date(message.at_ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  bubble.append(make("p", "meta", (message.edited ? "edited " : "") + time));
  item.append(bubble);
  if (message.buttons.length) item.append(drawKeyboard(message));
  return item;
}

function drawMedia({ kind, content, media }) {
  const told = {
    location: () => `Location ${content.latitude}, ${content.longitude}`,
    venue: () => `Place: ${content.title}, ${content.address}`,
    contact: () => `Contact: ${content.first_name} ${content.phone_number}`,
    dice: () => `${content.emoji} ${content.value}`,
    poll: () => `Poll: ${content.question}: ` + content.options.map((option) => option.text).join(" / "),
  }[kind];
  const line = make("p", "media");
  try { line.textContent = told ? told() : KINDS[kind] ?? kind; } catch { line.textContent = kind; }
  if (media) line.append(": ", link(media, media) ?? media);
  return line;
}

function link(address, text) {
  try {
    if (!["http:", "https:", "tg:"].includes(new URL(address).protocol)) return null;
  } catch { return null; }
  const anchor = make("a", "", text);
  anchor.href = address;
  anchor.target = "_blank";
  anchor.rel = "noopener noreferrer";
  return anchor;
}

const STYLES = { bold: ["strong"], italic: ["em"], underline: ["u"], strikethrough: ["s"], code: ["code"],
  pre: ["code", "pre"], blockquote: ["span", "quote"], spoiler: ["span", "spoiler"] };

// Entity offsets count UTF-16 units, as JavaScript's strings do (facts T13).
function drawText({ text, entities }) {
  const paragraph = make("p", "text");
  const cuts = new Set([0, text.length]);
  for (const { offset, length } of entities) cuts.add(offset).add(offset + length);
  const edges = [...cuts].filter((cut) => cut >= 0 && cut <= text.length).sort((a, b) => a - b);
  for (let i = 0; i + 1 < edges.length; i++) {
    const [start, end] = [edges[i], edges[i + 1]];
    const over = entities.filter((entity) => entity.offset <= start && entity.offset + entity.length >= end);
    let nodes = over.some((entity) => entity.type === "code" || entity.type === "pre")
      ? [text.slice(start, end)] : linkify(text.slice(start, end));
    for (const entity of over.reverse()) nodes = [wrap(entity, nodes, text.slice(start, end))];
    paragraph.append(...nodes);
  }
  return paragraph;
}

function wrap(entity, nodes, text) {
  if (entity.type === "text_link") return link(entity.url, text) ?? text;
  const [tag, className] = STYLES[entity.type] ?? ["span"];
  const node = make(tag, className);
  node.append(...nodes);
  if (className === "spoiler") node.tabIndex = 0;
  return node;
}

function linkify(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"]+|(?<=^|[\s(])\/[a-z0-9_]{1,64}\b/gi)) {
    nodes.push(text.slice(at, match.index));
    nodes.push(match[0][0] === "/" ? commandLink(match[0]) : link(match[0], match[0]) ?? match[0]);
    at = match.index + match[0].length;
  }
  nodes.push(text.slice(at));
  return nodes;
}

function commandLink(command) {
  const button = make("button", "command", command);
  button.type = "button";
  button.onclick = () => say(command);
  return button;
}

function drawKeyboard(message) {
  const keyboard = make("div", "keyboard");
  for (const row of message.buttons) {
    const line = make("div");
    for (const key of row) line.append(drawKey(message, key));
    keyboard.append(line);
  }
  return keyboard;
}

function drawKey(message, key) {
  const anchor = key.url && link(key.url, key.text + " ↗");
  if (anchor) { anchor.className = "key"; return anchor; }
  const button = make("button", "key", key.text);
  button.type = "button";
  button.disabled = !key.callback_data;
  button.onclick = () => press(message, key, button);
  return button;
}

function drawPeople() {
  $("people").replaceChildren(...people.map((person) => {
    const button = make("button", "person");
    button.type = "button";
    button.setAttribute("aria-pressed", String(person === me));
    const avatar = make("span", "avatar", person.name[0]);
    avatar.setAttribute("aria-hidden", "true");
    avatar.style.setProperty("--hue", (person.id * 137) % 360);
    const label = make("span", "", person.name);
    label.append(make("small", "", "user " + person.id));
    button.append(avatar, label);
    if (unread.has(person.id)) {
      const dot = make("span", "unread");
      dot.append(make("span", "hidden", "new messages"));
      button.append(dot);
    }
    button.onclick = () => become(person);
    const item = make("li");
    item.append(button);
    return item;
  }));
}

function become(person) {
  me = person;
  save("me", me.id);
  unread.delete(me.id);
  for (const id of [...waiting.keys()]) release(id);
  shown.clear();
  $("messages").replaceChildren();
  seenAnswers = null;
  drawPeople();
  refresh();
  $("people").querySelector('[aria-pressed="true"]').focus();
}

function toast(text) {
  const node = make("div", "toast", text);
  $("toasts").append(node);
  setTimeout(() => node.remove(), 2500 + 40 * text.length);
}

function alertBox(text) {
  $("alert-text").textContent = text;
  if (!$("alert").open) $("alert").showModal();
}

// ---- What the person does

$("form").onsubmit = (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  $("scroll").scrollTop = $("scroll").scrollHeight;
  say(text);
};

$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("form").requestSubmit();
  }
};

$("block").onclick = async () => {
  try { await ask(chat.blocked ? "unblock" : "block", { user_id: me.id }); } catch (error) { toast(error.message); }
};

$("add").onclick = () => {
  const id = Math.max(...people.map((person) => person.id)) + 1;
  people = [...people, { id, name: "User " + id }];
  save("people", people);
  become(people.at(-1));
};

$("chips").append(...COMMANDS.map((command) => {
  const chip = make("button", "chip", command);
  chip.type = "button";
  chip.onclick = () => say(command);
  return chip;
}));

drawPeople();
listen();
setInterval(look, 5000);
if (matchMedia("(hover: hover)").matches) $("text").focus();
