// Drives a report as a reader would, for test_viewer.py: what it sees becomes JSON at the page's end.
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
async function wait() { // for the slice that is asked for, on a busy machine, too
  await pause(60);
  for (let i = 0; i < 200 && picture.dataset.drawn !== number.value; i++) await pause(20);
}
const picture = document.getElementById("slice-picture");
const screen_ = document.getElementById("slice-screen");
const copy = Object.assign(document.createElement("canvas"), {width: picture.width, height: picture.height});
const reader = copy.getContext("2d", {willReadFrequently: true});
const number = document.getElementById("slice-number");
const seen = {};
function note(name) {
  reader.drawImage(picture, 0, 0);
  const pixels = reader.getImageData(0, 0, picture.width, picture.height).data;
  seen[name] = {drawn: Number(picture.dataset.drawn), pixels: [...pixels].filter((_, i) => i % 4 < 3),
    words: document.getElementById("slice-words").textContent,
    slider: Number(number.value)};
}
const key = (name) => screen_.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
async function step(name, act) { act(); await wait(); note(name); }
(async () => {
  await wait();
  note("start");
  seen.hidden = document.getElementById("viewer").hidden;
  await step("outlines off", () => key("o"));
  await step("mediastinum", () => key("2"));
  await step("bone", () => document.querySelector("[data-window=bone]").click());
  await step("lung", () => key("1"));
  await step("outlines on", () => document.getElementById("slice-outlines").click());
  await step("up", () => key("ArrowUp"));
  await step("down", () => key("ArrowDown"));
  await step("end", () => key("End"));
  await step("beyond", () => key("PageUp"));
  await step("page down", () => key("PageDown"));
  await step("home", () => key("Home"));
  const wheel = (y) => screen_.dispatchEvent(new WheelEvent("wheel", {deltaY: y, cancelable: true}));
  document.activeElement.blur();
  await step("wheel before a click", () => wheel(-100));
  screen_.focus();
  await step("wheel up", () => wheel(-100));
  await step("touchpad", () => { for (let i = 0; i < 13; i++) wheel(-10); });
  await step("slider", () => { number.value = 6; number.dispatchEvent(new Event("input")); });
  await step("higher", () => document.getElementById("slice-higher").click());
  screen_.setPointerCapture = () => {}; // there is no such pointer
  const pointer = (kind, x) => screen_.dispatchEvent(new PointerEvent(kind, {clientX: x}));
  await step("drag", () => {
    pointer("pointerdown", 100);
    pointer("pointermove", 100 + 2.2 * screen_.clientWidth / 12); // of 12 slices
    pointer("pointerup", 0);
    pointer("pointermove", 0);
  });
  const links = document.querySelectorAll("tr[data-slice] button");
  seen.links = [...links].map((link) => link.textContent);
  await step("jump", () => links[2].click());
  seen.focused = document.activeElement.id;
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(seen);
  document.body.append(result);
})();
