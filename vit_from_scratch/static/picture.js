// The picture: what the model sees, with the chosen map on it; point at it, hide patches, draw, erase, bring your
// own.
import {
  button,
  cellUnder,
  colourOf,
  colours,
  frame,
  h,
  percent,
  scheduler,
  setText,
  speaker,
  stepOnGrid,
  tick,
  touches,
} from "./tools.js";
import { help } from "./words.js";

const TOOLS = [
  ["look", "Look", "A click chooses the patch that looks; Shift and a click, what it looks at.", "A tap chooses the patch that looks."],
  [
    "hide",
    "Hide",
    "A click hides a patch, or shows it again. Drag to hide many; on the keyboard, Shift with the arrow keys.",
    "A tap hides a patch, or shows it again.",
  ],
  ["draw", "Draw", "Draw on the picture; the model reads it at once."],
  ["erase", "Erase", "Bring the original pixels back, stroke by stroke."],
];

// Bytes (H, W, C) as a canvas.
export function toCanvas(model, pixels, canvas = document.createElement("canvas")) {
  const { C, H, W } = model;
  Object.assign(canvas, { width: W, height: H });
  const ctx = canvas.getContext("2d"),
    data = ctx.createImageData(W, H);
  for (let i = 0; i < H * W; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = pixels[i * C + (C >= 3 ? c : 0)];
    data.data[4 * i + 3] = 255;
  }
  ctx.putImageData(data, 0, 0);
  return canvas;
}

// Anything that can be drawn, cut to the middle and scaled to the model's size: bytes (H, W, C). Transparent is
// white.
export function toPixels(model, source, width, height) {
  const { C, H, W } = model,
    scale = Math.min(width / W, height / H),
    cut = { width: W * scale, height: H * scale };
  let canvas = h("canvas"),
    side = { width: Math.min(cut.width, 1024), height: Math.min(cut.height, (1024 * H) / W) };
  Object.assign(canvas, { width: Math.max(W, Math.round(side.width)), height: Math.max(H, Math.round(side.height)) });
  const shrink = (from, x, y, w, v, to) => {
    const ctx = to.getContext("2d");
    ctx.fillStyle = "#fff";
    ctx.fillRect(0, 0, to.width, to.height);
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(from, x, y, w, v, 0, 0, to.width, to.height);
    return to;
  };
  canvas = shrink(source, (width - cut.width) / 2, (height - cut.height) / 2, cut.width, cut.height, canvas);
  while (canvas.width > W || canvas.height > H) {
    // by halves: one large step would skip pixels
    const next = h("canvas");
    Object.assign(next, {
      width: Math.max(W, Math.ceil(canvas.width / 2)),
      height: Math.max(H, Math.ceil(canvas.height / 2)),
    });
    canvas = shrink(canvas, 0, 0, canvas.width, canvas.height, next);
  }
  const data = canvas.getContext("2d").getImageData(0, 0, W, H).data,
    out = new Uint8Array(H * W * C);
  for (let i = 0; i < H * W; i++) {
    const grey = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    for (let c = 0; c < C; c++) out[i * C + c] = Math.round(C >= 3 ? data[4 * i + c] : grey);
  }
  return out;
}

// The end of the colour scale. Attention that is spread evenly, 1/T each, stays in its lowest quarter and looks even.
export function scaleTop(lab, values) {
  const { method } = lab.state,
    largest = Math.max(...values);
  if (method === "lens") return 1;
  return method === "relevance" ? largest : Math.max(largest, 4 / lab.model.T);
}

