// Figures are drawn by the server, which must know whether the reader's system is dark: a cookie tells it.
(() => {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const told = () => /(?:^|; )theme=dark(?:;|$)/.test(document.cookie);
  const tell = () => {
    if (told() === dark.matches || !navigator.cookieEnabled) return;
    document.cookie = `theme=${dark.matches ? "dark" : "light"}; path=/; SameSite=Strict`;
    location.reload();
  };
  tell();
  dark.addEventListener("change", tell);
})();
