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
