// The scan, slice by slice: pictures are decoded as they are needed, windowed by a table, and drawn
// with the outlines of lesions. Without this script the page is complete but for this section.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const scan = JSON.parse(find("scan-data").textContent);
  const {width, height} = scan;
  const last = scan.slices.length - 1;
  const canvas = find("slice-picture"), screen = find("slice-screen");
  const slider = find("slice-number"), outlines = find("slice-outlines");
  const presets = [...document.querySelectorAll("#viewer [data-window]")];
  const context = canvas.getContext("2d");
  const colours = scan.classes.map(([, colour]) => packed(colour));
  const decoded = new Map(); // slice -> codes, at most KEPT of them
  const KEPT = 40;
  let current = scan.start, chosen = null, grey = greyTable(0);

  function packed(colour) { // "#rrggbb" -> a pixel of a canvas in the memory's order of bytes
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return new Uint32Array(new Uint8ClampedArray([r, g, b, 255]).buffer)[0];
  }

  // code -> grey pixel under a window
  function greyTable(preset) {
    const [, wide, level] = scan.windows[preset];
    const bytes = new Uint8ClampedArray(4 * 256);
    scan.hu.forEach((hu, code) => {
      bytes.fill((hu - level + wide / 2) * 255 / wide, 4 * code, 4 * code + 3);
      bytes[4 * code + 3] = 255;
    });
    return new Uint32Array(bytes.buffer);
  }

  function reader(columns, rows) {
    const scratch = document.createElement("canvas");
    [scratch.width, scratch.height] = [columns, rows];
    return scratch.getContext("2d", {willReadFrequently: true});
  }
  const scratch = reader(width, height);

  // Some browsers hide pixels from pages, and would give noise for a scan.
  function readsPixels() {
    const test = reader(16, 16), grey = (x, y) => 16 * y + x;
    for (let y = 0; y < 16; y++) {
      for (let x = 0; x < 16; x++) {
        test.fillStyle = `rgb(${grey(x, y)}, ${grey(x, y)}, ${grey(x, y)})`;
        test.fillRect(x, y, 1, 1);
      }
    }
    return test.getImageData(0, 0, 16, 16).data.every((byte, at) => byte === (at % 4 === 3 ? 255 : at >> 2));
  }

  async function codesOf(index) {
    if (!decoded.has(index)) {
      decoded.set(index, decode(scan.slices[index].picture));
      if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
    }
    return decoded.get(index);
  }

  async function decode(picture) {
    const image = new Image();
    image.src = "data:image/jpeg;base64," + picture;
    await image.decode();
    scratch.drawImage(image, 0, 0);
    const pixels = scratch.getImageData(0, 0, width, height).data;
    const codes = new Uint8Array(width * height);
    for (let at = 0; at < codes.length; at++) codes[at] = pixels[4 * at];
    return codes;
  }

  // COCO's compressed run lengths, by column -> 1 inside, (height x width) by row
  function maskOf(counts) {
    const mask = new Uint8Array(width * height), runs = [];
    for (let at = 0, place = 0; at < counts.length;) {
      let run = 0, shift = 0, code;
      do {
        code = counts.charCodeAt(at++) - 48;
        run |= (code & 31) << shift;
        shift += 5;
      } while (code & 32);
      if (code & 16) run |= -1 << shift;
      if (runs.length > 2) run += runs[runs.length - 2];
      if (runs.length % 2) {
        for (let i = place; i < place + run; i++) mask[(i % height) * width + Math.floor(i / height)] = 1;
      }
      place += run;
      runs.push(run);
    }
    return mask;
  }

  function drawOutline(pixels, lesion) {
    const colour = colours[lesion.class];
    if (lesion.mask === null) return drawBox(pixels, lesion.box, colour);
    const mask = maskOf(lesion.mask);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = y * width + x;
        if (mask[at] && !(x && x < width - 1 && y && y < height - 1
          && mask[at - 1] && mask[at + 1] && mask[at - width] && mask[at + width])) pixels[at] = colour;
      }
    }
  }

  function drawBox(pixels, box, colour) {
    const [x0, y0, x1, y1] = box.map(Math.round);
    for (let y = Math.max(y0, 0); y < Math.min(y1, height); y++) {
      for (let x = Math.max(x0, 0); x < Math.min(x1, width); x++) {
        if (x === x0 || x === x1 - 1 || y === y0 || y === y1 - 1) pixels[y * width + x] = colour;
      }
    }
  }

  async function draw() {
    const index = current, slice = scan.slices[index];
    const codes = await codesOf(index);
    if (index !== current) return; // gone on meanwhile
    const image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
    for (let at = 0; at < pixels.length; at++) pixels[at] = grey[codes[at]];
    if (outlinesOn()) slice.lesions.forEach((lesion) => drawOutline(pixels, lesion));
    if (chosen) {
      const [x0, y0, x1, y1] = chosen;
      for (const [margin, colour] of [[5, "#000000"], [6, "#ffffff"], [7, "#ffffff"], [8, "#000000"]]) {
        drawBox(pixels, [x0 - margin, y0 - margin, x1 + margin, y1 + margin], packed(colour));
      }
    }
    context.putImageData(image, 0, 0);
    canvas.dataset.drawn = index;
    [1, -1, 2, -2].map((step) => index + step).filter((i) => i >= 0 && i <= last).forEach(codesOf);
  }

  function words(index) {
    const slice = scan.slices[index];
    const place = scan.step ? `, ${Math.round(index * scan.step)} mm above the lowest` : "";
    const found = slice.lesions.map((x) => `${scan.classes[x.class][0]} ${x.score.toFixed(2)}`).join(", ");
    const none = slice.searched === false ? "no lung: not searched" : "no lesion found";
    return `Slice ${index} of 0 to ${last}${place}. ${found ? `Lesions: ${found}` : none}.`;
  }

  function go(index, box = null) {
    current = Math.min(Math.max(index, 0), last);
    chosen = box;
    slider.value = current;
    slider.setAttribute("aria-valuetext", `slice ${current}`);
    find("slice-words").textContent = words(current);
    canvas.setAttribute("aria-label", `CT slice. ${words(current)}`);
    draw();
  }

  function choose(preset) {
    if (preset >= presets.length) return;
    presets.forEach((button, i) => button.setAttribute("aria-pressed", i === preset));
    grey = greyTable(preset);
    draw();
  }

  const outlinesOn = () => outlines.getAttribute("aria-pressed") === "true";
  function toggle() {
    outlines.setAttribute("aria-pressed", !outlinesOn());
    draw();
  }

  const steps = {ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10,
    Home: -Infinity, End: Infinity};
  find("viewer").addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) go(current + steps[event.key]);
    else if (event.key.toLowerCase() === "o") toggle();
    else if ("123".includes(event.key)) choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
  });
  slider.addEventListener("input", () => go(Number(slider.value)));
  outlines.addEventListener("click", toggle);
  presets.forEach((button, preset) => button.addEventListener("click", () => choose(preset)));
  find("slice-lower").addEventListener("click", () => go(current - 1));
  find("slice-higher").addEventListener("click", () => go(current + 1));

  // The wheel turns slices once the picture was clicked, so that it does not stop who scrolls the page.
  let turned = 0; // pixels; touchpads send many small turns
  screen.addEventListener("wheel", (event) => {
    if (document.activeElement !== screen || event.ctrlKey) return;
    event.preventDefault();
    turned += event.deltaMode ? 60 * Math.sign(event.deltaY) : event.deltaY;
    if (Math.abs(turned) < 60) return;
    go(current - Math.sign(turned));
    turned = 0;
  }, {passive: false});

  // Dragging to the side turns slices; up and down a finger scrolls the page.
  let from = null;
  screen.addEventListener("pointerdown", (event) => {
    from = {x: event.clientX, slice: current};
    screen.setPointerCapture(event.pointerId);
  });
  screen.addEventListener("pointermove", (event) => {
    if (!from) return;
    const pixels = Math.max(4, screen.clientWidth / (last + 1));
    const index = from.slice + Math.round((event.clientX - from.x) / pixels);
    if (index !== current) go(index);
  });
  for (const end of ["pointerup", "pointercancel"]) screen.addEventListener(end, () => { from = null; });

  // Rows with a slice, and perhaps a box, lead to it.
  function makeLink(row) {
    const cell = row.cells[0], button = document.createElement("button");
    const box = row.dataset.box ? row.dataset.box.split(",").map(Number) : null;
    button.type = "button";
    button.className = "goto";
    button.append(...cell.childNodes);
    button.title = "show it in the scan";
    cell.append(button);
    row.addEventListener("click", () => {
      go(Number(row.dataset.slice), box);
      find("viewer").scrollIntoView();
      screen.focus({preventScroll: true});
    });
  }

  find("viewer").hidden = false;
  if (!readsPixels()) {
    find("slice-words").textContent = "This browser does not let pages read pictures (a protection from tracking), so the scan cannot be shown here: open the report in another browser.";
    screen.hidden = find("slice-tools").hidden = true;
    return;
  }
  document.querySelectorAll("tr[data-slice]").forEach(makeLink);
  go(current);
})();
