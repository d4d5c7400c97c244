// The page in place of one that was not kept: which pages were, and another try.
import { make } from "/neolith/static/client/dom.js";

const { home } = document.body.dataset;
const again = () => location.reload();
document.getElementById("again").addEventListener("click", again);
addEventListener("online", async () => {
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null); // online, but is the server?
  if (answer) again();
});

const cache = await caches.open("neolith-pages");
const links = [];
for (const request of await cache.keys()) {
  const page = await (await cache.match(request, { ignoreVary: true })).text();
  const { title } = new DOMParser().parseFromString(page, "text/html");
  const { pathname } = new URL(request.url);
  links.push(make("li", {}, make("a", { href: pathname }, pathname === home ? "Home" : title.replace(/ · [^·]*$/u, ""))));
}
document.getElementById("kept").replaceChildren(...links);
document.getElementById("kept-title").hidden = !links.length;
