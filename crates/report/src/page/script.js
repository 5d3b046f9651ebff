(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("cells").textContent);
  const panel = document.getElementById("cell-images");
  if (!panel) return;
  const uri = (number) => {
    const shown = document.querySelector(`img[data-image="${number}"]`);
    return shown ? shown.src : data.images[number];
  };
  const show = (cell) => {
    const found = data.cells[cell];
    if (!found) return;
    const heading = document.createElement("h3");
    heading.textContent = found.title;
    const list = document.createElement("ul");
    list.className = "gallery";
    for (const [number, text, id] of found.images) {
      const item = document.createElement("li");
      const source = number === null ? undefined : uri(number);
      const picture = document.createElement(source ? "img" : "span");
      picture.className = `thumb ${found.right ? "right" : "wrong"}${source ? "" : " gone"}`;
      if (source) {
        picture.src = source;
        picture.alt = `Image ${id}`;
      } else {
        picture.textContent = "image not found";
      }
      const name = document.createElement("span");
      name.className = "id";
      name.textContent = id;
      item.append(picture, text, document.createElement("br"), name);
      list.append(item);
    }
    panel.replaceChildren(heading, list);
    for (const button of document.querySelectorAll("[data-cell]")) {
      button.setAttribute("aria-pressed", String(button.dataset.cell === cell));
    }
    panel.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-cell]");
    if (button) show(button.dataset.cell);
  });
})();
