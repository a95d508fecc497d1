"use strict";

// Live updates. The server sends the overview as HTML in which everything is escaped.
function follow(place) {
  const said = document.getElementById("live");
  const source = new EventSource(place.dataset.events);
  source.addEventListener("open", () => { said.textContent = "Live."; });
  source.addEventListener("error", () => {
    said.textContent = source.readyState === EventSource.CLOSED
      ? "Not live: reload the page, and log in again."
      : "Not live: the connection is lost, and is tried again.";
  });
  source.addEventListener("ended", () => {
    source.close();
    said.textContent = "Not live: the session has ended. Log in again.";
  });
  source.addEventListener("overview", (event) => {
    if (place.contains(document.activeElement)) {
      return; // somebody reads here with the keyboard: the next update shows it
    }
    replace(place, JSON.parse(event.data).html);
  });
}

function replace(place, html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  place.replaceChildren(...parsed.body.childNodes);
}

async function load(place) {
  try {
    const answer = await fetch(place.dataset.load, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.redirected) {
      return; // the session has ended: the link that is there already leads to the login
    }
    const html = await answer.text();
    const parsed = new DOMParser().parseFromString(html, "text/html");
    const whole = parsed.getElementById("main"); // a page that says what went wrong
    place.replaceChildren(...(whole ? whole : parsed.body).childNodes);
  } catch {
    // The link that is there already leads to the same.
  }
}

function fill(chooser) {
  chooser.addEventListener("change", async () => {
    const [file] = chooser.files;
    if (file) {
      document.getElementById(chooser.dataset.fills).value = await file.text();
    }
  });
}

document.querySelectorAll("[data-events]").forEach(follow);
document.querySelectorAll("[data-load]").forEach(load);
document.querySelectorAll("[data-fills]").forEach(fill);
document.querySelectorAll("[data-needs-script]").forEach((each) => { each.hidden = false; });
document.querySelectorAll("[data-again]").forEach((each) => {
  setTimeout(() => location.reload(), 1000 * Number(each.dataset.again));
});
