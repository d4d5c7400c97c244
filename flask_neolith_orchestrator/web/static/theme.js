// Dark or light: as the system says until somebody presses the button. In the head, and no module, so that a page
// never shows the other colours first.
(() => {
  const KEY = "neolith-theme";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try {
    chosen = localStorage.getItem(KEY);
  } catch {
    // storage is forbidden: the system's choice it is
  }
  if (chosen === "dark" || chosen === "light") root.dataset.theme = chosen;
  addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-button]")) {
      const say = () => {
        const isDark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
        button.setAttribute("aria-pressed", String(isDark));
      };
      button.hidden = false;
      button.addEventListener("click", () => {
        root.dataset.theme = button.getAttribute("aria-pressed") === "true" ? "light" : "dark";
        say();
        try {
          localStorage.setItem(KEY, root.dataset.theme);
        } catch {
          // for this page only, then
        }
      });
      system.addEventListener("change", say);
      say();
    }
  });
})();
