// The table of the fields that differ between the compared images.

import { make } from "../widgets/shared.js";

/** Build the table, or return null if no field differs. In a narrow widget each row becomes a card. */
export function buildTable({ table, images }) {
  if (!table.rows.length) return null;
  // The roles are explicit because browsers drop those of a table that CSS lays out as cards.
  const heading = (isColumn, ...children) =>
    make("th", isColumn ? { scope: "col", role: "columnheader" } : { scope: "row", role: "rowheader" }, ...children);
  const row = (...cells) => make("tr", { role: "row" }, ...cells);
  const names = images.map((image) => {
    const cell = heading(table.tall, make("b", {}, image.name));
    if (image.also) cell.append(make("span", { class: "cc-also" }, image.also));
    return cell;
  });
  const fields = table.rows.map(({ name }) => heading(!table.tall, name));
  const cell = ({ name, values, known, long }, at) => {
    const kind = known[at] ? (long ? "cc-long" : "") : "cc-none";
    const value = make("td", { role: "cell", "data-label": table.tall ? images[at].name : name, class: kind });
    const pieces = make("span", {});
    for (const [text, mark] of values[at]) {
      pieces.append(mark === "same" ? text : make(mark === "only" ? "mark" : "u", {}, text));
    }
    value.append(pieces);
    return value;
  };
  const corner = make(
    "td",
    { role: "columnheader" },
    make("span", { class: "cc-unseen" }, table.tall ? "field" : "image"),
  );
  const body = table.tall
    ? table.rows.map((field, index) => row(fields[index], ...images.map((_, at) => cell(field, at))))
    : names.map((name, at) => row(name, ...table.rows.map((field) => cell(field, at))));
  return make(
    "div",
    { class: "cc-scroll", role: "region", tabindex: "0", "aria-label": "Differences" },
    make(
      "table",
      { role: "table", class: table.tall ? "cc-tall" : "" },
      make("thead", { role: "rowgroup" }, row(corner, ...(table.tall ? names : fields))),
      make("tbody", { role: "rowgroup" }, ...body),
    ),
  );
}
