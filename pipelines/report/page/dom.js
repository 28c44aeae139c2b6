// Elements of the page, and names in them.
const byId = (id) => document.getElementById(id);

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
};

const svgElement = (name, attributes = {}, ...children) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const setContent = (id, ...children) => byId(id).replaceChildren(...children.flat().filter(Boolean));

const option = (value, label, isChosen) => {
  const made = element("option", { value }, label);
  made.selected = isChosen;
  return made;
};

// Tells a screen reader what changed.
const announce = (text) => {
  byId("announcement").textContent = text;
};

const truncate = (text, length = 40) => {
  const characters = [...text];
  return characters.length > length ? `${characters.slice(0, length - 1).join("")}…` : text;
};

// A name from the data. `bdi` keeps its writing direction from affecting the text around it.
const nameElement = (name) =>
  element(
    "bdi",
    { class: name.length > 24 ? "name" : "name brief", title: name.length > 40 ? name : null },
    name === "" ? "(empty)" : name,
  );

// The first names of a list as text, each between the characters that isolate its writing direction.
const listNames = (names) => {
  const distinct = unique(names);
  const shown = distinct.slice(0, 4).map((name) => `\u2068${truncate(name, 36)}\u2069`);
  return shown.join(", ") + (distinct.length > 4 ? ` and ${distinct.length - 4} more` : "");
};

const dot = (color) => {
  const made = element("i", { class: "dot", "aria-hidden": "true" });
  made.style.background = color;
  return made;
};

const chip = (text, tone) => element("span", { class: `chip ${tone}` }, text);
