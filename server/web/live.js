// The live part of the dashboard. Without it the page is whole, and a reload shows what is new.
(() => {
  "use strict";
  const feed = document.getElementById("live");
  if (!feed || !window.EventSource) return;
  const state = document.getElementById("live-state");
  const none = document.getElementById("live-none");
  const hold = document.getElementById("live-pause");
  const stale = document.getElementById("live-stale");
  const announce = document.getElementById("announce");
  document.getElementById("live-controls").hidden = false;
  none.hidden = false;

  const words = {
    "delivery.accepted": "Webhooks were taken",
    "delivery.applied": "A webhook was applied",
    "delivery.ignored": "A webhook had nothing for us",
    "delivery.retrying": "A webhook will be tried again",
    "delivery.dead": "A webhook needs a person",
    "booking.changed": "A booking changed",
    "conflict.opened": "A conflict was found",
    "conflict.updated": "A conflict changed",
    "conflict.closed": "A conflict is over",
    "conflict.reminder": "A conflict still waits for a decision",
    "conflict.escalated": "A conflict was not decided in time",
    "conflict.refused": "A system refused a decision",
    "conflict.stuck": "A system does not take a decision back",
    "conflict_policy.changed": "A policy for conflicts changed",
    "sync.progress": "A sync went on",
    "push.done": "A copy was written",
    "push.failed": "A copy could not be written",
    "integration.changed": "An integration changed",
    "resource.changed": "A resource changed",
    "integration.health": "The health of an integration changed",
    "integration.failover": "News of an integration come another way now",
    "integration.caught_up": "What was missed has been read",
    "drill.changed": "A recovery drill went on",
    "maintenance.changed": "A window of maintenance changed",
    "wedding.changed": "The care for a wedding went on",
    "wedding.preflight": "A wedding was looked over",
    "wedding.handed_over": "The report of a wedding day is there",
    "alert.changed": "An alert changed",
    "edit_conflict.changed": "An entry was changed on both sides",
    "delivery.replayed": "A webhook was handed in once more",
    "replay.finished": "A replay is over",
    "hold.changed": "A hold changed",
    "timeline.changed": "A timeline changed",
    "subscription.changed": "A subscription changed",
    "quarantine.opened": "Too many removals at once are held",
    "quarantine.changed": "Held removals changed",
    "purge.progress": "Copies are being removed",
    "onboarding.changed": "Connecting a system went on",
  };
  const shown = 40;
  let held = false;
  let waiting = [];
  let counts = {};
  let announceTimer = 0;
  let refreshTimer = 0;

  const say = () => {
    announceTimer = 0;
    const parts = Object.entries(counts).map(([topic, n]) => (n > 1 ? n + " times: " : "") + words[topic].toLowerCase());
    counts = {};
    announce.textContent = parts.join("; ") + ".";
  };

  const details = (refs) => {
    const out = [];
    for (const [k, v] of Object.entries(refs || {})) {
      out.push(k.replaceAll("_", " ") + " " + (/^[0-9a-f]{8}-/.test(v) ? "…" + v.slice(-6) : v));
    }
    return out.join(" · ");
  };

  const add = (topic, event) => {
    const li = document.createElement("li");
    const line = document.createElement("p");
    line.textContent = words[topic];
    const meta = document.createElement("p");
    meta.className = "meta";
    const time = document.createElement("time");
    time.dateTime = event.at;
    time.textContent = new Date(event.at).toISOString().slice(11, 19) + " UTC";
    meta.append(time, " · " + details(event.refs));
    li.append(line, meta);
    feed.prepend(li);
    while (feed.children.length > shown) feed.lastElementChild.remove();
    none.hidden = true;
  };

  // The sections are drawn by the server; the script only fetches them again, and never under somebody's hands.
  const refresh = async () => {
    refreshTimer = 0;
    const ids = ["freeze", "conflicts", "quarantines", "integrations", "deliveries"];
    if (held || ids.some((id) => busy(document.getElementById(id)))) {
      stale.hidden = false;
      return;
    }
    try {
      const answer = await fetch("/", { headers: { Accept: "text/html" }, redirect: "error" });
      if (!answer.ok) throw new Error("status " + answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ids) {
        const fresh = page.getElementById(id);
        const old = document.getElementById(id);
        if (fresh && old && !busy(old)) old.replaceWith(document.adoptNode(fresh));
      }
      stale.hidden = true;
    } catch {
      stale.hidden = false;
    }
  };
  const busy = (section) =>
    section && (section.contains(document.activeElement) || section.querySelector("details[open]") || [...section.querySelectorAll("input:not([type=hidden])")].some((i) => i.value !== ""));

  const take = (topic, event) => {
    add(topic, event);
    counts[topic] = (counts[topic] || 0) + 1;
    if (!announceTimer) announceTimer = setTimeout(say, 5000);
    if (!refreshTimer) refreshTimer = setTimeout(refresh, 1000);
  };

  hold.addEventListener("click", () => {
    held = !held;
    hold.setAttribute("aria-pressed", String(held));
    hold.textContent = held ? "Go on" : "Hold updates";
    if (!held) {
      for (const [topic, event] of waiting) take(topic, event);
      waiting = [];
    }
  });

  const source = new EventSource(feed.dataset.src);
  source.addEventListener("open", () => { state.textContent = "on"; });
  source.addEventListener("error", () => {
    state.textContent = source.readyState === EventSource.CLOSED ? "ended" : "reconnecting";
    if (source.readyState === EventSource.CLOSED) stale.hidden = false;
  });
  source.addEventListener("stream.gap", () => { stale.hidden = false; });
  for (const topic of Object.keys(words)) {
    source.addEventListener(topic, (message) => {
      const event = JSON.parse(message.data);
      if (!held) take(topic, event);
      else if (waiting.push([topic, event]) > shown) waiting.shift();
    });
  }
})();
