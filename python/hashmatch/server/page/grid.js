// The bits of a known hash as a square, those that differ from the hash looked up marked.

import { drawing } from "./text.js";

// The numbers of the bits that differ between two hashes of one length in hex, the first is 0.
export function differing(one, other) {
  const bits = [];
  for (let digit = 0; digit < one.length; digit++) {
    const odd = parseInt(one[digit], 16) ^ parseInt(other[digit], 16);
    for (let bit = 0; bit < 4; bit++) if (odd & (8 >> bit)) bits.push(digit * 4 + bit);
  }
  return bits;
}

// A picture of `known`: 16 bits a row, 8 where there are but 64.
export function grid(known, bits) {
  const total = known.length * 4;
  const across = total === 64 ? 8 : 16;
  const odd = new Set(bits);
  const paths = { zero: "", one: "", odd: "" };
  for (let bit = 0; bit < total; bit++) {
    const set = parseInt(known[bit >> 2], 16) & (8 >> (bit & 3));
    const [x, y] = [bit % across, Math.floor(bit / across)];
    // Those that differ fill their cell: they can be told without colours.
    if (odd.has(bit)) paths.odd += `M${x} ${y}h1v1h-1z`;
    else paths[set ? "one" : "zero"] += `M${x}.2 ${y}.2h.6v.6h-.6z`;
  }
  const label = described(bits, total);
  return drawing(
    "svg",
    { class: "grid", viewBox: `-.25 -.25 ${across + 0.5} ${total / across + 0.5}`, role: "img", "aria-label": label },
    drawing("title", {}, label),
    ...Object.entries(paths).map(([name, d]) => drawing("path", { class: name, d })),
  );
}

function described(bits, total) {
  if (!bits.length) return `None of ${total} bits differs`;
  const which = bits.length === 1 ? `bit ${bits[0]}` : `bits ${bits.join(", ")}`;
  return `${bits.length} of ${total} bits differ: ${which}`;
}
