// A dialog's button that is pressed before htmx knows it would leave the page by its address: the press waits.
if (window.htmx) {
  let early = null;
  const keep = (event) => {
    const button = event.target.closest("a[hx-get]");
    if (!button || event.button > 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    early = button;
  };
  document.addEventListener("click", keep, true);
  document.addEventListener(
    "htmx:load",
    () => {
      document.removeEventListener("click", keep, true);
      if (early) early.click();
    },
    { once: true },
  );
}

// The sidebar's groups open and close from the keyboard, and say so to screen readers.
document.addEventListener("DOMContentLoaded", () => {
  for (const heading of document.querySelectorAll("#nav-sidebar-apps h2.cursor-pointer")) {
    const list = heading.nextElementSibling;
    const tell = () => heading.setAttribute("aria-expanded", String(list.style.display !== "none"));
    heading.setAttribute("role", "button");
    heading.tabIndex = 0;
    heading.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        heading.click();
      }
    });
    new MutationObserver(tell).observe(list, { attributes: true, attributeFilter: ["style"] });
    tell();
  }
});
