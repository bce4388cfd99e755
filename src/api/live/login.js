// The way in by hand. Owns the form; the session decides who gets in.

const dialog = document.getElementById("login");
const form = document.getElementById("login-form");
const refusal = document.getElementById("login-error");
const submit = document.getElementById("login-submit");

// Shows the form, with why it is needed; `enter(phone, password)` answers when somebody is in.
export function askForLogin(reason, enter) {
  say(reason);
  form.onsubmit = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    say("");
    try {
      await enter(form.phone.value.trim(), form.password.value);
      form.reset();
      dialog.close();
    } catch (error) {
      say(error.message);
    } finally {
      submit.disabled = false;
    }
  };
  // There is nothing behind the form to go back to.
  dialog.oncancel = (event) => event.preventDefault();
  if (!dialog.open) dialog.showModal();
}

function say(text) {
  refusal.textContent = text;
  refusal.hidden = text === "";
}
