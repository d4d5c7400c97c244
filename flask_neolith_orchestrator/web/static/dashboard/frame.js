// The frame of all pages: on a phone the menu scrolls sideways, and begins with the page one is on in sight.

const here = document.querySelector("body > nav [aria-current=page]");
here?.closest("nav").scrollTo({ left: here.offsetLeft - 16 });
