(() => {
  const tables = dnn2graph.read("tables");
  const name = document.body.querySelector("main").dataset.name || "report";

  const cell = (value) => {
    if (typeof value === "number") return Number.isNaN(value) ? "" : String(value);
    return /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  };

  function csv({ columns, values }) {
    const unpacked = values.map(dnn2graph.unpack);
    const lines = [columns.map(cell).join(",")];
    const rows = unpacked.length ? unpacked[0].length : 0;
    for (let row = 0; row < rows; row++) lines.push(unpacked.map((column) => cell(column[row])).join(","));
    return lines.join("\r\n") + "\r\n";
  }

  function download(table) {
    const address = URL.createObjectURL(new Blob([csv(tables[table])], { type: "text/csv;charset=utf-8" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${name}_${table}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60000); // the browser may still be reading it
  }

  for (const button of document.querySelectorAll("button.csv")) {
    button.addEventListener("click", () => download(button.dataset.table));
  }
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true; // paper cannot be clicked
  });
  document.body.dataset.ready = "yes";
})();
