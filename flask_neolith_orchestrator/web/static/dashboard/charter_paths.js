// Values in a charter by their path, and how they are shown and compared. No elements, no network.

export function get(charter, path) {
  return path.split(".").reduce((at, key) => (isPart(at) ? at[key] : undefined), charter);
}

// a copy with another value; undefined takes it out, with the parts that are then empty
export function set(charter, path, value) {
  const [key, ...rest] = path.split(".");
  const made = isPart(charter) ? { ...charter } : {};
  const inner = rest.length ? set(made[key], rest.join("."), value) : value;
  if (inner === undefined || (rest.length && !Object.keys(inner).length)) delete made[key];
  else made[key] = inner;
  return made;
}

export function isPart(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// every value by its path; lists are values
export function flat(charter, at = "", found = new Map()) {
  for (const [key, value] of Object.entries(charter ?? {})) {
    const path = at ? `${at}.${key}` : key;
    if (isPart(value)) flat(value, path, found);
    else found.set(path, value);
  }
  return found;
}

// the same text for the same charter, in whatever order its fields are
export function stable(charter) {
  return JSON.stringify([...flat(charter)].sort(([a], [b]) => (a < b ? -1 : 1)));
}

export function same(a, b) {
  return shown(a) === shown(b);
}

export function shown(value) {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map(shown).join(", ");
  if (isPart(value)) return Object.entries(value).map(([key, one]) => `${key}: ${shown(one)}`).join("; ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  return String(value);
}

// what differs: [{path, before, after}]
export function changes(before, after) {
  const [old, now] = [flat(before), flat(after)];
  return [...new Set([...old.keys(), ...now.keys()])]
    .filter((path) => !same(old.get(path), now.get(path)))
    .map((path) => ({ path, before: old.get(path), after: now.get(path) }));
}

// where two people have changed the same charter: what differs between theirs and mine, and whose value is the newer one
export function conflicts(base, theirs, mine) {
  return changes(theirs, mine).map(({ path, before, after }) => {
    const was = get(base, path);
    return { path, was, theirs: before, mine: after, keep: same(was, after) ? "theirs" : "mine", both: !same(was, before) && !same(was, after) };
  });
}
