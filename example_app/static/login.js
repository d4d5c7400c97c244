// The login page: pressing an account of the demo fills in the form; Enter logs in.
const form = document.querySelector("form");

for (const account of document.querySelectorAll("[data-email]")) {
  account.addEventListener("click", () => {
    form.elements.email.value = account.dataset.email;
    form.elements.password.value = account.dataset.password;
    form.querySelector("button").focus();
  });
}
