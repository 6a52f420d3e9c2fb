// The page's views, by what stands behind the # of its address.
import { byId } from "./dom.js";
import { familyAt } from "./families.js";
import { watchHealth } from "./health.js";
import { JobView } from "./job.js";
import { JobList } from "./job_list.js";
import { hrefOf, JobsView } from "./jobs.js";
import { startPlayground } from "./playground.js";
import { StartForm } from "./start_form.js";

const list = new JobList();
const jobs = new JobsView(list);
const job = new JobView(list);
let shown = null;

function show() {
  const [view, ...parts] = location.hash.replace(/^#\//, "").split("/");
  const name = view === "playground" ? "playground" : parts.length ? "job" : "jobs";
  for (const each of ["jobs", "job", "playground"]) byId(each).hidden = each !== name;
  byId("to-jobs").setAttribute("aria-current", name !== "playground" && "page");
  byId("to-playground").setAttribute("aria-current", name === "playground" && "page");
  job.close();
  if (name === "job") openJob(parts);
  if (name === "jobs") jobs.draw();
  if (name === "playground") list.rest();
  else list.watch();
  const title = byId(`${name}-title`);
  document.title = `${title.textContent} · Pi engine`;
  if (shown !== null) title.focus();
  shown = name;
}

function openJob(parts) {
  const id = decoded(parts.at(-1));
  const family = familyAt(parts.slice(0, -1).join("/"));
  if (family) job.open(family, id);
  else location.hash = "#/jobs";
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function startAgain() {
  list.clear();
  show();
  list.refresh();
}

new StartForm((family, id) => (location.hash = hrefOf(family, id)));
startPlayground();
window.addEventListener("hashchange", show);
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
watchHealth({ back: () => list.refresh(), changed: startAgain });
show();
