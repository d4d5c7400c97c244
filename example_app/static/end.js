// Who reads the end of a line stays there when the room for it changes: a thread opens beside it, the field below grows.

// view: a LineView; whether it was at its end is kept in `wasAtEnd`
export function holdEnd(view) {
  const { scroll } = view;
  const size = () => `${scroll.clientWidth} ${scroll.clientHeight}`;
  let known = "";
  view.wasAtEnd = true;
  // a scroll that comes of another size says nothing about the reader
  scroll.addEventListener("scroll", () => size() === known && (view.wasAtEnd = view.isAtEnd()), { passive: true });
  new ResizeObserver(() => {
    if (!scroll.clientHeight) return;
    known = size();
    if (view.wasAtEnd) view.toEnd();
  }).observe(scroll);
}
