// Refreshes the parts marked data-refresh (seconds), and moves with j and k. The pages work without it.
"use strict";

function busy(region) {
  const at = document.activeElement;
  if (region.contains(at) && at.matches("input, select, textarea, button, pre")) return true;
  if (Array.from(region.querySelectorAll("input[name=note]")).some((field) => field.value)) return true;
  const chosen = document.getSelection();
  return chosen && !chosen.isCollapsed && region.contains(chosen.anchorNode);
}

async function refresh(region) {
  const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById(region.id);
  if (!fresh || !fresh.dataset.refresh) return location.reload(); // it has ended: show the whole new page
  if (busy(region) || fresh.innerHTML === region.dataset.last) return;
  const focused = region.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const open = Array.from(region.querySelectorAll("details[open]")).map((each) => Array.from(region.querySelectorAll("details")).indexOf(each));
  region.dataset.last = fresh.innerHTML;
  region.replaceChildren(...Array.from(fresh.childNodes).map((node) => document.adoptNode(node)));
  open.forEach((index) => region.querySelectorAll("details")[index]?.setAttribute("open", ""));
  if (focused) Array.from(region.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused)?.focus();
}

for (const region of document.querySelectorAll("[data-refresh]")) {
  const pause = Number(region.dataset.refresh) * 1000;
  let failures = 0;
  const tick = async () => {
    if (!document.hidden && !busy(region)) {
      try {
        await refresh(region);
        failures = 0;
        document.body.classList.remove("stale");
      } catch {
        failures += 1;
        document.body.classList.add("stale");
      }
    }
    setTimeout(tick, pause * Math.min(2 ** failures, 16));
  };
  setTimeout(tick, pause);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
    return;
  }
  const step = { j: 1, k: -1 }[event.key];
  if (!step) return;
  const links = Array.from(document.querySelectorAll(".item")).map((item) => item.querySelector("a")).filter(Boolean);
  const now = links.findIndex((link) => link.closest(".item").contains(document.activeElement));
  const next = links[now < 0 ? (step > 0 ? 0 : links.length - 1) : Math.max(0, Math.min(links.length - 1, now + step))];
  if (next) {
    next.focus();
    next.closest(".item").scrollIntoView({ block: "nearest" });
  }
});