export function pictureView(lab, say, small) {
  const { model } = lab,
    { rows, columns, H, W, P, C, prefix } = model,
    zoom = Math.max(1, Math.round(448 / W));
  const sr = speaker(),
    canvas = h("canvas", { class: "vfs-main", tabindex: 0, role: "application" });
  canvas.setAttribute(
    "aria-label",
    "The picture, cut into patches. Arrow keys move; Enter uses the tool; Shift and Enter chooses what is looked at. " +
      "With the tool Hide, Shift and an arrow key hides patches on the way.",
  );
  Object.assign(canvas, { width: W * zoom, height: H * zoom });
  const legend = h("canvas", { class: "vfs-legend", width: 256, height: 1, "aria-hidden": "true" }),
    most = h("span"),
    even = h("span", { class: "vfs-uniform" });
  const legendBox = h("div", { class: "vfs-scale-box" }, legend, h("i", { class: "vfs-uniform-mark" }));
  const caption = h("p", { class: "vfs-caption" }),
    chips = h("div", { class: "vfs-buttons vfs-chips" });
  const ink = h("input", { type: "color", value: "#e02020", "aria-label": "Colour to draw with" });
  const inkBox = h("label", { class: "vfs-tick" }, ink, h("span", {}, "ink"));
  const tools = TOOLS.map(([tool, text]) => [tool, button(text, () => lab.set({ tool }))]),
    hint = h("p", { class: "vfs-quiet vfs-hint" });
  const plain = tick("Only the photograph", (photo) => lab.set({ photo }));
  let hover = null,
    cursor = null, // where the keyboard was last
    byKeys = false, // the keyboard moved there: nothing is chosen until Enter
    stroke = null,
    sweep = null; // what dragging does to patches: hide them (true) or show them
  const pointed = () => (hover === null ? lab.token() : hover + prefix);

  function draw() {
    const ctx = canvas.getContext("2d"),
      { state } = lab,
      looking = !state.photo && (state.tool === "look" || state.tool === "hide"),
      [w, v] = [P * zoom, P * zoom];
    ctx.imageSmoothingEnabled = false;
    ctx.filter = looking ? "grayscale(1) brightness(1.15)" : "none";
    ctx.drawImage(toCanvas(model, lab.seen(), small), 0, 0, canvas.width, canvas.height);
    ctx.filter = "none";
    const at = (n) => [(n % columns) * w, Math.floor(n / columns) * v];
    const pending = !lab.current() || (lab.busy && state.method === "relevance"); // no old map on a new picture
    if (pending) setText(caption, lab.waiting());
    if (!pending && looking) {
      const values = lab.values({ token: pointed() }).subarray(prefix),
        largest = scaleTop(lab, values);
      values.forEach((value, n) => {
        ctx.globalAlpha = largest ? 0.8 * (value / largest) ** 1.5 : 0; // little attention, little veil
        ctx.fillStyle = colourOf("viridis", value, 0, largest);
        ctx.fillRect(...at(n), w, v);
      });
      ctx.globalAlpha = 1;
      describe(values, largest);
    }
    for (const n of state.hidden) {
      const [x, y] = at(n);
      hatch(ctx, x, y, w, v);
    }
    if (state.target !== null && state.target >= prefix) frame(ctx, ...at(state.target - prefix), w, v, "#ffb347");
    if (lab.token() >= prefix) frame(ctx, ...at(lab.token() - prefix), w, v);
    if (hover !== null && hover + prefix !== lab.token()) frame(ctx, ...at(hover), w, v, "#9fd3ff", 0.7);
  }

  function hatch(ctx, x, y, width, height) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(x, y, width, height);
    ctx.clip();
    for (const [ink, line] of [["#fff", 4], ["#222", 2]]) {
      Object.assign(ctx, { strokeStyle: ink, lineWidth: line });
      ctx.beginPath();
      for (let at = -height; at < width; at += Math.max(6, width / 4)) {
        ctx.moveTo(x + at, y + height);
        ctx.lineTo(x + at + height, y);
      }
      ctx.stroke();
    }
    ctx.restore();
  }

  function describe(values, largest) {
    const { state } = lab,
      token = pointed(),
      block = lab.block(),
      uniform = 1 / model.T;
    const own = Math.max(...values),
      best = prefix + values.indexOf(own);
    const how = {
      attention: `attention in block ${block}, ${state.head === "mean" ? "mean of its heads" : `head ${state.head}`}`,
      rollout: `rollout through blocks 0 to ${block}`,
      relevance: `relevance for “${model.classes[lab.about()]}” through blocks 0 to ${block}`,
      lens: `logit lens after block ${block}: probability of “${model.classes[lab.about()]}” at each patch`,
    }[state.method];
    setText(most, state.method === "relevance" ? largest.toPrecision(2) : percent(largest));
    legendBox.classList.toggle(
      "vfs-uniform-shown",
      ["attention", "rollout"].includes(state.method) && uniform < largest,
    );
    legendBox.style.setProperty("--uniform", uniform / (largest || 1));
    setText(
      even,
      ["attention", "rollout"].includes(state.method) ? `mark: ${percent(uniform)}, if all tokens were equal` : "",
    );
    const amount =
      state.method === "relevance"
        ? `${own.toPrecision(2)} from`
        : `${percent(own)} ${state.method === "lens" ? "at" : "from"}`;
    const chosen =
      state.target === null || state.method === "lens"
        ? ""
        : ` From ${lab.tokenName(state.target)} it takes ${exact(lab.values({ token })[state.target])}.`;
    const text =
      `${state.method === "lens" ? "" : `${lab.tokenName(token)}: `}${how}; ` +
      `most, ${amount} ${lab.tokenName(best)}.${chosen}`;
    const waiting =
      byKeys && hover !== null && token !== lab.token()
        ? ` Only a look: Enter ${state.tool === "hide" ? "hides" : "chooses"} this patch, Escape returns to ${lab.tokenName(lab.token())}.`
        : "";
    setText(caption, text[0].toUpperCase() + text.slice(1) + waiting);
    sr.say(caption.textContent);
  }
  const exact = (value) => (lab.state.method === "relevance" ? value.toPrecision(3) : `${(100 * value).toFixed(3)} %`);

  // Tools at a place of the picture, in pixels.
  function paint(x, y) {
    const pixels = stroke ?? (stroke = lab.picture().slice()),
      original = lab.original(lab.state.image);
    const colour = ink.value.match(/\w\w/g).map((part) => parseInt(part, 16)),
      radius = Math.max(1, Math.round(W / 16)) / 2;
    for (let py = Math.max(0, Math.ceil(y - radius - 0.5)); py < Math.min(H, y + radius); py++)
      for (let px = Math.max(0, Math.ceil(x - radius - 0.5)); px < Math.min(W, x + radius); px++)
        for (let c = 0; c < C; c++) {
          const grey = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2],
            at = (py * W + px) * C + c;
          pixels[at] = lab.state.tool === "erase" ? original[at] : C >= 3 ? colour[c] : grey;
        }
    lab.paint(pixels);
  }
  function use(n, second) {
    const { state } = lab,
      token = n + prefix;
    if (state.tool === "hide") cover(n, !state.hidden.includes(n));
    else if (state.tool === "look")
      lab.set(
        second
          ? { target: state.target === token ? null : token }
          : { token: lab.state.token === token ? null : token },
      );
    else
      for (let y = 1; y < P; y += 2)
        for (let x = 1; x < P; x += 2) paint((n % columns) * P + x, Math.floor(n / columns) * P + y);
    if (state.tool !== "look" && state.tool !== "hide") stroke = null;
  }
  function cover(n, hide) {
    const rest = lab.state.hidden.filter((x) => x !== n);
    lab.set({ hidden: hide ? [...rest, n].sort((a, b) => a - b) : rest });
  }
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * W, ((event.clientY - box.top) / box.height) * H];
  };
  const painting = () => lab.state.tool === "draw" || lab.state.tool === "erase";
  canvas.addEventListener("pointerdown", (event) => {
    const first = cellUnder(event, canvas, rows, columns);
    // a finger that moves scrolls the page, so only mouse and pen hide by dragging
    if (lab.state.tool === "hide" && event.pointerType !== "touch" && first !== null)
      sweep = { hide: !lab.state.hidden.includes(first), first, moved: false };
    if (!painting()) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    paint(...place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (stroke && painting() && event.buttons) return paint(...place(event));
    const cell = cellUnder(event, canvas, rows, columns);
    byKeys = false;
    if (sweep && event.buttons && cell !== null && (sweep.moved || cell !== sweep.first)) {
      if (!sweep.moved) cover(sweep.first, sweep.hide);
      sweep.moved = true;
      cover(cell, sweep.hide);
    }
    if (cell !== hover) {
      hover = cell;
      lab.hover(cell === null ? null : cell + prefix);
      redraw();
    }
  });
  canvas.addEventListener("pointerup", () => {
    stroke = null;
  });
  function leave() {
    hover = null;
    byKeys = false;
    lab.hover(null);
    redraw();
  }
  canvas.addEventListener("pointerleave", leave);
  canvas.addEventListener("blur", leave);
  canvas.addEventListener("click", (event) => {
    const cell = cellUnder(event, canvas, rows, columns),
      swept = sweep?.moved;
    sweep = null;
    if (!painting() && !swept && cell !== null) use(cell, event.shiftKey);
  });
  canvas.addEventListener("keydown", (event) => {
    const now = hover ?? cursor ?? Math.max(0, lab.token() - prefix),
      next = stepOnGrid(event.key, now, rows, columns);
    if (next !== null) {
      if (event.shiftKey && lab.state.tool === "hide")
        lab.set({ hidden: [...new Set([...lab.state.hidden, now, next])].sort((a, b) => a - b) });
      hover = cursor = next;
      byKeys = true;
      lab.hover(next + prefix);
      redraw();
    } else if (event.key === "Enter" || event.key === " ") {
      cursor = now;
      use(now, event.shiftKey);
    } else if (event.key === "Home") lab.set({ token: null });
    else if (event.key === "Escape") {
      cursor = null;
      leave();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // Tokens that are no patches
  const special = model.pool === "cls" ? [] : [-1];
  for (let t = 0; t < prefix; t++) special.push(t);
  const tokenChips = special.map((token) => [
    token,
    button(lab.tokenName(token), () => lab.set({ token: token === lab.answerToken() ? null : token })),
  ]);
  const word = model.pool === "cls" ? "CLS" : "mean of all patches";
  chips.append(
    h("span", { class: "vfs-quiet" }, "Who looks:"),
    ...tokenChips.map(([, chip]) => chip),
    help(word),
    button("Forget what is looked at", () => lab.set({ target: null }), { class: "vfs-forget" }),
  );

  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (changed.includes("hover")) hover = lab.hovered !== null && lab.hovered >= prefix ? lab.hovered - prefix : null;
    for (const [tool, node] of tools) node.setAttribute("aria-pressed", String(lab.state.tool === tool));
    for (const [token, chip] of tokenChips) chip.setAttribute("aria-pressed", String(lab.token() === token));
    chips.querySelector(".vfs-forget").hidden = lab.state.target === null;
    inkBox.hidden = lab.state.tool !== "draw";
    const [, , byMouse, byFinger] = TOOLS.find(([tool]) => tool === lab.state.tool);
    setText(hint, (touches() && byFinger) || byMouse);
    plain.set(lab.state.photo);
    plain.node.hidden = painting();
    redraw();
  });
  redraw();
  const table = colours("viridis"),
    ctx = legend.getContext("2d"),
    data = ctx.createImageData(256, 1);
  for (let i = 0; i < 256; i++) data.data.set([...table.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  ctx.putImageData(data, 0, 0);
  return h(
    "div",
    { class: "vfs-picture" },
    h(
      "div",
      { class: "vfs-buttons vfs-tools", role: "group", "aria-label": "What a click on the picture does" },
      tools.map(([, node]) => node),
      inkBox,
      plain.node,
    ),
    hint,
    canvas,
    h("div", { class: "vfs-legend-row" }, h("span", {}, "0"), legendBox, most),
    even,
    chips,
    caption,
    ownPicture(lab, say),
    sr.node,
  );
}

// Upload, paste, drag, camera, shuffle, and back.
function ownPicture(lab, say) {
  const { model } = lab;
  async function read(file) {
    try {
      const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
      lab.addPicture(toPixels(model, bitmap, bitmap.width, bitmap.height));
      say(
        `Your picture, cut to the middle and scaled to ${model.W} × ` +
          `${model.H} pixels, as the model reads it. It stays in this page.`,
      );
    } catch {
      say(`${file.name ? `“${file.name}”` : "This"} cannot be read as a picture: try a JPEG, PNG, GIF or WebP file.`);
    }
  }
  const input = h("input", {
    type: "file",
    accept: "image/*",
    onchange: () => {
      if (input.files[0]) read(input.files[0]);
      input.value = "";
    },
  });
  const video = h("video", { muted: true, playsinline: true, hidden: true, class: "vfs-video" });
  const snap = button(
    "Take the picture",
    () => {
      lab.addPicture(toPixels(model, video, video.videoWidth, video.videoHeight));
      stop();
    },
    { hidden: true },
  );
  const stop = () => {
    video.srcObject?.getTracks().forEach((track) => track.stop());
    Object.assign(video, { srcObject: null, hidden: true });
    snap.hidden = true;
  };
  const camera = button(
    "Camera",
    async () => {
      if (!video.hidden) return stop();
      try {
        video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
        video.hidden = snap.hidden = false;
        await video.play();
      } catch {
        say("The browser gives this page no camera: allow it, or upload a file.");
      }
    },
    { hidden: !navigator.mediaDevices?.getUserMedia },
  );
  const box = h(
    "div",
    {},
    h(
      "div",
      { class: "vfs-buttons" },
      h("label", { class: "vfs-file" }, "Your own picture", input),
      camera,
      snap,
      button("Shuffle the patches", () => lab.set({ order: lab.state.order + 1 }), { class: "vfs-shuffle" }),
      button("As it was", () => {
        lab.paint(null);
        lab.set({ hidden: [], order: 0 });
      }),
    ),
    h("p", { class: "vfs-quiet" }, "Or drop a picture here, or paste one."),
    video,
  );
  const files = (list) => [...(list ?? [])].find((file) => file.type.startsWith("image/")) ?? list?.[0];
  lab.root.addEventListener("dragover", (event) => event.preventDefault());
  lab.root.addEventListener("drop", (event) => {
    event.preventDefault();
    const file = files(event.dataTransfer.files);
    if (file) read(file);
  });
  document.addEventListener("paste", (event) => {
    const file = files(event.clipboardData?.files);
    if (file && lab.root.isConnected) read(file);
  });
  return box;
}

// The pictures to choose from, small.
export function shelf(lab) {
  const { model } = lab,
    box = h("div", { class: "vfs-shelf", role: "group", "aria-label": "Pictures; arrow keys move" }),
    buttons = [];
  function fill() {
    while (buttons.length < lab.count) {
      const index = buttons.length,
        label = lab.label(index),
        name = label >= 0 ? model.classes[label] : "your picture";
      const node = h(
        "button",
        {
          type: "button",
          tabindex: -1,
          "aria-label": `Picture ${index}: ${name}`,
          title: `picture ${index}: ${name}`,
          onclick: () => lab.set({ image: index, hidden: [], order: 0, target: null }),
        },
        toCanvas(model, lab.picture(index)),
      );
      buttons.push(node);
      box.append(node);
    }
    buttons.forEach((node, index) => {
      node.setAttribute("aria-pressed", String(index === lab.state.image));
      node.tabIndex = index === lab.state.image ? 0 : -1;
    });
    const chosen = buttons[lab.state.image];
    if (chosen && (chosen.offsetLeft < box.scrollLeft || chosen.offsetLeft > box.scrollLeft + box.clientWidth - 60))
      box.scrollLeft = chosen.offsetLeft - 80;
  }
  // One stop for the Tab key; the arrow keys move along the shelf.
  box.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(box.getRootNode().activeElement),
      next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || !buttons[next]) return;
    event.preventDefault();
    event.stopPropagation();
    buttons[at].tabIndex = -1;
    buttons[next].tabIndex = 0;
    buttons[next].focus();
  });
  lab.on((changed) => {
    if (changed.includes("image") || changed.includes("result")) fill();
    if (changed.includes("pixels")) toCanvas(model, lab.picture(), buttons[lab.state.image].querySelector("canvas"));
  });
  fill();
  return box;
}
