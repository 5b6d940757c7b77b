// Runs before the first paint, so that a chosen theme never flashes. Everything else is in the bundle.
try {
  const theme = JSON.parse(localStorage.getItem("rookery.preferences") || "{}").theme;
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage is switched off, or holds something else: the system's theme is used.
}
