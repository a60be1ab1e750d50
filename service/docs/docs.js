// Swagger UI's own defaults would ask a validator on another host: validatorUrl null keeps the page at home.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#rest",
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
  docExpansion: "list",
});
