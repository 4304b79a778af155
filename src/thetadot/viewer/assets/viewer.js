(() => {
  "use strict";
  const models = () => (window.Bokeh?.documents ?? []).flatMap((document) => [...document.all_models]);
  const tagged = (tag) => models().find((model) => (model.tags ?? []).includes(tag));
  const hidden = new Set();

  // The key of a figure: a button hides the curves that carry its tag, in all figures of the page.
  const press = (button) => {
    const tag = button.dataset.tag;
    hidden.has(tag) ? hidden.delete(tag) : hidden.add(tag);
    button.setAttribute("aria-pressed", String(!hidden.has(tag)));
    for (const model of models()) {
      const tags = (model.tags ?? []).filter((one) => typeof one === "string" && one.includes(":"));
      if (tags.length && "visible" in model) model.visible = !tags.some((one) => hidden.has(one));
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.composedPath().find((part) => part.dataset?.tag !== undefined);
    if (button) press(button);
  });

  // Arrows step through the saved times, space plays; not where a key has a meaning of its own.
  const busy = (event) => event.composedPath().some((part) =>
    ["INPUT", "SELECT", "TEXTAREA", "BUTTON", "SUMMARY", "A"].includes(part.tagName) || part.role === "slider" || part.isContentEditable);
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const slider = tagged("save");
    if (!slider || busy(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (step !== undefined) {
      slider.value = Math.min(slider.end, Math.max(slider.start, slider.value + step));
    } else if (event.key === " ") {
      const play = tagged("play");
      play.active = !play.active;
    } else {
      return;
    }
    event.preventDefault();
  });
})();
