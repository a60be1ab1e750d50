// Swagger UI's own defaults would ask a validator on another host: validatorUrl null keeps the page at home.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#rest",
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
});

// Swagger UI is dark under a class; the viewer of the websocket follows the system by itself.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();
